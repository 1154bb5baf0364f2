"""Writing classified rasters: a Cloud Optimized GeoTIFF that is read back before it gets its name.

GDAL can lose pixels on a full disk and report success (reproduced). So a result is written under a
temporary name, GDAL's log counts as errors, every block is read back and compared, and only then, with
everything flushed to disk, does the file appear under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetWriter
from rasterio.windows import Window as RasterioWindow

from raster_analysis.errors import OutputError
from raster_analysis.grid import Grid, Window
from raster_analysis.rasters.attribute_table import attribute_table_path, build_attribute_table, tag_classes
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
from raster_analysis.rasters.coverage import Coverage
from raster_analysis.rasters.gdal_log import gdal_errors_raise
from raster_analysis.rasters.majority import halve
from raster_analysis.rasters.staging import check_free_space, staged
from raster_analysis.seams import LegendEntry

DTYPES = ("uint8", "uint16", "int32", "float32")
Blocks = Iterable[tuple[Window, npt.NDArray[np.generic]]]
Digests = list[tuple[Window, bytes]]


@dataclass(frozen=True, slots=True)
class ClassifiedRaster:
    """What a classified raster is, apart from its pixels."""

    grid: Grid
    dtype: str
    nodata: int | None
    legend: Sequence[LegendEntry]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise OutputError(f"pixel type {self.dtype} cannot be written; want one of {', '.join(DTYPES)}")
        values = [entry.value for entry in self.legend] + ([] if self.nodata is None else [self.nodata])
        wrong = [value for value in values if not _fits(value, self.dtype)]
        if wrong:
            raise OutputError(f"values {', '.join(map(str, wrong))} do not fit pixel type {self.dtype}")

    @property
    def size_bytes(self) -> int:
        """Return the size of the pixels, uncompressed."""
        return self.grid.window.size * np.dtype(self.dtype).itemsize

    @property
    def has_colormap(self) -> bool:
        """Tell whether the legend can be kept as the TIFF's own colours."""
        return bool(self.legend) and self.dtype in ("uint8", "uint16")


def write_classified(path: Path, raster: ClassifiedRaster, blocks: Blocks) -> None:
    """Write a verified COG with overviews, colormap and attribute table.

    Blocks cover the grid once, in any order. Memory does not depend on the raster's size; the disk
    must hold it uncompressed while it is written. The same input gives the same bytes.

    Raises:
        OutputExists: the output is there already.
        BudgetError: the disk is too small.
        OutputError: blocks do not cover the grid, or the file does not read back as it was written.
    """
    with staged(path) as final:
        # A draft and its overviews uncompressed, the result at half of that, and 10 % (negative-tests).
        check_free_space(path, int(raster.size_bytes * (4 / 3 + 4 / 3 / 2) * 1.1))
        draft = final.parent / "work" / "draft.tif"
        draft.parent.mkdir()
        with gdal_errors_raise(path.name), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
            digests = _write_draft(draft, path, raster, blocks)
            # The draft's overviews lie beside it; inputs must never be opened like that.
            with failures(path), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="FALSE"):
                _build_overviews(draft, raster)
                _copy_to_cog(draft, final, raster)
                _verify(final, draft, digests)
        if raster.legend:
            attribute_table_path(final).write_bytes(build_attribute_table(raster.legend))


def _write_draft(draft: Path, path: Path, raster: ClassifiedRaster, blocks: Blocks) -> Digests:
    """Write the blocks as they come, uncompressed; return the digest of each."""
    coverage = Coverage(raster.grid)
    digests: Digests = []
    with _opened(draft, path, raster) as dataset:
        for window, block in blocks:
            coverage.add(window)
            pixels = _as_type(window, block, raster.dtype)
            # Only GDAL's own errors: what the maker of the blocks raises passes through unchanged.
            with failures(path):
                dataset.write(pixels, 1, window=to_rasterio(window))
            digests.append((window, digest_of(pixels)))
        coverage.check_complete()
    return digests


@contextmanager
def _opened(draft: Path, path: Path, raster: ClassifiedRaster) -> Iterator[DatasetWriter]:
    with failures(path):
        dataset = rasterio.open(draft, "w", **_draft_profile(raster))
    try:
        yield dataset
    finally:
        with failures(path):
            dataset.close()


