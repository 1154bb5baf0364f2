"""Crops: the piece of a raster around each feature, cut and blackened as a model's definition says (dlpk 3.10)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from raster_analysis.grid import Window
from raster_analysis.inference.batches import STRIP_PX
from raster_analysis.model_info import ModelInfo
from raster_analysis.pixels import Pixels
from raster_analysis.seams import RasterReader

Data = npt.NDArray[np.generic]
Bounds = npt.NDArray[np.float64]

_SPARSE = 4
"""Crops are read together while what lies between them is at most so many times what they need (guess)."""


@dataclass(frozen=True, slots=True)
class CropRules:
    """How a model wants its crops."""

    height: int
    width: int
    fixed: bool
    """Whether every crop has that size around its feature's middle; else it is the feature's own rectangle."""
    blacken: bool
    """Whether pixels outside of a polygon are set to 0."""

    @classmethod
    def of(cls, info: ModelInfo) -> CropRules:
        """Return the rules of a model."""
        return cls(info.tile_height, info.tile_width, info.crop_size_fixed, info.blacken_around_feature)


@dataclass(frozen=True, slots=True)
class Crop:
    """One feature as it is read, in pixels of the grid."""

    bounds_xyxy: tuple[float, float, float, float]
    shape: shapely.Geometry | None = None
    """Its polygon, when pixels around it are blackened."""


@dataclass(frozen=True, slots=True)
class CropBatch:
    """Crops for one call of a model."""

    places: tuple[int, ...]
    """Which of the crops asked for they are; those without a valid pixel are left out."""
    data: Data
    """`(n, bands, rows, cols)`."""
    passed: int
    """Crops that are done with after this batch, those left out too."""


def crop_window(bounds_xyxy: tuple[float, float, float, float], rules: CropRules) -> Window:
    """Return what is read for a feature.

    The definition's size around the middle of its envelope; or the whole cells of the envelope, where they
    are more than the definition's size only its middle. A point has no rectangle of its own.
    """
    xmin, ymin, xmax, ymax = bounds_xyxy
    window = _centred((ymin + ymax) / 2, (xmin + xmax) / 2, rules.height, rules.width)
    if rules.fixed or not (xmax > xmin or ymax > ymin):
        return window
    own = own_window(bounds_xyxy)
    rows = (own.row, own.height) if own.height <= rules.height else (window.row, window.height)
    cols = (own.col, own.width) if own.width <= rules.width else (window.col, window.width)
    return Window(rows[0], cols[0], rows[1], cols[1])


def own_window(bounds_xyxy: tuple[float, float, float, float]) -> Window:
    """Return the whole cells that a feature's envelope touches, at least one."""
    xmin, ymin, xmax, ymax = bounds_xyxy
    row, col = math.floor(ymin), math.floor(xmin)
    return Window(row, col, max(1, math.ceil(ymax) - row), max(1, math.ceil(xmax) - col))


def read_crops(reader: RasterReader, crops: list[Crop], rules: CropRules, batch_size: int) -> Iterator[CropBatch]:
    """Yield the crops in their order, a batch at a time; those that touch no valid pixel are left out.

    Beyond the raster, and where there is no data, pixels are 0.
    """
    cut: list[tuple[int, Data]] = []
    for places, pixels in _read_together(reader, crops, rules):
        for place in places:
            data = _cut(crops[place], pixels, rules)
            if data is not None:
                cut.append((place, data))
            if len(cut) == batch_size:
                yield _stack(cut, place + 1)
                cut = []
    if cut:
        yield _stack(cut, len(crops))


def _read_together(reader: RasterReader, crops: list[Crop], rules: CropRules) -> Iterator[tuple[list[int], Pixels]]:
    """Yield runs of neighbouring crops with the pixels that cover them, so that a pixel is decoded once."""
    places: list[int] = []
    cover, needed = Window(0, 0, 0, 0), 0
    for place, crop in enumerate(crops):
        window = crop_window(crop.bounds_xyxy, rules)
        wider = _union(cover, window) if places else window
        needed += window.size
        if places and (wider.size > STRIP_PX or wider.size > _SPARSE * needed):
            yield places, reader.read(cover)
            places, wider, needed = [], window, window.size
        places.append(place)
        cover = wider
    if places:
        yield places, reader.read(cover)


def _cut(crop: Crop, pixels: Pixels, rules: CropRules) -> Data | None:
    window = crop_window(crop.bounds_xyxy, rules)
    at = window.shift(-pixels.window.row, -pixels.window.col).slices
    own = own_window(crop.bounds_xyxy).intersect(window).shift(-pixels.window.row, -pixels.window.col).slices
    if not pixels.mask[own].any():
        return None
    data = pixels.data[:, *at]
    if rules.blacken and crop.shape is not None:
        data = np.where(_inside(crop.shape, window), data, data.dtype.type(0))
    return resize(data, rules.height, rules.width)


def _inside(shape: shapely.Geometry, window: Window) -> npt.NDArray[np.bool_]:
    """Return which pixels of a window have their middle inside a polygon; if none has, those that it touches."""
    rows = np.arange(window.row, window.row + window.height) + 0.5
    cols = np.arange(window.col, window.col + window.width) + 0.5
    shapely.prepare(shape)
    xs, ys = np.meshgrid(cols, rows)
    inside = np.asarray(shapely.contains_xy(shape, xs, ys), np.bool_)
    if inside.any():
        return inside
    # A feature between the middles of pixels would be judged by nothing but black.
    return np.asarray(shapely.intersects(shape, shapely.box(xs - 0.5, ys - 0.5, xs + 0.5, ys + 0.5)), np.bool_)


def resize(data: Data, height: int, width: int) -> Data:
    """Return `(bands, rows, cols)` enlarged to another size, bilinear between the middles of pixels."""
    if data.shape[1:] == (height, width):
        return data
    rows, cols = _steps(data.shape[1], height), _steps(data.shape[2], width)
    mixed = _mix(_mix(data.astype(np.float64), 1, rows), 2, cols)
    return (np.rint(mixed) if data.dtype.kind in "iu" else mixed).astype(data.dtype)


def _steps(given: int, wanted: int) -> npt.NDArray[np.float64]:
    return ((np.arange(wanted) + 0.5) * given / wanted - 0.5).clip(0, given - 1)


def _mix(values: npt.NDArray[np.float64], axis: int, steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low = np.floor(steps).astype(int)
    high = np.minimum(low + 1, values.shape[axis] - 1)
    share = (steps - low).reshape([-1 if n == axis else 1 for n in range(values.ndim)])
    mixed: npt.NDArray[np.float64] = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return mixed


def _centred(row: float, col: float, height: int, width: int) -> Window:
    return Window(math.floor(row - height / 2 + 0.5), math.floor(col - width / 2 + 0.5), height, width)


def _union(one: Window, other: Window) -> Window:
    row, col = min(one.row, other.row), min(one.col, other.col)
    bottom = max(one.row + one.height, other.row + other.height)
    right = max(one.col + one.width, other.col + other.width)
    return Window(row, col, bottom - row, right - col)


def _stack(cut: list[tuple[int, Data]], passed: int) -> CropBatch:
    return CropBatch(tuple(place for place, _ in cut), np.stack([data for _, data in cut]), passed)
