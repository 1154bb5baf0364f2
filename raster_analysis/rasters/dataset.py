"""Opening rasters: with the one driver of the handle, nothing beside the file, within a budget."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader

from raster_analysis.errors import BudgetError, RasterError
from raster_analysis.grid import Grid
from raster_analysis.handle import Handle
from raster_analysis.rasters.bands import name_bands
from raster_analysis.rasters.gdal_environment import CACHE_BYTES, READING_OPTIONS
from raster_analysis.rasters.gdal_log import GDAL_ERRORS
from raster_analysis.rasters.reference import to_wkt
from raster_analysis.rasters.statistics import find_value_range
from raster_analysis.seams import RasterInfo

MAX_BLOCK_BYTES = 512 * 1024**2
"""Uncompressed; GDAL must hold a whole block to give one pixel of it (negative-tests 7)."""
MAX_PIXELS = 250_000_000_000
"""A country at 0.5 m: a guess far above what is in use and far below what a lying header says."""
MAX_BLOCKS = 20_000_000
"""GDAL keeps 16 bytes a block in memory."""
MAX_BANDS = 2_048
_TIFF_HEADER_BYTES = 8


@contextmanager
def open_raster(handle: Handle) -> Iterator[DatasetReader]:
    """Open a raster for reading; whatever GDAL finds wrong with it becomes a RasterError."""
    handle.verify_unchanged()
    if handle.kind != "raster" or handle.driver is None:
        raise RasterError(f"{handle.title!r} was not resolved as a raster")
    with rasterio.Env(**READING_OPTIONS, GDAL_CACHEMAX=CACHE_BYTES), read_errors(handle), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = _open(handle)
    # Not `with dataset`, which can only be left by the thread that entered it: a mosaic opens and closes as it reads.
    with closing(dataset):
        yield dataset


def _open(handle: Handle) -> DatasetReader:
    dataset = rasterio.open(handle.path, driver=handle.driver)
    if handle.driver == "GTiff" and dataset.count and _starts_in_header(dataset):
        dataset.close()
        raise ValueError("its directory does not say where its pixels lie")
    return dataset


def _starts_in_header(dataset: DatasetReader) -> bool:
    """Tell whether GDAL would take pixels from the start of a TIFF, as it does when offsets cannot be read."""
    offset = dataset.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1)
    return offset is not None and int(offset) < _TIFF_HEADER_BYTES


@contextmanager
def read_errors(handle: Handle) -> Iterator[None]:
    """Turn GDAL's errors into a RasterError that names the raster and not its path."""
    try:
        yield
    except (*GDAL_ERRORS, MemoryError, OSError, ValueError) as error:
        handle.verify_unchanged()
        cause = error.__cause__ or error
        reason = str(cause).replace(handle.path, handle.title) or type(cause).__name__
        raise RasterError(f"raster {handle.title!r} cannot be read: {reason}") from error


def describe_raster(handle: Handle, dataset: DatasetReader) -> RasterInfo:
    """Return the facts of an opened raster; raises RasterError or BudgetError when it cannot be used."""
    _check_budget(handle.title, dataset)
    _check_placement(handle.title, dataset)
    with read_errors(handle):
        grid = grid_of(dataset)
    dtype = _widest_type(dataset)
    colors = [color.name for color in dataset.colorinterp]
    return RasterInfo(
        grid=grid,
        band_count=dataset.count,
        dtype=dtype,
        nodata=usable_nodata(dataset.nodata, dtype),
        band_names=name_bands(dataset.descriptions, colors),
        alpha_band=colors.index("alpha") if "alpha" in colors else None,
        value_range=find_value_range(dataset, dtype),
    )


def has_dataset_mask(dataset: DatasetReader) -> bool:
    """Tell whether a mask that is no alpha band is stored in the raster itself."""
    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _check_budget(title: str, dataset: DatasetReader) -> None:
    # numpy has no complex integers, so rasterio's name for them would be an error.
    kinds = [np.dtype(name) for name in dataset.dtypes if name != "complex_int16"]
    if len(kinds) < dataset.count or any(kind.kind == "c" for kind in kinds):
        raise RasterError(f"raster {title!r} holds complex numbers; give amplitude, phase or both as real bands")
    if not dataset.count:
        raise RasterError(f"raster {title!r} has no bands")
    rows, cols = dataset.block_shapes[0]
    # Interleaved by pixel, a block holds all bands, whichever is read.
    interleaved = dataset.count if str(dataset.profile.get("interleave", "")).lower() == "pixel" else 1
    figures = (
        ("pixels", dataset.width * dataset.height, MAX_PIXELS),
        ("bands", dataset.count, MAX_BANDS),
        ("bytes in one block", rows * cols * interleaved * max(kind.itemsize for kind in kinds), MAX_BLOCK_BYTES),
        ("blocks", math.ceil(dataset.height / rows) * math.ceil(dataset.width / cols), MAX_BLOCKS),
    )
    faults = [f"{value:,} {what} (at most {limit:,})" for what, value, limit in figures if value > limit]
    if faults:
        raise BudgetError(f"raster {title!r} is too large to read: {'; '.join(faults)}")


def _check_placement(title: str, dataset: DatasetReader) -> None:
    points, _ = dataset.gcps
    if points and dataset.transform.is_identity:
        raise RasterError(
            f"raster {title!r} is placed by {len(points)} ground control points only; warp it first, "
            f"e.g. `gdalwarp {title} placed.tif`"
        )


def grid_of(dataset: DatasetReader) -> Grid:
    """Return the raster's own grid; its `crs` is None when there is none."""
    crs = to_wkt(dataset.crs) if dataset.crs else None
    return Grid(crs or None, dataset.transform, dataset.height, dataset.width)


def _widest_type(dataset: DatasetReader) -> str:
    return np.result_type(*(np.dtype(name) for name in dataset.dtypes)).name


def usable_nodata(nodata: float | None, dtype: str) -> float | None:
    """Return nodata when a pixel of that type can have the value; None otherwise, as no pixel can match."""
    kind = np.dtype(dtype)
    if nodata is None or kind.kind == "f":
        return nodata
    bounds = np.iinfo(kind)
    usable = math.isfinite(nodata) and nodata == int(nodata) and bounds.min <= nodata <= bounds.max
    return nodata if usable else None
