"""Labelled crops of a scene: one square around each tree, house, hall and car."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scene import Scene, Window
from scene.objects import Kind, Objects, merge, place_cars

SIDE = 64
"""Cells a side: 19 m at 0.3 m, so that a house fits and a hall fills the square."""
CLASSES = ("Tree", "House", "Hall", "Car")
"""By `Kind`."""
_LEAST_VISIBLE = 0.4
_WORLD = 400


@dataclass(frozen=True, slots=True)
class Crops:
    """Squares of `side` cells around objects, and what these are."""

    pixels: NDArray[np.uint8]
    """`(n, bands, side, side)`."""
    kinds: NDArray[np.int64]


def objects_of(scene: Scene, window: Window) -> Objects:
    """List the objects whose middle lies in a window and that are seen: wings are left to their buildings."""
    objects, visible = scene.objects(window)
    groups, first = np.unique(objects.group, return_index=True)
    main = (objects.group == 0) | np.isin(np.arange(len(objects)), first[groups > 0])
    cars = place_cars(scene.land, window)
    cars = cars.take(window.contains(cars.row, cars.col))
    return merge([objects.take((visible >= _LEAST_VISIBLE) & main), cars])


def draw_crops(seeds: range, *, per_seed: int, most: int, cell_sizes: tuple[float, float], side: int = SIDE) -> Crops:
    """Cut crops from chunks of several worlds, at most so many of each kind and chunk, so that trees are not all."""
    pixels, kinds = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        scene = Scene(seed, float(rng.uniform(*cell_sizes)))
        for _ in range(per_seed):
            row, col = (int(k) * scene.chunk for k in rng.integers(-_WORLD, _WORLD, 2))
            window = Window(row, col, scene.chunk, scene.chunk)
            objects = objects_of(scene, window)
            chosen = objects.take(_choose(objects.kind, most, rng))
            pixels += cut_crops(scene, window, chosen, side)
            kinds.append(chosen.kind)
    return Crops(np.stack(pixels), np.concatenate(kinds))


def cut_crops(scene: Scene, window: Window, objects: Objects, side: int) -> list[NDArray[np.uint8]]:
    """Return a square around each object; beyond the window it is black, as at the edge of a raster."""
    half = side // 2
    picture = np.pad(scene.read(window).pixels, ((0, 0), (half, half), (half, half)))
    rows, cols = (objects.row - window.row).astype(int), (objects.col - window.col).astype(int)
    return [picture[:, row : row + side, col : col + side] for row, col in zip(rows, cols, strict=True)]


def _choose(kinds: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    found = [np.flatnonzero(kinds == kind) for kind in Kind]
    return np.concatenate([rng.permutation(places)[:most] for places in found])