def _draft_profile(raster: ClassifiedRaster) -> dict[str, object]:
    grid = raster.grid
    return {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": raster.dtype,
        "nodata": raster.nodata,
        "crs": CRS.from_wkt(grid.crs) if grid.crs else None,
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        # Beyond 4 GB a classic TIFF fails near its end, after all the work.
        "BIGTIFF": "IF_SAFER",
    }


def _build_overviews(draft: Path, raster: ClassifiedRaster) -> None:
    with rasterio.open(draft, "r+", driver="GTiff") as dataset:
        if raster.has_colormap:
            dataset.write_colormap(1, _colormap(raster))
        dataset.update_tags(1, **tag_classes(raster.legend))
    factors = overview_factors(raster.grid)
    if not factors:
        return
    if np.dtype(raster.dtype).kind == "f":
        add_overviews(draft, factors, Resampling.average)
        return
    half = _write_half(draft, raster)
    add_overviews(half, factors[:-1], Resampling.mode)


def _write_half(draft: Path, raster: ClassifiedRaster) -> Path:
    """Write the first overview, as the first image of the .ovr file that GDAL looks for; return its path."""
    half = draft.with_name(f"{draft.name}.ovr")
    height, width = -(-raster.grid.height // 2), -(-raster.grid.width // 2)
    profile = {**_draft_profile(raster), "height": height, "width": width}
    with rasterio.open(draft, driver="GTiff") as source, rasterio.open(half, "w", **profile) as target:
        for window in raster.grid.window.split(CHUNK_PX, CHUNK_PX):
            pixels = halve(source.read(1, window=to_rasterio(window)), raster.nodata)
            row, col = window.row // 2, window.col // 2
            target.write(pixels, 1, window=RasterioWindow(col, row, pixels.shape[1], pixels.shape[0]))
    return half


def _copy_to_cog(draft: Path, final: Path, raster: ClassifiedRaster) -> None:
    rasterio.shutil.copy(
        draft,
        final,
        driver="COG",
        COMPRESS="DEFLATE",
        LEVEL=str(DEFLATE_LEVEL),
        PREDICTOR="YES" if raster.dtype == "float32" else "NO",
        BLOCKSIZE=str(BLOCK_PX),
        OVERVIEWS="FORCE_USE_EXISTING",
        NUM_THREADS=THREADS,
        BIGTIFF="IF_SAFER",
    )


def _verify(final: Path, draft: Path, digests: Digests) -> None:
    """Read everything back: the pixels against the digests of what came in, overviews against the draft."""
    with open_written(final) as dataset:
        factors = dataset.overviews(1)
        for window, digest in digests:
            if digest_of(dataset.read(1, window=to_rasterio(window))) != digest:
                raise OutputError(f"output {final.name!r}: block {window} does not read back as it was written")
    for level in range(len(factors)):
        with open_written(final, overview_level=level) as written, open_written(draft, overview_level=level) as wanted:
            whole = Window(0, 0, wanted.height, wanted.width)
            for window in map(to_rasterio, whole.split(CHUNK_PX, CHUNK_PX)):
                if digest_of(written.read(1, window=window)) != digest_of(wanted.read(1, window=window)):
                    raise OutputError(f"output {final.name!r}: overview {level} does not read back as it was written")


def _as_type(window: Window, block: npt.NDArray[np.generic], dtype: str) -> npt.NDArray[np.generic]:
    if block.shape != (window.height, window.width):
        raise OutputError(f"a block of {block.shape} pixels does not fit {window}")
    if not np.can_cast(block.dtype, dtype):
        raise OutputError(f"a block of {block.dtype} does not fit an output of {dtype}")
    return np.ascontiguousarray(block, dtype)


def _colormap(raster: ClassifiedRaster) -> dict[int, tuple[int, int, int, int]]:
    # Viewers that do not look for nodata still see an alpha of 0.
    colors = {entry.value: (*entry.color, 255) for entry in raster.legend}
    return colors if raster.nodata is None else {**colors, raster.nodata: (0, 0, 0, 0)}


def _fits(value: int, dtype: str) -> bool:
    kind = np.dtype(dtype)
    return kind.kind == "f" or np.iinfo(kind).min <= value <= np.iinfo(kind).max
