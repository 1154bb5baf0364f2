"""Writing rasters of any bands: a Cloud Optimized GeoTIFF, read back before it gets its name as classes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader, DatasetWriter

from raster_analysis.errors import OutputError
from raster_analysis.grid import Grid, Window
from raster_analysis.rasters.cog import (
    BLOCK_PX,
    CACHE_BYTES,
    CHUNK_PX,
    DEFLATE_LEVEL,
    THREADS,
    add_overviews,
    digest_of,
    failures,
    open_written,
    overview_factors,
    to_rasterio,
)
from raster_analysis.rasters.gdal_log import gdal_errors_raise
from raster_analysis.rasters.staging import check_free_space, staged

_BLOCK_BYTES = 64 * 1024**2
"""Of all bands in one tile of the output: readers must hold it whole."""
Colormap = Mapping[int, tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class BandedRaster:
    """What a raster is, apart from its pixels."""

    grid: Grid
    dtype: str
    count: int
    nodata: float | None = None
    masked: bool = False
    """Whether a mask of its own says which pixels are valid."""
    descriptions: tuple[str | None, ...] = ()
    colors: tuple[ColorInterp, ...] = ()
    colormap: Colormap = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Return the size of the pixels, uncompressed."""
        return self.grid.window.size * (self.count * np.dtype(self.dtype).itemsize + self.masked)

    @property
    def resampling(self) -> Resampling:
        """Return how overviews are made: indexes of colours have no mean."""
        return Resampling.nearest if self.colormap else Resampling.average

    @property
    def block_px(self) -> int:
        """Return the side of a tile: smaller for many bands, as a tile holds all of them."""
        side = BLOCK_PX
        while side > 64 and side**2 * self.count * np.dtype(self.dtype).itemsize > _BLOCK_BYTES:
            side //= 2
        return side


@dataclass(frozen=True, slots=True)
class Part:
    """Some bands of a window; for the mask, the validity instead of bands."""

    window: Window
    bands: tuple[int, ...]
    """One-based; empty for the mask."""
    pixels: npt.NDArray[np.generic]
    """`(bands, rows, cols)`, of the mask `(rows, cols)`."""


def write_bands(path: Path, raster: BandedRaster, parts: Iterable[Part]) -> None:
    """Write a verified COG with overviews; parts give every band of every pixel once.

    Raises:
        OutputExists: the output is there already.
        BudgetError: the disk is too small.
        OutputError: pixels are missing, or the file does not read back as it was written.
    """
    with staged(path) as final:
        check_free_space(path, int(raster.size_bytes * (4 / 3 + 4 / 3) * 1.1))
        draft = final.parent / "work" / "draft.tif"
        draft.parent.mkdir()
        options = {"GDAL_CACHEMAX": CACHE_BYTES, "GDAL_TIFF_INTERNAL_MASK": True}
        with gdal_errors_raise(path.name), rasterio.Env(**options):
            digests = _write_draft(draft, path, raster, parts)
            with failures(path), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="FALSE"):
                add_overviews(draft, overview_factors(raster.grid), raster.resampling)
                _copy_to_cog(draft, final, raster)
                _verify(final, draft, digests)


Digests = list[tuple[Window, tuple[int, ...], bytes]]


def _write_draft(draft: Path, path: Path, raster: BandedRaster, parts: Iterable[Part]) -> Digests:
    digests: Digests = []
    written = 0
    with _opened(draft, path, raster) as dataset:
        for part in parts:
            with failures(path):
                if part.bands:
                    dataset.write(part.pixels, list(part.bands), window=to_rasterio(part.window))
                else:
                    dataset.write_mask(part.pixels, window=to_rasterio(part.window))
            written += part.window.size * len(part.bands)
            digests.append((part.window, part.bands, digest_of(part.pixels)))
    left = raster.grid.window.size * raster.count - written
    if left:
        raise OutputError(f"the parts leave {left:,} values of {path.name!r} unwritten")
    return digests


@contextmanager
def _opened(draft: Path, path: Path, raster: BandedRaster) -> Iterator[DatasetWriter]:
    grid = raster.grid
    with failures(path):
        dataset = rasterio.open(
            draft, "w", driver="GTiff", width=grid.width, height=grid.height, count=raster.count, dtype=raster.dtype,
            nodata=raster.nodata, crs=CRS.from_wkt(grid.crs) if grid.crs else None, transform=grid.transform,
            tiled=True, blockxsize=raster.block_px, blockysize=raster.block_px, interleave="band",
            BIGTIFF="IF_SAFER",
        )  # fmt: skip
        _describe(dataset, raster)
    try:
        yield dataset
    finally:
        with failures(path):
            dataset.close()


def _describe(dataset: DatasetWriter, raster: BandedRaster) -> None:
    if raster.colormap:
        dataset.write_colormap(1, dict(raster.colormap))
    elif raster.colors:
        dataset.colorinterp = raster.colors
    for index, description in enumerate(raster.descriptions):
        if description:
            dataset.set_band_description(index + 1, description)


def _copy_to_cog(draft: Path, final: Path, raster: BandedRaster) -> None:
    rasterio.shutil.copy(
        draft,
        final,
        driver="COG",
        COMPRESS="DEFLATE",
        LEVEL=str(DEFLATE_LEVEL),
        PREDICTOR="NO" if raster.colormap else "YES",
        BLOCKSIZE=str(raster.block_px),
        OVERVIEWS="FORCE_USE_EXISTING",
        NUM_THREADS=THREADS,
        BIGTIFF="IF_SAFER",
    )


def _verify(final: Path, draft: Path, digests: Digests) -> None:
    with open_written(final) as dataset:
        count, levels = dataset.count, len(dataset.overviews(1))
        for window, bands, digest in digests:
            if digest_of(_read(dataset, bands, window)) != digest:
                raise OutputError(f"output {final.name!r}: block {window} does not read back as it was written")
    for level in range(levels):
        with open_written(final, overview_level=level) as got, open_written(draft, overview_level=level) as wanted:
            if not all(_agree(got, wanted, (band,)) for band in range(1, count + 1)):
                raise OutputError(f"output {final.name!r}: overview {level} does not read back as written")


def _agree(got: DatasetReader, wanted: DatasetReader, bands: tuple[int, ...]) -> bool:
    windows = Window(0, 0, wanted.height, wanted.width).split(CHUNK_PX, CHUNK_PX)
    return all(digest_of(_read(got, bands, window)) == digest_of(_read(wanted, bands, window)) for window in windows)


def _read(dataset: DatasetReader, bands: tuple[int, ...], window: Window) -> npt.NDArray[np.generic]:
    place = to_rasterio(window)
    pixels: npt.NDArray[np.generic] = (
        dataset.read(list(bands), window=place) if bands else dataset.read_masks(1, window=place) > 0
    )
    return pixels
