"""Reading a view on its raster's own grid: any window, with everything that makes a pixel invalid."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterioWindow

from raster_analysis.errors import RasterError
from raster_analysis.grid import Window
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.dataset import grid_of, has_dataset_mask, open_raster, read_errors
from raster_analysis.rasters.joined import open_parts
from raster_analysis.rasters.mask import PolygonMask
from raster_analysis.rasters.warp import KEPT_BYTES, Warper
from raster_analysis.seams import RasterView


class NativeBands:
    """Bands of an opened raster, in pixels of its own grid."""

    def __init__(self, dataset: DatasetReader, view: RasterView, *, raw: bool = False, nearest: bool = False) -> None:
        """Open bands; `raw` keeps one band's nodata where another holds a value, `nearest` reduces by leaving out."""
        self.dataset = dataset
        self._raw, self._nearest = raw, nearest
        self._view = view
        self._indexes = [band + 1 for band in view.bands]
        self._nodata = [dataset.nodatavals[band] for band in view.bands]
        colors = dataset.colorinterp
        self._alpha = colors.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in colors else None
        self._stored_mask = has_dataset_mask(dataset)

    def read(self, window: Window, reduced: tuple[int, int] | None = None) -> Pixels:
        """Return a window of the raster's grid; where it reaches over the edges, 0 and not valid.

        With `reduced`, the raster is averaged to so many rows and columns, and the window counts those.
        """
        reduced = reduced or (self.dataset.height, self.dataset.width)
        inside = window.intersect(Window(0, 0, *reduced))
        if inside == window and window.size:
            return Pixels(*self._read_inside(window, reduced), window)
        data = np.zeros((len(self._indexes), window.height, window.width), self._view.dtype)
        mask = np.zeros((window.height, window.width), np.bool_)
        if inside.size:
            at = inside.shift(-window.row, -window.col).slices
            data[:, *at], mask[at] = self._read_inside(inside, reduced)
        return Pixels(data, mask, window)

    def _read_inside(
        self, window: Window, reduced: tuple[int, int]
    ) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        data = self._read_bands(self._indexes, window, reduced)
        mask = self._settle_bands(data)
        if self._alpha:
            mask &= self._read_bands([self._alpha], window, reduced)[0] > 0
        if self._stored_mask:
            mask &= self._read_stored_mask(window, reduced)
        np.copyto(data, 0, where=~mask)
        return data, mask

    def _settle_bands(self, data: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
        """Set each band's own nodata to 0 and return where any band holds a value.

        As hosts of raster functions do (dlpk 3.8); asking it of every band would black out each saturated
        pixel of a photograph whose nodata is 255.
        """
        mask = np.zeros(data.shape[1:], np.bool_)
        for band, nodata in zip(data, self._nodata, strict=True):
            valid = _holds_value(band, nodata)
            mask |= valid
            # What is not a number would spread over its neighbours in a mean.
            if not self._raw or (band.dtype.kind == "f" and not self._nearest):
                np.copyto(band, 0, where=~valid)
        return mask

    def _read_bands(self, indexes: list[int], window: Window, reduced: tuple[int, int]) -> npt.NDArray[np.generic]:
        with read_errors(self._view.handle):
            pixels: npt.NDArray[np.generic] = self.dataset.read(
                indexes,
                window=self._scaled(window, reduced),
                out_shape=(len(indexes), window.height, window.width),
                # GDAL converts while it reads, so that bands of several types make one array.
                out_dtype=self._view.dtype,
                resampling=Resampling.nearest if self._nearest or reduced == self.dataset.shape else Resampling.average,
            )
        return pixels

    def _read_stored_mask(self, window: Window, reduced: tuple[int, int]) -> npt.NDArray[np.bool_]:
        with read_errors(self._view.handle):
            stored: npt.NDArray[np.uint8] = self.dataset.read_masks(
                1, window=self._scaled(window, reduced), out_shape=(window.height, window.width)
            )
        return stored > 0

    def _scaled(self, window: Window, reduced: tuple[int, int]) -> RasterioWindow:
        rows, cols = self.dataset.height / reduced[0], self.dataset.width / reduced[1]
        return RasterioWindow(window.col * cols, window.row * rows, window.width * cols, window.height * rows)


def _holds_value(band: npt.NDArray[np.generic], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Return where a band is neither its nodata nor infinite nor not a number."""
    floating = band.dtype.kind == "f"
    valid = np.isfinite(band) if floating else np.ones(band.shape, np.bool_)
    # As Python numbers, a nodata outside the type's range compares as different everywhere.
    if nodata is not None and not np.isnan(nodata):
        valid &= band != (band.dtype.type(nodata) if floating else nodata)
    return valid


class GdalReader:
    """An opened view (the `RasterReader` seam). One thread at a time."""

    def __init__(self, view: RasterView, kept_bytes: int = KEPT_BYTES) -> None:
        self.view = view
        self._kept_bytes = kept_bytes
        self._mask: GdalReader | None = None
        self._polygons = PolygonMask(view.mask_wkt, view.grid) if view.mask_wkt else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # Nobody leaves what was not entered: the file must be closed here when the view does not fit it.
        with ExitStack() as opening:
            self._source = self._open(opening)
            mask = self.view.mask_raster
            self._mask = opening.enter_context(GdalReader(mask, self._kept_bytes)) if mask else None
            self._stack = opening.pop_all()
        return self

    def _open(self, opening: ExitStack) -> _Source:
        if self.view.parts:
            return opening.enter_context(open_parts(self.view, GdalReader))
        bands = NativeBands(opening.enter_context(open_raster(self.view.handle)), self.view)
        if not self.view.resample:
            return _Shifted(bands, self.view)
        return Warper(bands, self.view, grid_of(bands.dataset), self._kept_bytes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            # Written over while it was read: pixels of both versions may have been given out.
            self.view.handle.verify_unchanged()

    def read(self, window: Window) -> Pixels:
        """Return a window of the view's grid; invalid pixels are 0.

        Raises:
            RasterError: the file is damaged or cut short.
            InputChanged: it is no longer the file that was resolved.
        """
        pixels = self._source.read(window)
        if not self.view.is_masked:
            return pixels
        mask = pixels.mask & self._read_mask(window)
        np.copyto(pixels.data, 0, where=~mask)
        return Pixels(pixels.data, mask, window)

    def _read_mask(self, window: Window) -> npt.NDArray[np.bool_]:
        if self._mask is not None:
            found = self._mask.read(window)
            return np.asarray(found.mask & (found.data[0] != 0), np.bool_)
        return self._polygons.read(window) if self._polygons else np.ones((window.height, window.width), np.bool_)


class _Source(Protocol):
    def read(self, window: Window) -> Pixels:
        """Return a window of the view's grid."""


class _Shifted:
    """A view that is a window of the raster's own grid."""

    def __init__(self, bands: NativeBands, view: RasterView) -> None:
        col, row = ~bands.dataset.transform @ (view.grid.transform.c, view.grid.transform.f)
        self._bands = bands
        self._row, self._col = round(row), round(col)
        # Far above what rounding adds to the corner of a window, far below what would blur pixels.
        if max(abs(row - self._row), abs(col - self._col)) > 0.01:
            raise RasterError(f"the view of {view.handle.title!r} does not lie on the raster's own grid")

    def read(self, window: Window) -> Pixels:
        """Return a window of the view's grid."""
        native = self._bands.read(window.shift(self._row, self._col))
        return Pixels(native.data, native.mask, window)
