"""Fetching: the part of an image service that a job processes becomes a GeoTIFF in the job's folder.

Block by block, each checked and then renamed: after a crash only what is missing is fetched again.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window as RasterioWindow

from raster_analysis.errors import BudgetError, NoOverlap, RasterError
from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle, Stamp
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.dataset import open_raster, read_errors, usable_nodata
from raster_analysis.rasters.gdal_log import gdal_errors_raise
from raster_analysis.rasters.image_service import ImageService, read_service, refuse_error
from raster_analysis.rasters.pinned_http import PATIENCE, Patience, PinnedClient
from raster_analysis.rasters.reference import from_spatial_reference, project_bounds
from raster_analysis.rasters.service_hosts import ServiceHosts, ServiceUrl, read_service_url
from raster_analysis.rasters.signatures import HEAD_BYTES, name_content
from raster_analysis.rasters.staging import check_free_space, disk_errors
from raster_analysis.seams import Reporter, Wanted

PADDING_PX = 512
"""Fetched around an extent, in cells of the processing: more than the padding of tiles in use (guess)."""
_DESCRIPTION_BYTES = 4 * 1024**2
_SLACK_BYTES = 1024**2
"""What a TIFF holds besides its pixels."""


@dataclass(frozen=True, slots=True)
class ImageServices:
    """Image services of other servers (the `Images` seam)."""

    hosts: ServiceHosts
    limit: int
    """Most bytes of pixels that one raster may take."""
    patience: Patience = PATIENCE

    def fetch(self, handle: Handle, wanted: Wanted, folder: Path, report: Reporter) -> Handle:
        """Return the handle of a local copy of the part that is processed.

        Raises:
            RasterError: the server is not allowed, cannot be reached, or gives something else.
            NoOverlap: the extent lies outside.
            BudgetError: the part is too large.
        """
        path = folder / f"{wanted.name}.tif"
        if handle.remote is None or path.exists():
            return _local(path, handle) if handle.remote else handle
        fetch = _Fetch(self, handle, report)
        service = fetch.describe()
        window = _part_of(service, wanted, handle.title) if wanted.pixels else Window(0, 0, 1, 1)
        with disk_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
        if wanted.pixels:
            fetch.fill(path, service, window)
        else:
            _write_cell(path, service)
        return _local(path, handle)


class _Fetch:
    """One service on its way into one file."""

    def __init__(self, services: ImageServices, handle: Handle, report: Reporter) -> None:
        if handle.remote is None:
            raise RasterError(f"{handle.title!r} is no image service of another server")
        self._url: ServiceUrl = read_service_url(handle.remote.url)
        self._export = replace(self._url, path=f"{self._url.path}/exportImage")
        self._token = {"token": handle.remote.token} if handle.remote.token else {}
        self._limit = services.limit
        self._handle = handle
        self._report = report
        self._client = PinnedClient(services.hosts, services.patience, report.check_cancelled)

    def describe(self) -> ImageService:
        """Ask the service what it is."""
        return read_service(self._client.get(self._url, {"f": "json", **self._token}, _DESCRIPTION_BYTES), self._title)

    def fill(self, path: Path, service: ImageService, window: Window) -> None:
        """Fetch a window of the service's cells, and put it together."""
        self._check_budget(path, service, window)
        blocks = list(service.blocks(window))
        self._report.message(
            f"Fetching {window.height:,} x {window.width:,} pixels of {self._title!r} in {len(blocks)} requests"
        )
        folder = path.with_name(f"{path.stem}-blocks")
        with disk_errors(path):
            folder.mkdir(exist_ok=True)
        for done, block in enumerate(blocks):
            self._fetch_block(folder / _block_name(block), service, block)
            self._report.progress((done + 1) / len(blocks))
        _assemble(path, service, window, folder)
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def _title(self) -> str:
        return self._handle.title

    def _check_budget(self, path: Path, service: ImageService, window: Window) -> None:
        size = window.size * service.pixel_bytes
        if size > self._limit:
            raise BudgetError(
                f"image service {self._title!r} would give {window.height:,} x {window.width:,} pixels, "
                f"{size / 1e9:,.2f} GB, and {self._limit / 1e9:,.2f} GB are allowed; give a smaller extent"
            )
        # The blocks, and the file that they become.
        check_free_space(path, int(size * 2.2) + _SLACK_BYTES)

    def _fetch_block(self, path: Path, service: ImageService, block: Window) -> None:
        if path.exists():
            return
        unfinished = path.with_suffix(".part")
        query = {**service.request(block), **self._token}
        limit = int(block.size * service.pixel_bytes * 1.25) + _SLACK_BYTES
        with disk_errors(path):
            self._client.save(self._export, query, unfinished, limit=limit)
            self._check_block(unfinished, service, block)
            unfinished.replace(path)

    def _check_block(self, path: Path, service: ImageService, block: Window) -> None:
        """Raise RasterError when an answer is not the block that was asked for, to its last pixel."""
        found = name_content(path.read_bytes()[:HEAD_BYTES])
        if found.driver != "GTiff":
            _refuse_json(path, self._title)
            raise RasterError(f"image service {self._title!r} answers with {found.words} instead of a TIFF")
        with _opened(path, self._title) as dataset, read_errors(_as_handle(path, self._title)):
            got = (dataset.height, dataset.width, _bands_of(dataset, service))
            asked = (block.height, block.width, service.band_count)
            if got != asked or not _fits(dataset, service.grid.crop(block)):
                raise RasterError(
                    f"image service {self._title!r} answers with {got[0]} x {got[1]} pixels of {dataset.count} bands "
                    f"at {dataset.bounds[:2]}, where {asked[0]} x {asked[1]} of {asked[2]} were asked for"
                )
            dataset.read()


