"""Encoding images: PNG, JPEG and TIFF through GDAL, and LERC."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter, MemoryFile

from raster_analysis.errors import InputError, OutputError
from raster_analysis.grid import Grid
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.gdal_environment import READING_OPTIONS
from raster_analysis.rasters.gdal_log import GDAL_ERRORS
from raster_analysis.rasters.rendering import PALETTE_SIZE, Palette, Rgba, colorize

COMPRESSIONS: dict[str, dict[str, object]] = {
    "none": {},
    "lz77": {"compress": "DEFLATE", "zlevel": 4},
    "lzw": {"compress": "LZW"},
}
"""Ways to write the values of a TIFF, all of them without loss."""
_PNG: dict[str, object] = {"driver": "PNG", "ZLEVEL": 4}
"""Pictures are sent once and thrown away: speed counts more than the last bytes (level 6 is GDAL's own)."""
_TILE_PX = 256
_WHITE = np.uint8(255)


@dataclass(frozen=True, slots=True)
class Values:
    """An image's values as they are, and where they lie."""

    pixels: Pixels
    grid: Grid
    nodata: float | None


def encode_png(rgba: Rgba, *, alpha: bool = True) -> bytes:
    """Return a PNG in true colours; without alpha what is transparent is white."""
    if alpha:
        return _encode(rgba, profile=_PNG)
    return _encode(_on_white(rgba), profile=_PNG)


def encode_classes_png(values: npt.NDArray[np.generic], mask: npt.NDArray[np.bool_], palette: Palette) -> bytes:
    """Return a PNG with a colour table, a quarter of the size and many times faster than true colours."""
    shown = np.zeros(256, np.bool_)
    shown[list(palette.colors)] = True
    empty = next((value for value in range(256) if not shown[value]), None)
    if empty is None:
        return encode_png(colorize(values, mask, palette))
    wide = values.astype(np.int64)
    small = np.where((wide >= 0) & (wide < PALETTE_SIZE), wide, empty).astype(np.uint8)
    indexes = np.where(mask & shown[small], small, np.uint8(empty))
    colors = {value: palette.colors.get(value, (0, 0, 0, 0)) for value in range(256)}
    return _encode(indexes[np.newaxis], profile=_PNG, colormap=colors)


def encode_small_png(rgba: Rgba) -> bytes:
    """Return a PNG with a colour table of 6 x 6 x 6 colours, for what has more colours than a table."""
    steps = np.rint(rgba[:3].astype(np.float32) / 51).astype(np.uint8)
    indexes = np.where(rgba[3] > 0, steps[0] * 36 + steps[1] * 6 + steps[2], np.uint8(255))
    cube = {r * 36 + g * 6 + b: (r * 51, g * 51, b * 51, 255) for r in range(6) for g in range(6) for b in range(6)}
    colors = {**cube, **dict.fromkeys(range(216, 256), (0, 0, 0, 0))}
    return _encode(indexes[np.newaxis], profile=_PNG, colormap=colors)


def encode_jpeg(rgba: Rgba, quality: int) -> bytes:
    """Return a JPEG; what is transparent is white."""
    return _encode(_on_white(rgba), profile={"driver": "JPEG", "QUALITY": quality})


def encode_tiff(values: Values, compression: str) -> bytes:
    """Return a GeoTIFF; where nothing is valid it holds nodata, or a mask when there is no such value."""
    pixels, grid = values.pixels, values.grid
    data = pixels.data
    if values.nodata is not None and not pixels.mask.all():
        data = np.where(pixels.mask, data, np.array(values.nodata).astype(data.dtype))
    profile: dict[str, object] = {"crs": CRS.from_wkt(grid.crs), "transform": grid.transform, "nodata": values.nodata}
    profile |= COMPRESSIONS[compression]
    if grid.window.size > _TILE_PX**2:
        profile |= {"tiled": True, "blockxsize": _TILE_PX, "blockysize": _TILE_PX}
    mask = pixels.mask if values.nodata is None and not pixels.mask.all() else None
    return _encode(data, profile={"driver": "GTiff", **profile}, mask=mask)


def encode_lerc(values: Values, tolerance: float) -> bytes:
    """Return a LERC blob (version 2) whose values differ by at most `tolerance`; refuses without the codec."""
    try:
        import lerc  # noqa: PLC0415 (an extra)
    except (ImportError, OSError):
        raise InputError("format lerc needs the extra raster-analysis[lerc] on the server; ask for tiff") from None
    data = np.ascontiguousarray(values.pixels.data if len(values.pixels.data) > 1 else values.pixels.data[0])
    if data.dtype.kind in "iu" and data.dtype.itemsize == 8:
        data = data.astype(np.float64)
    code, size, blob = lerc.encode(data, 1, True, values.pixels.mask, tolerance, 1)
    if code != 0:
        raise OutputError(f"the image cannot be written as LERC: its codec answers {code}")
    return bytes(blob[:size])


def _on_white(rgba: Rgba) -> Rgba:
    opaque = rgba[3] > 0
    return rgba[:3] if opaque.all() else np.where(opaque, rgba[:3], _WHITE)


def _encode(
    data: npt.NDArray[np.generic],
    *,
    profile: dict[str, object],
    mask: npt.NDArray[np.bool_] | None = None,
    colormap: dict[int, tuple[int, int, int, int]] | None = None,
) -> bytes:
    bands, height, width = data.shape
    shape = {"count": bands, "height": height, "width": width, "dtype": data.dtype.name}
    with MemoryFile() as memory:
        with _writing(memory, {**profile, **shape}) as sink:
            sink.write(data)
            if colormap:
                sink.write_colormap(1, colormap)
            if mask is not None:
                sink.write_mask(mask)
        return bytes(memory.getbuffer())


@contextmanager
def _writing(memory: MemoryFile, profile: dict[str, object]) -> Iterator[DatasetWriter]:
    # Nothing may be written beside the image, not even in memory.
    options = {**READING_OPTIONS, "GDAL_TIFF_INTERNAL_MASK": "YES"}
    try:
        with rasterio.Env(**options), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with memory.open(**profile) as sink:
                yield sink
    except GDAL_ERRORS as error:
        raise OutputError(f"the image cannot be written: {error.__cause__ or error}") from error
