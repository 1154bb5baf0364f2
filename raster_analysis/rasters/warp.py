"""Reading a view on another grid than the raster's own: pixels are warped while they are read.

A pixel has the same value through whatever window it is read: GDAL approximates coordinates over the
area that it is asked for, so the area is always the same, a square of the view's grid.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Protocol

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, transform

from raster_analysis.grid import Grid, Window
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.resampling import Resampler
from raster_analysis.seams import RasterView

SQUARE_PX = 256
"""Side of the squares that are warped as one."""
KEPT_BYTES = 64 * 1024**2
"""Warped squares kept for the next window, which overlaps this one by its padding."""


class SourceBands(Protocol):
    """What a warper reads from: windows of the raster's own grid, optionally reduced."""

    def read(self, window: Window, reduced: tuple[int, int] | None = None) -> Pixels:
        """Return a window, of the whole raster at `reduced` rows and cols; over the edges 0 and not valid."""


class Warper:
    """A view whose pixels are interpolated, or taken from the nearest."""

    def __init__(self, bands: SourceBands, view: RasterView, native: Grid, kept_bytes: int = KEPT_BYTES) -> None:
        self._bands = bands
        self._view = view
        target_crs, source_crs = CRS.from_wkt(view.grid.crs), CRS.from_wkt(native.crs)
        self._resampler = Resampler(view.handle, str(native.crs), str(view.grid.crs))
        nearest = view.resampling == "nearest"
        self._reduced = (
            native if nearest else reduce_grid(native, _shrinking(native, view.grid, source_crs, target_crs))
        )
        self._kept: OrderedDict[tuple[int, int], Pixels] = OrderedDict()
        square_bytes = SQUARE_PX**2 * (len(view.bands) * np.dtype(view.dtype).itemsize + 1)
        # The smallest window may lie where four squares meet.
        self._kept_squares = max(4, kept_bytes // square_bytes)

    def read(self, window: Window) -> Pixels:
        """Return a window of the view's grid."""
        data = np.zeros((len(self._view.bands), window.height, window.width), self._view.dtype)
        mask = np.zeros((window.height, window.width), np.bool_)
        inside = window.intersect(self._view.grid.window)
        for square in _squares_over(inside):
            pixels = self._square(square)
            part = square.intersect(inside)
            to, at = part.shift(-window.row, -window.col).slices, part.shift(-square.row, -square.col).slices
            data[:, *to], mask[to] = pixels.data[:, *at], pixels.mask[at]
        return Pixels(data, mask, window)

    def _square(self, square: Window) -> Pixels:
        key = (square.row, square.col)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._kept[key] = pixels = self._warp(square)
        if len(self._kept) > self._kept_squares:
            self._kept.popitem(last=False)
        return pixels

    def _warp(self, square: Window) -> Pixels:
        target = self._view.grid.crop(square)
        window = self._resampler.window(target, self._reduced)
        if not window.size:
            empty = np.zeros((len(self._view.bands), square.height, square.width), self._view.dtype)
            return Pixels(empty, np.zeros(empty.shape[1:], np.bool_), square)
        source = self._bands.read(window, (self._reduced.height, self._reduced.width))
        grid = self._reduced.crop(window)
        if self._view.resampling == "nearest":
            return Pixels(*self._resampler.nearest(source, grid, target), square)
        method = Resampling[self._view.resampling]
        return Pixels(*self._resampler.interpolate(source, grid, target, method), square)


def _squares_over(window: Window) -> list[Window]:
    """Return the squares, anchored at the grid's corner, that `window` touches."""
    rows = range(window.row // SQUARE_PX, -(-(window.row + window.height) // SQUARE_PX))
    cols = range(window.col // SQUARE_PX, -(-(window.col + window.width) // SQUARE_PX))
    return [Window(r * SQUARE_PX, c * SQUARE_PX, SQUARE_PX, SQUARE_PX) for r in rows for c in cols]


def reduce_grid(native: Grid, shrinking: float) -> Grid:
    """Return a grid of the raster's own bounds whose pixels are `shrinking` native ones or a little more."""
    # Whole bounds, even where the sides are no multiple: the last rows and columns must not get lost.
    reduction = max(1, math.floor(min(shrinking, max(native.height, native.width))))
    height, width = max(1, native.height // reduction), max(1, native.width // reduction)
    scale = Affine.scale(native.width / width, native.height / height)
    return Grid(native.crs, native.transform @ scale, height, width)


def _shrinking(native: Grid, target: Grid, source_crs: CRS, target_crs: CRS) -> float:
    """Return how many native pixels lie along one pixel of `target`, at the middle of it."""
    row, col = target.height / 2, target.width / 2
    corners = [target.transform @ (c, r) for c, r in ((col, row), (col + 1, row), (col, row + 1))]
    xs, ys = transform(target_crs, source_crs, [x for x, _ in corners], [y for _, y in corners])
    (c0, r0), (c1, r1), (c2, r2) = (~native.transform @ (x, y) for x, y in zip(xs, ys, strict=True))
    shrinking = min(math.hypot(c1 - c0, r1 - r0), math.hypot(c2 - c0, r2 - r0))
    return shrinking if math.isfinite(shrinking) else 1.0
