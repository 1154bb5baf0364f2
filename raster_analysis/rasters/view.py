"""A view: the bands a model wants, on the grid that a context asks for, under its mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from raster_analysis.errors import BudgetError, NoOverlap, RasterError
from raster_analysis.grid import Bounds, Grid
from raster_analysis.inputs import DataReference, ProcessingContext
from raster_analysis.rasters.dataset import MAX_PIXELS
from raster_analysis.rasters.reference import from_spatial_reference, project_bounds

_LEAST_KEPT = 16
"""A default grid of so many times fewer pixels than the raster is torn (guess: at 80 degrees north a third is left)."""
_SAME_CELL = 1e-9
"""Relative difference up to which a cell size counts as the raster's own (text with 10 digits)."""
_ON_CELL = 1e-3
"""Share of a cell up to which a corner counts as lying on an edge: far above rounding, far below what is seen."""


@dataclass(frozen=True, slots=True)
class GridWish:
    """What decides on a processing grid besides the raster's own."""

    context: ProcessingContext
    cell_of: Grid | None = None
    """The grid of the dataset that a cellSize names."""
    snap_to: Grid | None = None
    """The grid of the snap raster."""
    beside: tuple[Grid, ...] = ()
    """The grids of further inputs: MaxOf and MinOf look at all of them."""


def plan_grid(native: Grid, wish: GridWish, title: str) -> Grid:
    """Return the processing grid.

    The raster's own grid where the context allows, else one anchored at the snap raster's cells, or at the
    raster's top-left corner without one; either cut to the cells that `context.extent` touches.

    Raises:
        RasterError: the raster has no place on earth, or the context cannot be met.
        BudgetError: the cell size asks for more pixels than may be processed.
    """
    check_georeference(native, title)
    _check_context(wish)
    context = wish.context
    reference, name = (context.out_sr, "outSR") if context.out_sr else (context.process_sr, "processSR")
    target_crs = from_spatial_reference(reference, name) if reference else str(native.crs)
    cell = _wanted_cell(native, target_crs, wish)
    anchor = _anchor(wish.snap_to, target_crs) if wish.snap_to else None
    keeps = _keeps_grid(native, target_crs, cell, anchor)
    grid = native if keeps else _regrid(native, target_crs, cell, anchor=anchor, title=title)
    cropped = _crop_to_extent(grid, context, native, title)
    _check_size(cropped.height, cropped.width, title)
    return cropped


def is_window_of(native: Grid, grid: Grid) -> bool:
    """Tell whether a grid's cells are cells of `native` (or would be, beyond its edges)."""
    ours, theirs = tuple(grid.transform)[:6], tuple(native.transform)[:6]
    steps = [(ours[i], theirs[i]) for i in (0, 1, 3, 4)]
    largest = max(native.cell_size)
    if any(abs(a - b) > _SAME_CELL * largest for a, b in steps) or not _same_crs(native.crs, grid.crs):
        return False
    return all(abs(place - round(place)) <= _ON_CELL for place in native.offset_of(grid))


def check_georeference(native: Grid, title: str) -> None:
    """Raise RasterError, with the command that mends it, when a raster lies nowhere on earth."""
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


def _check_context(wish: GridWish) -> None:
    faults = []
    size = wish.context.cell_size
    if isinstance(size, float) and not (math.isfinite(size) and size > 0):
        faults.append(f"cellSize {size} is not a positive number")
    for name, given, found in (
        ("cellSize", isinstance(size, DataReference), wish.cell_of),
        ("snapRaster", wish.context.snap_raster is not None, wish.snap_to),
    ):
        if given and found is None:
            faults.append(f"{name} refers to a raster that was not resolved")
    if wish.context.extent and not all(map(math.isfinite, _bounds_of(wish.context))):
        faults.append("extent holds a value that is not a finite number")
    if faults:
        raise RasterError("; ".join(f"context: {fault}" for fault in faults))


def _wanted_cell(native: Grid, target_crs: str, wish: GridWish) -> float | None:
    """Return the cell size that is asked for, None for the raster's own."""
    size = wish.context.cell_size
    if wish.cell_of is not None:
        return _cell_in(wish.cell_of, target_crs)
    if isinstance(size, float):
        return size
    if size is None or not wish.beside:
        return None
    sizes = [_cell_in(grid, target_crs) for grid in (native, *wish.beside)]
    return max(sizes) if size == "MaxOf" else min(sizes)


def _anchor(snap: Grid, target_crs: str) -> tuple[float, float]:
    """Return the lower-left corner of the snap raster: with its own cell size, its cells then are ours."""
    x, y = snap.transform @ (0, snap.height)
    if _same_crs(snap.crs, target_crs):
        return x, y
    if snap.crs is None:
        raise RasterError("context: snapRaster has no coordinate reference system; take another, or assign one")
    (x,), (y,) = transform(CRS.from_wkt(snap.crs), CRS.from_wkt(target_crs), [x], [y])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise RasterError("context: snapRaster has no counterpart in the processing coordinate system; take another")
    return x, y


def _keeps_grid(native: Grid, target_crs: str, cell: float | None, anchor: tuple[float, float] | None) -> bool:
    same_cell = cell is None or all(math.isclose(cell, own, rel_tol=_SAME_CELL) for own in native.cell_size)
    if not (same_cell and _same_crs(native.crs, target_crs)):
        return False
    return anchor is None or all(abs(place - round(place)) <= _ON_CELL for place in ~native.transform @ anchor)


def _same_crs(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and CRS.from_wkt(one) == CRS.from_wkt(other))


def _regrid(
    native: Grid, target_crs: str, cell: float | None, *, anchor: tuple[float, float] | None, title: str
) -> Grid:
    """Return a north-up grid over the whole raster, its cells counted from `anchor` or its top-left corner."""
    xmin, ymin, xmax, ymax = project_bounds(native.bounds_xyxy, str(native.crs), target_crs, f"raster {title!r}")
    size = cell or _cell_in(native, target_crs)
    if anchor is not None:
        xmin = anchor[0] + math.floor((xmin - anchor[0]) / size + 1e-6) * size
        ymax = anchor[1] + math.ceil((ymax - anchor[1]) / size - 1e-6) * size
    rows, cols = (length / size for length in (ymax - ymin, xmax - xmin))
    # One side at a time: an extent may still cut the area, but no grid can be made of an infinite side.
    _check_size(rows, 1, title)
    _check_size(1, cols, title)
    if cell is None:
        _check_continuous(native, rows * cols, title)
    height, width = (max(1, math.ceil(side - 1e-6)) for side in (rows, cols))
    return Grid(target_crs, Affine(size, 0, xmin, 0, -size, ymax), height, width)


def _cell_in(grid: Grid, target_crs: str) -> float:
    """Return a raster's cell size in another system; one number for cells that are not square."""
    width, height = grid.cell_size
    square = math.isclose(width, height, rel_tol=_SAME_CELL)
    return width if square and _same_crs(grid.crs, target_crs) else _default_cell(grid, target_crs)


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
        raise NoOverlap(
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
