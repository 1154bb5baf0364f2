"""The `Rasters` seam over GDAL. For slots and scripts: the server process never imports this module."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.bands import choose_bands
from raster_analysis.rasters.dataset import describe_raster, open_raster
from raster_analysis.rasters.mask import clip_mask, read_mask_area
from raster_analysis.rasters.reader import GdalReader
from raster_analysis.rasters.view import plan_grid
from raster_analysis.rasters.writer import ClassifiedRaster, write_classified
from raster_analysis.seams import LegendEntry, RasterInfo, RasterView


class GdalRasters:
    """Rasters in and out through GDAL."""

    def describe(self, handle: Handle) -> RasterInfo:
        """Return a raster's facts, read from its header.

        Raises:
            RasterError: it cannot be read or placed.
            BudgetError: its header asks for more than may be read.
            InputChanged: it is not the file that was resolved.
        """
        with open_raster(handle) as dataset:
            return describe_raster(handle, dataset)

    def view(
        self, handle: Handle, bands: Sequence[int | str], context: ProcessingContext, mask: Handle | None = None
    ) -> RasterView:
        """Return what to read so that `bands` come on the grid that `context` asks for.

        `mask` is the polygon layer that `context.mask` refers to; polygons written out are taken from
        `context.mask` itself.

        Raises:
            RasterError: bands are missing, the raster has no place, or extent or mask miss it.
        """
        info = self.describe(handle)
        chosen = choose_bands(info, bands, handle.title)
        grid, resample = plan_grid(info.grid, context, handle.title)
        area = read_mask_area(mask or context.mask, str(grid.crs))
        wkt = clip_mask(area, grid, handle.title) if area is not None else None
        return RasterView(handle, chosen, grid, resample, info.dtype, wkt)

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
