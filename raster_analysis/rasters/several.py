"""Several rasters as one: their common facts, and what to read from each on one grid.

A *mosaic* lies on the cells of its first raster, and the first raster that has a valid pixel gives it. A
*stack* holds two dates: the bands of the earlier, then those of the later, on the cells of the later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raster_analysis.errors import NoOverlap, RasterError
from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.bands import choose_bands
from raster_analysis.rasters.dataset import describe_raster, open_raster
from raster_analysis.rasters.reference import project_bounds
from raster_analysis.rasters.view import check_georeference, describe_bounds, is_window_of
from raster_analysis.seams import RasterInfo, RasterView, Resampling

Bands = Sequence[int | str]


@dataclass(frozen=True, slots=True)
class Source:
    """A raster, or several that stand for one, with their facts."""

    handle: Handle
    info: RasterInfo
    parts: tuple[Source, ...] = ()

    @property
    def beside(self) -> tuple[Grid, ...]:
        """Return the grids of all rasters of several: MaxOf and MinOf look at them."""
        return tuple(grid for part in self.parts for grid in (part.beside or (part.info.grid,)))

    def shrink(self, grid: Grid, context: ProcessingContext) -> Grid:
        """Return what all dates of a stack cover of a grid; all of it where the context says where to work."""
        if self.handle.join != "stack":
            return grid
        common = grid
        for part in self.parts:
            common = common.crop(_common(common, part))
        return grid if context.extent else common


def describe_source(handle: Handle) -> Source:
    """Read the facts of a raster or of each of several; an error names the one that cannot be used."""
    if handle.join is None:
        with open_raster(handle) as dataset:
            return Source(handle, describe_raster(handle, dataset))
    parts = tuple(describe_source(member) for member in handle.members)
    for part in parts:
        check_georeference(part.info.grid, part.handle.title)
    join = _mosaic_info if handle.join == "mosaic" else _stack_info
    return Source(handle, join([part.info for part in parts]), parts)


def view_on(
    source: Source, bands: Bands, grid: Grid, *, dtype: str = "", resampling: Resampling = "bilinear"
) -> RasterView:
    """Return what to read so that bands come on a grid; of several rasters, each on its own part of it."""
    dtype = dtype or source.info.dtype
    if source.handle.join is None:
        chosen = choose_bands(source.info, bands, source.handle.title)
        warped = not is_window_of(source.info.grid, grid)
        return RasterView(source.handle, chosen, grid, warped, dtype, resampling=resampling)
    if source.handle.join == "stack":
        halves = split_bands(bands, source.handle.title)
        placed = [(part, half, grid) for part, half in zip(source.parts, halves, strict=True)]
    else:
        places = [(part, _footprint(grid, part)) for part in source.parts]
        placed = [(part, bands, grid.crop(window)) for part, window in places if window.size]
    parts = tuple(view_on(part, own, place, dtype=dtype, resampling=resampling) for part, own, place in placed)
    indexes = tuple(range(len(bands)))
    return RasterView(source.handle, indexes, grid, resample=False, dtype=dtype, parts=parts, resampling=resampling)


def mask_view_on(mask: Source, grid: Grid, title: str) -> RasterView:
    """Return the first band of a mask raster on a grid, each cell by the nearest of the mask's.

    Raises:
        NoOverlap: they have no area in common.
    """
    check_georeference(mask.info.grid, mask.handle.title)
    if not _footprint(grid, mask).size:
        raise NoOverlap(
            f"the mask {mask.handle.title!r}, which spans {describe_bounds(_bounds_in(grid, mask.info.grid))}, "
            f"covers no part of raster {title!r}, whose processing extent is {describe_bounds(grid.bounds_xyxy)}"
        )
    return view_on(mask, [0], grid, resampling="nearest")


def split_bands(bands: Bands, title: str) -> tuple[Bands, Bands]:
    """Return the bands of the earlier and of the later date; indexes count through both (dlpk 3.11)."""
    if len(bands) % 2:
        raise RasterError(
            f"the model reads {len(bands)} bands, which cannot be two dates of {title}; want an even number"
        )
    half = len(bands) // 2
    before, after = bands[:half], bands[half:]
    steps = {
        last - first
        for first, last in zip(before, after, strict=True)
        if not isinstance(first, str) and not isinstance(last, str)
    }
    # The same bands of either date, whatever stands between them: of four, `[0, 1, 4, 5]` are the first two of each.
    step = steps.pop() if len(steps) == 1 else half
    counts_on = all(isinstance(band, str) or band >= step for band in after)
    return before, [band - step if counts_on and not isinstance(band, str) else band for band in after]


def _mosaic_info(infos: Sequence[RasterInfo]) -> RasterInfo:
    first = infos[0]
    reach = [first.grid.reach(_bounds_in(first.grid, info.grid)) for info in infos]
    row, col = min(window.row for window in reach), min(window.col for window in reach)
    bottom = max(window.row + window.height for window in reach)
    right = max(window.col + window.width for window in reach)
    ranges = [info.value_range for info in infos]
    return replace(
        first,
        grid=first.grid.crop(Window(row, col, bottom - row, right - col)),
        dtype=_widest(infos),
        nodata=first.nodata if len({info.nodata for info in infos}) == 1 else None,
        value_range=(min(low for low, _ in ranges), max(high for _, high in ranges)),
    )


def _stack_info(infos: Sequence[RasterInfo]) -> RasterInfo:
    names = [name for info in infos for i, name in enumerate(info.band_names) if i != info.alpha_band]
    # A model's statistics are those of the earlier date for both (dlpk 1.8), and so is the stretch.
    return replace(
        infos[-1], band_count=len(names), band_names=tuple(names), alpha_band=None, nodata=None,
        dtype=_widest(infos), value_range=infos[0].value_range,
    )  # fmt: skip


def _widest(infos: Sequence[RasterInfo]) -> str:
    return np.result_type(*(np.dtype(info.dtype) for info in infos)).name


def _bounds_in(grid: Grid, other: Grid) -> tuple[float, float, float, float]:
    return project_bounds(other.bounds_xyxy, str(other.crs), str(grid.crs), "a raster that spans")


def _footprint(grid: Grid, part: Source) -> Window:
    """Return the window of a grid in which a raster has pixels."""
    return grid.window_of(_bounds_in(grid, part.info.grid))


def _common(grid: Grid, part: Source) -> Window:
    window = _footprint(grid, part)
    if not window.size:
        raise NoOverlap(
            f"raster {part.handle.title!r}, which spans {describe_bounds(_bounds_in(grid, part.info.grid))}, "
            f"and the other date, which spans {describe_bounds(grid.bounds_xyxy)}, have no area in common"
        )
    return window
