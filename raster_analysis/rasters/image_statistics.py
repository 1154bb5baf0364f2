"""Statistics of a raster's bands: those stored in it, else those of a sample that costs little however large it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader

from raster_analysis.errors import InputError
from raster_analysis.grid import Bounds, Window
from raster_analysis.handle import Handle
from raster_analysis.rasters.dataset import describe_raster, open_raster
from raster_analysis.rasters.reader import NativeBands
from raster_analysis.seams import RasterInfo, RasterView

SAMPLE_PX = 1_000_000
"""A raster of more pixels is sampled."""
_WITHOUT_OVERVIEW = 64
"""Reading an overview finer than this times the sample costs seconds: windows are read instead."""
_WINDOW_PX, _WINDOWS_A_SIDE = 128, 8
_STORED = ("MINIMUM", "MAXIMUM", "MEAN", "STDDEV")
BINS = 256


@dataclass(frozen=True, slots=True)
class BandStatistics:
    """One band's values: figures, and how often each of `BINS` classes from `low` to `high` occurs."""

    minimum: float
    maximum: float
    mean: float
    deviation: float
    median: float
    mode: float
    count: int
    low: float
    high: float
    counts: tuple[int, ...]

    def percentile(self, percent: float) -> float:
        """Return the value below which so many percent lie, to a bin's width."""
        total = np.cumsum(self.counts)
        place = int(np.searchsorted(total, total[-1] * percent / 100))
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (min(place, len(self.counts) - 1) + 0.5)


@dataclass(frozen=True, slots=True)
class RasterStatistics:
    """Of every band of a raster, the alpha band left out."""

    bands: tuple[BandStatistics | None, ...]
    """None for a band without any valid pixel."""
    sampled: bool
    """Whether they come from fewer pixels than the raster has."""


@lru_cache(maxsize=64)
def find_statistics(handle: Handle) -> RasterStatistics:
    """Return a raster's statistics; asked again for the same version of a file, they are remembered."""
    with open_raster(handle) as dataset:
        info = describe_raster(handle, dataset)
        found = [
            _with_stored(dataset, index, _compute(_sample_band(dataset, _band_view(handle, info, index), None)))
            for index in data_bands(info)
        ]
    return RasterStatistics(tuple(found), sampled=info.grid.window.size > SAMPLE_PX)


def compute_statistics(handle: Handle, bounds: Bounds) -> RasterStatistics:
    """Return the statistics of a part of a raster; `bounds` are in its own coordinate reference system.

    Raises:
        InputError: the bounds lie outside the raster.
    """
    with open_raster(handle) as dataset:
        info = describe_raster(handle, dataset)
        window = info.grid.window_of(bounds)
        if not window.size:
            raise InputError(f"geometry {bounds} lies outside raster {handle.title!r}")
        bands = [_compute(_sample_band(dataset, _band_view(handle, info, i), window)) for i in data_bands(info)]
    return RasterStatistics(tuple(bands), sampled=window.size > SAMPLE_PX)


def data_bands(info: RasterInfo) -> tuple[int, ...]:
    """Return the zero-based bands that hold data."""
    return tuple(index for index in range(info.band_count) if index != info.alpha_band)


def _band_view(handle: Handle, info: RasterInfo, index: int) -> RasterView:
    return RasterView(handle, (index,), info.grid, False, info.dtype)


def _sample_band(dataset: DatasetReader, view: RasterView, part: Window | None) -> npt.NDArray[np.generic]:
    """Return the valid values of a band that are read; of a part of it, when one is given."""
    bands = NativeBands(dataset, view, nearest=True)
    windows = _sample_windows(dataset, part or Window(0, 0, dataset.height, dataset.width))
    parts = [bands.read(window, shape) for window, shape in windows]
    return np.concatenate([pixels.data[0][pixels.mask] for pixels in parts])


def _sample_windows(dataset: DatasetReader, part: Window) -> list[tuple[Window, tuple[int, int]]]:
    """Return what to read: all of a part from the overview that fits, or windows spread evenly over it.

    Each window counts the pixels of the raster at the size that stands beside it.
    """
    shrinking = max(1.0, (part.size / SAMPLE_PX) ** 0.5)
    finest = max((factor for factor in dataset.overviews(1) if factor <= shrinking), default=1)
    if part.size / finest**2 <= _WITHOUT_OVERVIEW * SAMPLE_PX:
        shape = max(1, round(dataset.height / shrinking)), max(1, round(dataset.width / shrinking))
        down, across = shape[0] / dataset.height, shape[1] / dataset.width
        height, width = max(1, round(part.height * down)), max(1, round(part.width * across))
        return [(Window(int(part.row * down), int(part.col * across), height, width), shape)]
    steps = (np.arange(_WINDOWS_A_SIDE) + 0.5) / _WINDOWS_A_SIDE
    spread = [(int(r * (part.height - _WINDOW_PX)), int(c * (part.width - _WINDOW_PX))) for r in steps for c in steps]
    spots = [Window(part.row + max(0, row), part.col + max(0, col), _WINDOW_PX, _WINDOW_PX) for row, col in spread]
    return [(spot.intersect(part), dataset.shape) for spot in spots]


def _compute(values: npt.NDArray[np.generic]) -> BandStatistics | None:
    if not values.size:
        return None
    numbers = values.astype(np.float64)
    low, high = _histogram_range(values.dtype, float(numbers.min()), float(numbers.max()))
    counts, _ = np.histogram(numbers, bins=BINS, range=(low, high))
    fullest = int(counts.argmax())
    return BandStatistics(
        minimum=float(numbers.min()),
        maximum=float(numbers.max()),
        mean=float(numbers.mean()),
        deviation=float(numbers.std()),
        median=float(np.median(numbers)),
        mode=low + (high - low) * (fullest + 0.5) / BINS,
        count=len(numbers),
        low=low,
        high=high,
        counts=tuple(int(count) for count in counts),
    )


def _histogram_range(kind: np.dtype[Any], low: float, high: float) -> tuple[float, float]:
    """Return the edges of the histogram: one bin a value where there are few, as other image servers do."""
    if kind.kind in "iu" and low >= 0 and high < BINS:
        return -0.5, BINS - 0.5
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _with_stored(dataset: DatasetReader, index: int, computed: BandStatistics | None) -> BandStatistics | None:
    """Return statistics with the figures that the file itself tells: those are of all pixels."""
    tags = dataset.tags(index + 1)
    try:
        low, high, mean, deviation = (float(tags[f"STATISTICS_{name}"]) for name in _STORED)
    except (KeyError, ValueError):
        return computed
    if computed is None or not np.isfinite([low, high, mean, deviation]).all() or low > high:
        return computed
    return replace(computed, minimum=low, maximum=high, mean=mean, deviation=deviation)
