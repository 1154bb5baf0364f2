"""An image: any rectangle of a raster, at any size and in any reference, read from the overview that fits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader

from raster_analysis.errors import BudgetError, InputError, RasterError
from raster_analysis.grid import Bounds, Grid
from raster_analysis.inputs import SpatialReference
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.dataset import grid_of
from raster_analysis.rasters.reader import NativeBands
from raster_analysis.rasters.reference import from_spatial_reference, project_bounds
from raster_analysis.rasters.resampling import Places, Resampler, apply_affine, project_points
from raster_analysis.rasters.warp import reduce_grid
from raster_analysis.seams import RasterView

LARGEST_WIDTH, LARGEST_HEIGHT = 15_000, 4_100
"""Of one image, as other image servers have it."""
LARGEST_BYTES = 192 * 1024**2
"""Of one image's values; an answer is at most 256 MiB, and a reader has other things in memory."""
Interpolation = Literal["nearest", "bilinear", "cubic"]
_METHODS: dict[str, Resampling] = {"bilinear": Resampling.bilinear, "cubic": Resampling.cubic}
_STRIP_PX = 2**20
_MESH_STEPS = 9
_MOST_READ = 16
"""Pixels read for one of the image, at most, where the scale is not known."""
_MERCATOR_LATITUDE = 85.051
_NEIGHBOURS = ((0, 0), (1, 0), (0, 1))


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle that an image shows, and its size."""

    bounds_xyxy: Bounds
    height: int
    width: int
    reference: SpatialReference | None = None
    """Of the image; None: the raster's."""
    bounds_reference: SpatialReference | None = None
    """Of the bounds; None: the image's."""

    def __post_init__(self) -> None:
        if not (0 < self.width <= LARGEST_WIDTH and 0 < self.height <= LARGEST_HEIGHT):
            raise InputError(
                f"an image of {self.width:,} x {self.height:,} pixels; "
                f"width is 1 to {LARGEST_WIDTH:,}, height 1 to {LARGEST_HEIGHT:,}"
            )
        xmin, ymin, xmax, ymax = self.bounds_xyxy
        if not all(map(math.isfinite, self.bounds_xyxy)) or xmin >= xmax or ymin >= ymax:
            raise InputError(f"bbox {self.bounds_xyxy} is no rectangle; want xmin,ymin,xmax,ymax, each finite")


def place_frame(frame: Frame, native: Grid, title: str) -> Grid:
    """Return the north-up grid of an image's pixels; raises RasterError where the bounds have no counterpart."""
    if native.crs is None:
        raise RasterError(f"raster {title!r} has no coordinate reference system, so no image of it has a place")
    target = from_spatial_reference(frame.reference, "imageSR") if frame.reference else native.crs
    given = frame.bounds_reference
    source = from_spatial_reference(given, "bboxSR") if given else target
    xmin, ymin, xmax, ymax = project_bounds(_within_mercator(frame.bounds_xyxy, source, target), source, target, "bbox")
    transform = Affine((xmax - xmin) / frame.width, 0, xmin, 0, (ymin - ymax) / frame.height, ymax)
    try:
        return Grid(target, transform, frame.height, frame.width)
    except ValueError:
        raise InputError(f"bbox {frame.bounds_xyxy} is too small to be divided into pixels") from None


