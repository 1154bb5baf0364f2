"""Two pictures of one place at two dates, laid on each other not quite exactly, with what changed between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scene import Date, Scene, Window
from tiles import Sample, crop, turn, vary_colors

BANDS = 4
MOST_SHIFT = 1.5
"""Cells by which the later picture may lie beside the earlier one, along each axis."""
_WORLD = 400
_EDGE = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """One place at two dates."""

    before: NDArray[np.uint8]
    """`(4, rows, cols)`."""
    after: NDArray[np.uint8]
    """`(4, rows, cols)`, shifted against the earlier picture."""
    changed: NDArray[np.bool_]
    """Where another thing is seen, on the grid of the earlier picture, `(rows, cols)`."""


def make_pair(seed: int, cell_size: float, window: Window, shift: tuple[float, float]) -> Pair:
    """Make the pictures of a window; the later one is moved down and right by a part of a cell or more."""
    before, after = (Scene(seed, cell_size, date=date) for date in Date)
    return _pair_of(before, after, window, shift)


def draw_pairs(seeds: range, *, per_seed: int, cell_sizes: tuple[float, float], side: int = 512) -> list[Sample]:
    """Make pairs at random places of several worlds as samples of eight bands, whose labels are 1 where changed."""
    samples = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        cell_size = float(rng.uniform(*cell_sizes))
        before, after = (Scene(seed, cell_size, chunk=side, date=date) for date in Date)
        for _ in range(per_seed):
            row, col = (int(k) * side for k in rng.integers(-_WORLD, _WORLD, 2))
            down, right = (float(k) for k in rng.uniform(-MOST_SHIFT, MOST_SHIFT, 2))
            pair = _pair_of(before, after, Window(row, col, side, side), (down, right), fill=True)
            pixels = np.concatenate([pair.before, pair.after])
            samples.append(Sample(pixels, pair.changed.astype(np.uint8), np.empty((0, 4)), np.empty(0, np.int64)))
    return samples


def draw_tile(samples: list[Sample], rng: np.random.Generator, side: int) -> Sample:
    """Cut a tile at random, turn it, dye the dates apart from each other and swap them now and then."""
    sample = samples[int(rng.integers(len(samples)))]
    room = sample.pixels.shape[1] - side
    tile = turn(crop(sample, *(int(k) for k in rng.integers(0, room + 1, 2)), side), int(rng.integers(8)))
    dates = [vary_colors(part, rng, 0.35) for part in (tile.pixels[:BANDS], tile.pixels[BANDS:])]
    if rng.random() < 0.5:
        dates.reverse()
    return Sample(np.concatenate(dates), tile.labels, tile.boxes, tile.classes)


def _pair_of(before: Scene, after: Scene, window: Window, shift: tuple[float, float], fill: bool = False) -> Pair:
    """Read both dates; with `fill`, the edge of the later one is repeated instead of made beyond the window."""
    if fill:
        around = np.pad(after.read(window).pixels, ((0, 0), (_EDGE, _EDGE), (_EDGE, _EDGE)), mode="edge")
    else:
        around = after.read(window.pad(_EDGE)).pixels
    return Pair(before.read(window).pixels, _move(around, *shift), before.changed(after, window))


def _move(pixels: NDArray[np.uint8], down: float, right: float) -> NDArray[np.uint8]:
    """Move a picture by parts of a cell, bilinearly; what comes back has no edge of `_EDGE` cells."""
    moved = pixels.astype(np.float32)
    for axis, amount in ((1, down), (2, right)):
        whole = int(np.floor(amount))
        near, far = np.roll(moved, whole, axis), np.roll(moved, whole + 1, axis)
        moved = near + np.float32(amount - whole) * (far - near)
    inner = slice(_EDGE, -_EDGE)
    cells: NDArray[np.uint8] = (moved[:, inner, inner] + np.float32(0.5)).astype(np.uint8)
    return cells
