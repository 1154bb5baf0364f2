"""A view: the bands a model wants, on the grid that a context asks for, under its mask."""

from __future__ import annotations

import math

from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from raster_analysis.errors import BudgetError, RasterError
from raster_analysis.grid import Bounds, Grid
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.dataset import MAX_PIXELS
from raster_analysis.rasters.reference import from_spatial_reference, project_bounds

_LEAST_KEPT = 16
"""A default grid of so many times fewer pixels than the raster is torn (guess: at 80 degrees north a third is left)."""
_SAME_CELL = 1e-9
"""Relative difference up to which a cell size counts as the raster's own (text with 10 digits)."""


def plan_grid(native: Grid, context: ProcessingContext, title: str) -> tuple[Grid, bool]:
    """Return the processing grid, and whether it differs from a window of the raster's own.

    The raster's own grid where `context` allows, else one anchored at the raster's top-left corner;
    either cut to the cells that `context.extent` touches.

    Raises:
        RasterError: the raster has no place on earth, or the context cannot be met.
        BudgetError: the cell size asks for more pixels than may be processed.
    """
    _check_georeference(native, title)
    _check_context(context)
    target_crs = from_spatial_reference(context.out_sr, "outSR") if context.out_sr else str(native.crs)
    cell = context.cell_size if isinstance(context.cell_size, float) else None
    resample = not _keeps_grid(native, target_crs, cell)
    grid = _regrid(native, target_crs, cell, title) if resample else native
    cropped = _crop_to_extent(grid, context, native, title)
    _check_size(cropped.height, cropped.width, title)
    return cropped, resample


def _check_georeference(native: Grid, title: str) -> None:
    if native.crs is None:
        raise RasterError(
            f"raster {title!r} has no coordinate reference system; assign one, "
            f"e.g. `gdal_edit.py -a_srs EPSG:32616 {title}`"
        )
    if native.transform.is_identity:
        raise RasterError(
            f"raster {title!r} has a coordinate reference system but no position; assign one, "
            f"e.g. `gdal_edit.py -a_ullr ULX ULY LRX LRY {title}`"
        )


def _check_context(context: ProcessingContext) -> None:
    faults = []
    size = context.cell_size
    if isinstance(size, float) and not (math.isfinite(size) and size > 0):
        faults.append(f"cellSize {size} is not a positive number")
    if size is not None and not isinstance(size, (float, str)):
        faults.append("cellSize given as a dataset is not supported; give the number")
    if context.snap_raster is not None:
        faults.append("snapRaster is not supported: cells are aligned with the input raster; leave it out")
    if context.extent and not all(map(math.isfinite, _bounds_of(context))):
        faults.append("extent holds a value that is not a finite number")
    if faults:
        raise RasterError("; ".join(f"context: {fault}" for fault in faults))


def _keeps_grid(native: Grid, target_crs: str, cell: float | None) -> bool:
    same_cell = cell is None or all(math.isclose(cell, own, rel_tol=_SAME_CELL) for own in native.cell_size)
    return same_cell and CRS.from_wkt(target_crs) == CRS.from_wkt(native.crs)


def _regrid(native: Grid, target_crs: str, cell: float | None, title: str) -> Grid:
    """Return a north-up grid over the whole raster, anchored at its top-left corner."""
    xmin, ymin, xmax, ymax = project_bounds(native.bounds_xyxy, str(native.crs), target_crs, f"raster {title!r}")
    size = cell or _default_cell(native, target_crs)
    rows, cols = (length / size for length in (ymax - ymin, xmax - xmin))
    # One side at a time: an extent may still cut the area, but no grid can be made of an infinite side.
    _check_size(rows, 1, title)
    _check_size(1, cols, title)
    if cell is None:
        _check_continuous(native, rows * cols, title)
    height, width = (max(1, math.ceil(side - 1e-6)) for side in (rows, cols))
    return Grid(target_crs, Affine(size, 0, xmin, 0, -size, ymax), height, width)


def _check_size(rows: float, cols: float, title: str) -> None:
    # Blocks are listed in the plan: a cell size with a slip in its unit would list more than memory holds.
    if rows * cols > MAX_PIXELS:
        raise BudgetError(
            f"raster {title!r} would become {rows:,.0f} x {cols:,.0f} pixels, {rows * cols:,.0f} in all (at most "
            f"{MAX_PIXELS:,}); give a larger cellSize, in units of the processing coordinate system, or an extent"
        )


def _check_continuous(native: Grid, pixels: float, title: str) -> None:
    """Refuse what is torn apart: half of it would lie at the other end of the world, its cells be countries."""
    if pixels * _LEAST_KEPT < native.window.size:
        raise RasterError(
            f"raster {title!r} has no simple counterpart in outSR: it crosses the antimeridian or a pole of it; "
            "take another spatial reference, or split the raster"
        )


def _default_cell(native: Grid, target_crs: str) -> float:
    """Return the cell size that keeps as many pixels along the raster's middle: GDAL's own rule, more or less.

    Measured over the middle half, as corners may have no counterpart in the target system.
    """
    ends = [native.transform @ (native.width * part, native.height * part) for part in (0.25, 0.75)]
    xs, ys = transform(CRS.from_wkt(native.crs), CRS.from_wkt(target_crs), *map(list, zip(*ends, strict=True)))
    return math.hypot(xs[1] - xs[0], ys[1] - ys[0]) / (math.hypot(native.width, native.height) / 2)


def _crop_to_extent(grid: Grid, context: ProcessingContext, native: Grid, title: str) -> Grid:
    if context.extent is None:
        return grid
    reference = context.extent.spatial_reference
    source = from_spatial_reference(reference, "extent's spatialReference") if reference else str(native.crs)
    bounds = project_bounds(_bounds_of(context), source, str(grid.crs), "extent")
    window = grid.window_of(bounds)
    if not window.size:
        raise RasterError(
            f"extent {describe_bounds(bounds)} lies outside raster {title!r}, which spans "
            f"{describe_bounds(grid.bounds_xyxy)} in the same coordinates"
        )
    return grid.crop(window)


def _bounds_of(context: ProcessingContext) -> Bounds:
    extent = context.extent
    return (extent.xmin, extent.ymin, extent.xmax, extent.ymax) if extent else (0.0, 0.0, 0.0, 0.0)


def describe_bounds(bounds: Bounds) -> str:
    """Return bounds as text for messages: xmin, ymin, xmax, ymax."""
    return "(" + ", ".join(f"{value:.10g}" for value in bounds) + ")"
