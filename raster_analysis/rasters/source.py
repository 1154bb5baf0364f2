"""The `Rasters` seam over GDAL. For slots and scripts: the server process never imports this module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.copying import copy_raster
from raster_analysis.rasters.mask import clip_mask, read_mask_area
from raster_analysis.rasters.reader import GdalReader
from raster_analysis.rasters.several import describe_source, mask_view_on, view_on
from raster_analysis.rasters.view import GridWish, plan_grid
from raster_analysis.rasters.writer import ClassifiedRaster, write_classified
from raster_analysis.seams import NO_LAYERS, ContextLayers, LegendEntry, RasterInfo, RasterView, Reporter, Resampling


class GdalRasters:
    """Rasters in and out through GDAL."""

    def describe(self, handle: Handle) -> RasterInfo:
        """Return a raster's facts, read from its header.

        Raises:
            RasterError: it cannot be read or placed.
            BudgetError: its header asks for more than may be read.
            InputChanged: it is not the file that was resolved.
        """
        return describe_source(handle).info

    def view(
        self,
        handle: Handle,
        bands: Sequence[int | str],
        context: ProcessingContext,
        layers: ContextLayers = NO_LAYERS,
        *,
        resampling: Resampling = "bilinear",
    ) -> RasterView:
        """Return what to read so that `bands` come on the grid that `context` asks for.

        `layers` are the ones that the context refers to; polygons written out are taken from `context.mask`
        itself. Several rasters are read on one grid: that of the first of a mosaic, of the last of a stack.

        Raises:
            RasterError: bands are missing, the raster has no place, or extent or mask miss it.
        """
        source = describe_source(handle)
        wish = GridWish(context, self._grid(layers.cell_size), self._grid(layers.snap_raster), source.beside)
        grid = source.shrink(plan_grid(source.info.grid, wish, handle.title), context)
        view = view_on(source, bands, grid, resampling=resampling)
        if layers.mask is not None and layers.mask.kind == "raster":
            return replace(view, mask_raster=mask_view_on(describe_source(layers.mask), grid, handle.title))
        area = read_mask_area(layers.mask or context.mask, str(grid.crs))
        return replace(view, mask_wkt=clip_mask(area, grid, handle.title) if area is not None else None)

    def _grid(self, handle: Handle | None) -> Grid | None:
        return self.describe(handle).grid if handle else None

    def open(self, view: RasterView) -> GdalReader:
        """Open a view for reading, to be used with `with`."""
        return GdalReader(view)

    def write_classified(
        self,
        path: Path,
        grid: Grid,
        blocks: Iterable[tuple[Window, npt.NDArray[np.generic]]],
        *,
        legend: Sequence[LegendEntry],
        nodata: int | None,
        dtype: str,
    ) -> None:
        """Write a verified COG, see `writer.write_classified`; the attribute table lies in `<path>.aux.xml`."""
        write_classified(path, ClassifiedRaster(grid, dtype, nodata, legend), blocks)

    def copy(self, path: Path, view: RasterView, report: Reporter) -> None:
        """Write all that a view reads as a verified COG, see `copying.copy_raster`."""

        def step(fraction: float) -> None:
            report.check_cancelled()
            report.progress(fraction)

        copy_raster(path, view, step)
