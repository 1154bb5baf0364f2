"""Outlines of the objects of a scene as polygons on the map."""

from __future__ import annotations

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from scene.noise import Window
from scene.objects import Kind, Objects
from scene.scene import Scene

Outlines = tuple[NDArray[np.object_], dict[str, NDArray[np.float64]]]

_CROWN_CORNERS = 20
_LEAST_VISIBLE = 0.4


def crown_outlines(scene: Scene, window: Window, transform: Affine) -> Outlines:
    """Give polygons and fields of the trees whose middle lies in a window and that are seen well enough."""
    objects, visible = scene.objects(window)
    seen = (objects.kind == Kind.TREE) & (visible >= _LEAST_VISIBLE)
    trees = objects.take(seen)
    angle = np.linspace(0, 2 * np.pi, _CROWN_CORNERS, endpoint=False)
    rings = _rings(trees, np.cos(angle), np.sin(angle), transform)
    fields = {
        "height_m": (trees.height * scene.cell_size).round(2),
        "radius_m": (np.sqrt(trees.length * trees.width) * scene.cell_size).round(2),
        "visible": visible[seen].round(3),
    }
    return np.asarray(shapely.polygons(rings)), fields


def building_outlines(scene: Scene, window: Window, transform: Affine) -> Outlines:
    """Give polygons and fields of the buildings that belong to a window; wings are joined to their body."""
    objects, _ = scene.objects(window)
    parts = objects.take((objects.kind == Kind.HOUSE) | (objects.kind == Kind.HALL))
    square = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, -1.0, 1.0])
    shapes = np.asarray(shapely.polygons(_rings(parts, *square, transform)))
    _, number = np.unique(_building_keys(parts), return_inverse=True)
    count = int(number.max()) + 1 if len(number) else 0
    joined = np.empty(count, dtype=object)
    height = np.zeros(count)
    for building in range(count):
        joined[building] = shapely.union_all(shapes[number == building])
    np.maximum.at(height, number, parts.height * scene.cell_size)
    return joined, {"height_m": height.round(2)}


def object_boxes(scene: Scene, window: Window) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give boxes `(n, 4)` as x0, y0, x1, y1 in cells of the window, and their class: 0 tree, 1 building."""
    to_cells = Affine.translation(-window.col, -window.row)
    crowns, _ = crown_outlines(scene, window, to_cells)
    buildings, _ = building_outlines(scene, window, to_cells)
    shapes = np.concatenate([crowns, buildings])
    classes = np.repeat([0, 1], [len(crowns), len(buildings)])
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    limits = [window.width, window.height] * 2
    return boxes.clip(0, limits), classes


def _building_keys(parts: Objects) -> NDArray[np.float64]:
    """One number for all parts of a building: tint and shape are hashes that its wing shares."""
    alone = np.arange(len(parts)) + 1.0
    return np.where(parts.group > 0, -(parts.tint + parts.shape), alone)


def _rings(
    objects: Objects, forward: NDArray[np.float64], sideways: NDArray[np.float64], transform: Affine
) -> NDArray[np.float64]:
    """Corner points `(objects, corners, 2)` as x, y on the map."""
    along, across = objects.length[:, None] * forward, objects.width[:, None] * sideways
    rows = objects.row[:, None] + along * objects.cos[:, None] - across * objects.sin[:, None]
    cols = objects.col[:, None] + along * objects.sin[:, None] + across * objects.cos[:, None]
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    return np.stack([x, y], axis=-1)