def _part_of(service: ImageService, wanted: Wanted, title: str) -> Window:
    """Return the cells of a service that a context asks for, and those around them that tiles may look at."""
    context, grid = wanted.processing, service.grid
    if context.extent is None:
        return grid.window
    extent = context.extent
    source = (
        from_spatial_reference(extent.spatial_reference, "extent's spatialReference")
        if extent.spatial_reference
        else str(grid.crs)
    )
    bounds = (extent.xmin, extent.ymin, extent.xmax, extent.ymax)
    window = grid.window_of(project_bounds(bounds, source, str(grid.crs), "extent"))
    if not window.size:
        raise NoOverlap(f"extent {bounds} lies outside image service {title!r}")
    return window.pad(math.ceil(PADDING_PX * _coarseness(context, grid))).intersect(grid.window)


def _coarseness(context: ProcessingContext, grid: Grid) -> float:
    """Return how many cells of a service lie along one of the processing, at most so many that padding stays small."""
    same = context.out_sr is None and context.process_sr is None
    if not same or not isinstance(context.cell_size, float):
        return 1.0
    return min(16.0, max(1.0, context.cell_size / min(grid.cell_size)))


def _assemble(path: Path, service: ImageService, window: Window, folder: Path) -> None:
    """Write the blocks into one GeoTIFF, whose mask says which pixels are valid."""
    unfinished = path.with_suffix(".part")
    # Not a band of alpha: a copy of the raster would have it, and of floating point GDAL takes none for a mask.
    inside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)
    blocks = list(service.blocks(window))
    with _opened(folder / _block_name(blocks[0]), path.name) as first:
        nodata = usable_nodata(first.nodata, service.dtype) if first.dtypes[0] == service.dtype else None
    with disk_errors(path), gdal_errors_raise(path.name), inside, _created(unfinished, service, window, nodata) as sink:
        for block in blocks:
            with _opened(folder / _block_name(block), path.name) as source:
                data, valid = _pixels(source, service)
            at = block.shift(-window.row, -window.col)
            place = RasterioWindow(at.col, at.row, at.width, at.height)
            sink.write(data, window=place)
            sink.write_mask(valid, window=place)
    unfinished.replace(path)


def _pixels(source: DatasetReader, service: ImageService) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    data: npt.NDArray[Any] = source.read(list(range(1, service.band_count + 1)), out_dtype=service.dtype)
    valid: npt.NDArray[np.bool_] = source.dataset_mask() > 0
    return data, valid


def _write_cell(path: Path, service: ImageService) -> None:
    """Write one empty cell: where cells lie is all that is wanted."""
    unfinished = path.with_suffix(".part")
    with disk_errors(path), _created(unfinished, service, Window(0, 0, 1, 1)):
        pass
    unfinished.replace(path)


@contextmanager
def _created(path: Path, service: ImageService, window: Window, nodata: float | None = None) -> Iterator[DatasetWriter]:
    grid, count = service.grid.crop(window), service.band_count
    with rasterio.open(
        path, "w", driver="GTiff", width=grid.width, height=grid.height, count=count, dtype=service.dtype,
        crs=CRS.from_wkt(grid.crs), transform=grid.transform, tiled=True, blockxsize=256, blockysize=256,
        interleave="pixel" if count <= 4 else "band", BIGTIFF="IF_SAFER", nodata=nodata,
    ) as sink:  # fmt: skip
        rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        sink.colorinterp = rgb if count == 3 else [ColorInterp.undefined] * count
        for index, name in enumerate(service.band_names):
            sink.set_band_description(index + 1, name[:100])
        for index, (low, high) in enumerate(service.ranges):
            sink.update_tags(index + 1, STATISTICS_MINIMUM=repr(low), STATISTICS_MAXIMUM=repr(high))
        yield sink


@contextmanager
def _opened(path: Path, title: str) -> Iterator[DatasetReader]:
    with open_raster(_as_handle(path, title)) as dataset:
        yield dataset


def _as_handle(path: Path, title: str) -> Handle:
    return Handle("raster", str(path), title, driver="GTiff")


def _local(path: Path, handle: Handle) -> Handle:
    return Handle("raster", str(path), handle.title, driver="GTiff", stamp=Stamp.of(path))


def _bands_of(dataset: DatasetReader, service: ImageService) -> int:
    """Return how many bands of data there are: servers may add one that says what is valid."""
    extra = dataset.count == service.band_count + 1 and dataset.colorinterp[-1] is ColorInterp.alpha
    return int(dataset.count) - bool(extra)


def _fits(dataset: DatasetReader, grid: Grid) -> bool:
    """Tell whether a TIFF lies where it was asked for, to a tenth of a cell; one that does not say may be taken."""
    if dataset.transform.is_identity:
        return True
    row, col = grid.offset_of(Grid(None, dataset.transform, dataset.height, dataset.width))
    cell, _ = grid.cell_size
    stretch = abs(float(dataset.transform.a) - cell) / cell * int(dataset.width)
    return max(abs(row), abs(col), stretch) < 0.1


def _refuse_json(path: Path, title: str) -> None:
    try:
        document = json.loads(path.read_bytes()[:_DESCRIPTION_BYTES])
    except (ValueError, RecursionError):
        return
    refuse_error(document, title)


def _block_name(block: Window) -> str:
    return f"{block.row}-{block.col}-{block.height}-{block.width}.tif"
