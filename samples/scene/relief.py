"""Objects drawn into a height buffer: which object is on top of a cell, how high, and where shadow falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene.noise import Floats32, Texture, Window
from scene.objects import Kind, Objects

_ID_BITS = 24
_HEIGHT_STEPS = 256.0
# Objects of a size class are drawn together, each in a square of that half side.
_REACHES = (4, 7, 10, 14, 19, 26, 40, 64, 110, 180, 340)
_BATCH_CELLS = 1_500_000
_ROUGHNESS = 0.16


@dataclass(frozen=True, slots=True)
class Relief:
    """The objects seen from above."""

    top: NDArray[np.int64]
    """Index of the highest object of a cell, -1 for bare ground, `(rows, cols)`."""
    height: Floats32
    """Height of that object at that cell, in cells."""


def draw_relief(objects: Objects, window: Window, edges: Texture) -> Relief:
    """Draw all objects; the highest wins."""
    buffer = np.zeros(window.height * window.width, np.int64)
    bins = np.searchsorted(_REACHES, _extent(objects) + 1.0)
    for size in np.unique(bins):
        reach = _REACHES[int(size)]
        members = np.flatnonzero(bins == size)
        step = max(1, _BATCH_CELLS // (2 * reach + 1) ** 2)
        for start in range(0, len(members), step):
            _stamp(buffer, objects, members[start : start + step], window, edges)
    shape = (window.height, window.width)
    top = np.where(buffer > 0, buffer & ((1 << _ID_BITS) - 1), -1).reshape(shape)
    height = (buffer >> _ID_BITS).astype(np.float32).reshape(shape) / np.float32(_HEIGHT_STEPS)
    return Relief(top, height)


def _extent(objects: Objects) -> NDArray[np.float64]:
    """How far from its middle an object can reach."""
    corner = np.hypot(objects.length, objects.width)
    return np.where(objects.kind == Kind.TREE, objects.length * (1 + _ROUGHNESS * 1.6), corner)


def cast_shadow(height: Floats32, step_rows: float, step_cols: float, drop: float, length: int) -> Floats32:
    """Give the height that shadow reaches over every cell.

    A ray walks `length` cells along `(step_rows, step_cols)` (unit length, away from the sun) and sinks by `drop` a
    cell. Doubling the walked distance turns the walk into a handful of shifted maxima.
    """
    reached = height.copy()
    stride = 1
    while stride <= length:
        down, right = round(step_rows * stride), round(step_cols * stride)
        sink = np.float32(drop * np.hypot(down, right))
        to, source = _shift(reached.shape, down, right)
        moved = reached[source] - sink
        reached = reached.copy()
        np.maximum(reached[to], moved, out=reached[to])
        stride *= 2
    return reached


def _shift(shape: tuple[int, ...], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    rows, cols = shape[0], shape[1]
    to = (slice(max(0, down), rows + min(0, down)), slice(max(0, right), cols + min(0, right)))
    source = (slice(max(0, -down), rows + min(0, -down)), slice(max(0, -right), cols + min(0, -right)))
    return to, source


def _stamp(
    buffer: NDArray[np.int64], objects: Objects, members: NDArray[np.intp], window: Window, edges: Texture
) -> None:
    """Draw objects of similar size in one go: `(objects, cells of a square)` arrays, one scatter."""
    reach = int(np.ceil(_extent(objects.take(members)).max())) + 1
    some = objects.take(members)
    steps = np.arange(-reach, reach + 1)
    down, right = (mesh.ravel() for mesh in np.meshgrid(steps, steps, indexing="ij"))
    rows = np.floor(some.row).astype(np.int64)[:, None] - window.row + down
    cols = np.floor(some.col).astype(np.int64)[:, None] - window.col + right
    seen = (rows >= 0) & (rows < window.height) & (cols >= 0) & (cols < window.width)
    which, square = np.nonzero(seen)
    rows, cols = rows[which, square], cols[which, square]
    along, across = local_position(some, which, rows + window.row, cols + window.col)
    surface = _surface(some, which, along, across, edges.at(rows + window.row, cols + window.col))
    inside = surface > 0
    which = which[inside]
    steps_high = (surface[inside] * some.height[which] * _HEIGHT_STEPS).astype(np.int64) + 1
    keys = (steps_high << _ID_BITS) | members[which]
    np.maximum.at(buffer, rows[inside] * window.width + cols[inside], keys)


def local_position(
    objects: Objects, which: NDArray[np.integer], rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> tuple[Floats32, Floats32]:
    """Give the place of cells on their object: along and across its axis, 1 at its rim."""
    down = (rows + 0.5 - objects.row[which]).astype(np.float32)
    right = (cols + 0.5 - objects.col[which]).astype(np.float32)
    cos, sin = objects.cos[which].astype(np.float32), objects.sin[which].astype(np.float32)
    along = (down * cos + right * sin) / objects.length[which].astype(np.float32)
    across = (right * cos - down * sin) / objects.width[which].astype(np.float32)
    return along, across


def _surface(
    objects: Objects, which: NDArray[np.integer], along: Floats32, across: Floats32, edge: Floats32
) -> Floats32:
    """Height of an object at its cells as a share of its full height; 0 and less: not on the object."""
    kind = objects.kind[which]
    tree = kind == Kind.TREE
    rough = (0.5 + objects.shape[which].astype(np.float32)) * np.float32(_ROUGHNESS)
    distance = along**2 + across**2 + rough * edge.clip(-2, 2)
    crown = 0.25 + 0.75 * np.sqrt((1 - distance).clip(0, 1)) + 0.05 * edge.clip(-1, 1)
    crown = np.where(distance < 1, crown.clip(0.05, None), 0)
    flat = (np.abs(along) < 1) & (np.abs(across) < 1)
    gable = np.where((kind == Kind.HOUSE) & (objects.shape[which] > 0.25), 0.35 * np.abs(across), 0)
    return np.where(tree, crown, np.where(flat, 1 - gable, 0)).astype(np.float32)
