"""Rendering: values to colours, by classes, by a colour ramp or stretched to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader

from raster_analysis.errors import InputError
from raster_analysis.rasters.attribute_table import read_classes
from raster_analysis.rasters.image_statistics import BandStatistics
from raster_analysis.seams import LegendEntry

PALETTE_SIZE = 256
_DEFAULT_CLIP = (2.0, 98.0)

Color = tuple[int, int, int, int]
"""Red, green, blue, alpha."""
Rgba = npt.NDArray[np.uint8]
"""`(4, rows, cols)`."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """How values become 0 to 255: between the limits that `kind` finds in a band's statistics."""

    kind: Literal["none", "minimum", "deviation", "percent"] = "percent"
    percents: tuple[float, float] = _DEFAULT_CLIP
    """Percentiles that become 0 and 255."""
    deviations: float = 2.0
    limits: tuple[tuple[float, float], ...] = ()
    """Given lowest and highest value of each band instead of those found."""

    def range_of(self, band: int, statistics: BandStatistics | None) -> tuple[float, float]:
        """Return the values of a band that become 0 and 255."""
        if self.limits:
            return self.limits[min(band, len(self.limits) - 1)]
        if self.kind == "none" or statistics is None:
            return 0.0, 255.0
        if self.kind == "minimum":
            return statistics.minimum, statistics.maximum
        if self.kind == "deviation":
            reach = self.deviations * statistics.deviation
            return max(statistics.minimum, statistics.mean - reach), min(statistics.maximum, statistics.mean + reach)
        low, high = self.percents
        return statistics.percentile(low), statistics.percentile(high)


@dataclass(frozen=True, slots=True)
class Style:
    """How an image is drawn: `default` is by classes where a raster has them, else stretched."""

    kind: Literal["default", "none", "colors", "stretch"] = "default"
    colors: tuple[tuple[int, int, int, int], ...] = ()
    """For `colors`: value, red, green, blue."""
    stretch: Stretch = field(default_factory=Stretch)


@dataclass(frozen=True, slots=True)
class Palette:
    """What a value means, and its colour."""

    names: dict[int, str]
    """Of classes that the raster names."""
    colors: dict[int, Color]

    @property
    def is_small(self) -> bool:
        """Tell whether an 8-bit picture with a colour table can show it."""
        return all(0 <= value < PALETTE_SIZE for value in self.colors)


def read_palette(dataset: DatasetReader) -> Palette | None:
    """Return the classes of a raster of one band: those named in it, else those of its colormap."""
    if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in "iu":
        return None
    named = read_classes(dataset.tags(1))
    if named:
        return _palette_of(named)
    try:
        colormap: dict[int, Color] = dataset.colormap(1)
    except ValueError:
        return None
    nodata = dataset.nodata
    # A TIFF's colour table has all 256 entries; those after the last colour mean nothing.
    last = max((value for value, color in colormap.items() if any(color[:3]) and value != nodata), default=0)
    return Palette({}, {value: color for value, color in colormap.items() if value <= last and value != nodata})


def palette_of_colors(colors: tuple[tuple[int, int, int, int], ...]) -> Palette:
    """Return the palette of value, red, green, blue; raises InputError for a part that is no byte."""
    if not colors or any(not 0 <= part <= 255 for _, *rgb in colors for part in rgb):
        raise InputError("a colormap is a list of [value, red, green, blue], each colour 0 to 255")
    return Palette({}, {value: (r, g, b, 255) for value, r, g, b in colors})


def colorize(values: npt.NDArray[np.generic], mask: npt.NDArray[np.bool_], palette: Palette) -> Rgba:
    """Return the colour of each value `(rows, cols)`; transparent where it is not valid or has no colour."""
    if palette.is_small and values.dtype == np.uint8:
        return np.where(mask, _table(palette)[:, values], np.uint8(0))
    known = np.array(sorted(palette.colors), np.int64)
    colors = np.array([palette.colors[int(value)] for value in known] or [(0, 0, 0, 0)], np.uint8)
    known = known if known.size else np.array([0])
    wide = values.astype(np.int64)
    places = np.searchsorted(known, wide).clip(0, len(known) - 1)
    shown = mask & (known[places] == wide)
    return np.moveaxis(np.where(shown[..., np.newaxis], colors[places], np.uint8(0)), -1, 0)


def _table(palette: Palette) -> npt.NDArray[np.uint8]:
    table = np.zeros((4, PALETTE_SIZE), np.uint8)
    for value, color in palette.colors.items():
        table[:, value] = color
    return table


def stretch_bands(
    data: npt.NDArray[np.generic], mask: npt.NDArray[np.bool_], ranges: list[tuple[float, float]]
) -> Rgba:
    """Return one band as grey or the first three as red, green and blue; transparent where not valid."""
    chosen = [0, 1, 2] if len(data) >= 3 else [0, 0, 0]
    out = np.zeros((4, *mask.shape), np.uint8)
    for place, band in enumerate(chosen):
        out[place] = out[chosen.index(band)] if band in chosen[:place] else _stretch(data[band], *ranges[band])
    out[3] = mask * np.uint8(255)
    out[:3, ~mask] = 0
    return out


def _stretch(band: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.uint8]:
    if band.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return band.astype(np.uint8)
    scaled = (band.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    stretched: npt.NDArray[np.uint8] = np.rint(np.nan_to_num(scaled).clip(0, 255)).astype(np.uint8)
    return stretched


def _palette_of(entries: tuple[LegendEntry, ...]) -> Palette:
    names = {entry.value: entry.name for entry in entries}
    return Palette(names, {entry.value: (*entry.color, 255) for entry in entries})
