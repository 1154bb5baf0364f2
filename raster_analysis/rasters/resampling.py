"""Resampling: pixels of one grid on another, by the nearest pixel or between neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.dataset import read_errors

_EDGE_POINTS = 21

Places = npt.NDArray[np.float64]
Resampled = tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]
"""Data `(bands, rows, cols)` and mask `(rows, cols)`."""


class Resampler:
    """Carries pixels of one raster over to grids in one other coordinate reference system."""

    def __init__(self, handle: Handle, source: str, target: str) -> None:
        """Carry from one system to another, both as WKT."""
        self._handle = handle
        self._source, self._target = source, target
        self._source_crs, self._target_crs = CRS.from_wkt(source), CRS.from_wkt(target)

    def window(self, target: Grid, source: Grid) -> Window:
        """Return the pixels of `source` that can touch `target`, with the reach of an interpolation."""
        xs, ys = project_points(self._target, self._source, *_mesh(target))
        known = np.isfinite(xs) & np.isfinite(ys)
        if not known.any():
            return Window(0, 0, 0, 0)
        cols, rows = apply_affine(~source.transform, xs[known], ys[known])
        # Two pixels of reach while GDAL shrinks by less than 2, and as many for lines that bend between the points.
        row, col = math.floor(rows.min()) - 4, math.floor(cols.min()) - 4
        bottom, right = math.ceil(rows.max()) + 4, math.ceil(cols.max()) + 4
        return Window(row, col, bottom - row, right - col).intersect(source.window)

    def nearest(self, source: Pixels, grid: Grid, target: Grid) -> Resampled:
        """Return for each pixel of `target` the value of the pixel of `grid` that its centre lies in."""
        step = ~grid.transform @ target.transform
        if self._source_crs == self._target_crs and step.b == 0 and step.d == 0:
            return _pick(source, (step.e, step.f), (step.a, step.c), target)
        bands = np.concatenate([source.data, source.mask[np.newaxis].astype(source.data.dtype)])
        *_, mask = warped = self._resample(bands, grid, target, Resampling.nearest)
        return warped[:-1], mask != 0

    def interpolate(
        self, source: Pixels, grid: Grid, target: Grid, method: Resampling = Resampling.bilinear
    ) -> Resampled:
        """Return values weighted over valid neighbours only, so that nodata does not bleed into them.

        A pixel is valid where at least half of that weight is.
        """
        kind = source.data.dtype
        # float32 holds 8 and 16 bit values exactly.
        work = np.dtype("float32") if kind.itemsize <= 2 or kind == np.float32 else np.dtype("float64")
        bands = np.concatenate([source.data, source.mask[np.newaxis]]).astype(work)
        *_, total = warped = self._resample(bands, grid, target, method)
        mask = total >= 0.5
        values = np.divide(warped[:-1], total, out=np.zeros_like(warped[:-1]), where=mask)
        return _as_kind(values, kind), mask

    def _resample(self, bands: npt.NDArray[Any], grid: Grid, target: Grid, method: Resampling) -> npt.NDArray[Any]:
        out = np.zeros((len(bands), target.height, target.width), bands.dtype)
        with read_errors(self._handle):
            reproject(
                bands,
                out,
                src_transform=grid.transform,
                src_crs=self._source_crs,
                dst_transform=target.transform,
                dst_crs=self._target_crs,
                resampling=method,
                # Reading has one thread of the pipeline; the others belong to the network.
                num_threads=1,
            )
        return out


def _as_kind(values: npt.NDArray[Any], kind: np.dtype[Any]) -> npt.NDArray[np.generic]:
    if kind.kind == "f":
        return values.astype(kind)
    # A cubic curve overshoots at edges: without a limit 255 and a little would become 0.
    bounds = np.iinfo(kind)
    cut: npt.NDArray[np.generic] = np.clip(np.rint(values), bounds.min, bounds.max).astype(kind)
    return cut


def project_points(
    source: str, target: str, xs: Sequence[float] | Places, ys: Sequence[float] | Places
) -> tuple[Places, Places]:
    """Return points in another system (both as WKT); infinite where a point has no counterpart there."""
    here, there = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    if source == target:
        return here, there
    # Not rasterio's: that one fails altogether when a single point lies outside of the system's domain.
    moved: tuple[Places, Places] = _transformer(source, target).transform(here, there)
    return moved


def apply_affine(affine: Affine, xs: Places, ys: Places) -> tuple[Places, Places]:
    """Return many points moved by one affine transform."""
    return affine.a * xs + affine.b * ys + affine.c, affine.d * xs + affine.e * ys + affine.f


@lru_cache(maxsize=32)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _pick(source: Pixels, down: tuple[float, float], across: tuple[float, float], target: Grid) -> Resampled:
    """Return rows and columns of `source` by index: exact, and many times faster than a warp."""
    rows, inside_rows = _indexes(down, target.height, source.window.height)
    cols, inside_cols = _indexes(across, target.width, source.window.width)
    inside = inside_rows[:, np.newaxis] & inside_cols
    data = source.data[:, rows][:, :, cols]
    np.copyto(data, 0, where=~inside)
    return data, source.mask[rows][:, cols] & inside


def _indexes(line: tuple[float, float], count: int, size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return which of `size` source pixels each of `count` centres lies in, and whether it lies in any."""
    step, start = line
    places = np.floor(step * (np.arange(count) + 0.5) + start)
    inside = (places >= 0) & (places < size)
    return np.where(inside, places, 0).astype(np.intp), inside


def _mesh(grid: Grid) -> tuple[Places, Places]:
    steps = np.linspace(0, 1, _EDGE_POINTS)
    cols, rows = np.meshgrid(steps * grid.width, steps * grid.height)
    return apply_affine(grid.transform, cols.ravel(), rows.ravel())