def read_image(dataset: DatasetReader, view: RasterView, interpolation: Interpolation) -> Pixels:
    """Return the pixels of the view's grid: stored values of the nearest ones, or interpolated between means.

    Reads no more than the image needs, from the overview that is just fine enough.

    Raises:
        BudgetError: the image would be too large.
        RasterError: the file is damaged.
    """
    target = view.grid
    _check_bytes(view)
    native = grid_of(dataset)
    resampler = Resampler(view.handle, str(native.crs), str(target.crs))
    touched = resampler.window(target, native).size
    shrinking = max(_shrinking(native, target), math.sqrt(touched / (_MOST_READ * target.window.size)))
    nearest = interpolation == "nearest"
    reduced = _reduce(dataset, native, shrinking, nearest)
    bands = NativeBands(dataset, view, raw=True, nearest=nearest)
    data = np.zeros((len(view.bands), target.height, target.width), view.dtype)
    mask = np.zeros((target.height, target.width), np.bool_)
    for strip in target.window.split(max(1, _STRIP_PX // target.width), target.width):
        part = target.crop(strip)
        window = resampler.window(part, reduced)
        if window.size:
            source, grid = bands.read(window, (reduced.height, reduced.width)), reduced.crop(window)
            data[:, *strip.slices], mask[strip.slices] = (
                resampler.nearest(source, grid, part)
                if nearest
                else resampler.interpolate(source, grid, part, _METHODS[interpolation])
            )
    return Pixels(data, mask, target.window)


def _check_bytes(view: RasterView) -> None:
    size = view.grid.window.size * len(view.bands) * np.dtype(view.dtype).itemsize
    if size > LARGEST_BYTES:
        raise BudgetError(
            f"an image of {view.grid.width:,} x {view.grid.height:,} pixels in {len(view.bands)} bands of {view.dtype} "
            f"has {size:,} bytes (at most {LARGEST_BYTES:,}); ask for a smaller size or fewer bands"
        )


def _reduce(dataset: DatasetReader, native: Grid, shrinking: float, nearest: bool) -> Grid:
    """Return the grid to read: an overview's own for nearest pixels, else one whose pixels are means."""
    factors = [factor for factor in dataset.overviews(1) if factor <= shrinking * 1.01]
    if not nearest or not factors:
        return reduce_grid(native, shrinking)
    height, width = -(-native.height // max(factors)), -(-native.width // max(factors))
    scale = Affine.scale(native.width / width, native.height / height)
    return Grid(native.crs, native.transform @ scale, height, width)


def _shrinking(native: Grid, target: Grid) -> float:
    """Return how many native pixels lie along one pixel of `target`, the fewest wherever the raster is."""
    steps = (np.arange(_MESH_STEPS) + 0.5) / _MESH_STEPS
    cols, rows = (axis.ravel() for axis in np.meshgrid(steps * target.width, steps * target.height))
    (x0, y0), (x1, y1), (x2, y2) = (_native_places(native, target, cols + c, rows + r) for c, r in _NEIGHBOURS)
    with np.errstate(invalid="ignore"):
        lengths = np.minimum(np.hypot(x1 - x0, y1 - y0), np.hypot(x2 - x0, y2 - y0))
    inside = np.isfinite(lengths) & (x0 >= 0) & (y0 >= 0) & (x0 < native.width) & (y0 < native.height)
    return float(lengths[inside].min()) if inside.any() else 1.0


def _native_places(native: Grid, target: Grid, cols: Places, rows: Places) -> tuple[Places, Places]:
    """Return columns and rows of the raster at columns and rows of `target`; infinite where there are none."""
    xs, ys = project_points(str(target.crs), str(native.crs), *apply_affine(target.transform, cols, rows))
    with np.errstate(invalid="ignore"):
        return apply_affine(~native.transform, xs, ys)


def _within_mercator(bounds: Bounds, source: str, target: str) -> Bounds:
    """Return degrees cut to what Web Mercator shows, when that is where they go: maps of the whole world end there."""
    here, there = CRS.from_wkt(source), CRS.from_wkt(target)
    if not here.is_geographic or ("Pseudo-Mercator" not in target and "Web_Mercator" not in target) or here == there:
        return bounds
    xmin, ymin, xmax, ymax = bounds
    south, north = max(ymin, -_MERCATOR_LATITUDE), min(ymax, _MERCATOR_LATITUDE)
    return (max(xmin, -180.0), south, min(xmax, 180.0), north) if south < north else bounds
