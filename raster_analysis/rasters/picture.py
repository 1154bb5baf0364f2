"""Pictures of results, to look at: a raster's overview as PNG with outlines drawn on it, or a classified raster."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio.raw
import rasterio
import rasterio.features
import shapely
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from raster_analysis.handle import Handle

LARGEST_PX = 1600
"""Longer side of a picture."""
OTHER_COLOR = (255, 0, 90)

Picture = npt.NDArray[np.uint8]
"""`(3, rows, cols)`: red, green, blue."""


Color = tuple[int, int, int]


def draw_features(handle: Handle, features: Path, colors: Mapping[str, Color], path: Path) -> None:
    """Write a PNG of a raster's first three bands with the outline of each feature in the colour of its `Class`.

    The features are in the raster's CRS.
    """
    _, _, geometries, (names,) = pyogrio.raw.read(features, columns=["Class"])
    outlines = shapely.boundary(shapely.from_wkb(geometries))
    with rasterio.open(handle.path, driver=handle.driver) as source:
        shape = _fit(source.height, source.width)
        bands = [1, 2, 3] if source.count >= 3 else [1, 1, 1]
        picture = _stretch(source.read(bands, out_shape=(3, *shape), resampling=Resampling.average))
        scale = rasterio.Affine.scale(source.width / shape[1], source.height / shape[0])
        transform = source.transform @ scale
    width = max(abs(transform.a), abs(transform.e))
    for name in sorted(set(names)):
        lines = shapely.buffer(outlines[names == name], width * 0.6)
        burnt = rasterio.features.rasterize(lines, out_shape=shape, transform=transform).astype(bool)
        picture[:, burnt] = np.array(colors.get(name, OTHER_COLOR), np.uint8)[:, np.newaxis]
    _write_png(picture, path)


def draw_classified(handle: Handle, path: Path) -> None:
    """Write a PNG of a classified raster in the colours of its colormap."""
    with rasterio.open(handle.path, driver=handle.driver) as source:
        labels = source.read(1, out_shape=_fit(source.height, source.width))
        colormap = source.colormap(1)
    colors = np.array([colormap.get(value, (0, 0, 0, 0))[:3] for value in range(256)], np.uint8)
    _write_png(np.moveaxis(colors[labels], -1, 0), path)


def _fit(height: int, width: int) -> tuple[int, int]:
    factor = min(1.0, LARGEST_PX / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def _stretch(pixels: npt.NDArray[np.generic]) -> Picture:
    """Return 8-bit pixels; wider types are stretched between their 2nd and 98th percentile."""
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint8)
    low, high = np.percentile(pixels.astype(np.float64), (2, 98))
    stretched = (pixels.astype(np.float64) - low) / max(high - low, 1e-9)
    picture: Picture = (stretched.clip(0, 1) * 255).astype(np.uint8)
    return picture


def _write_png(picture: Picture, path: Path) -> None:
    profile = {"driver": "PNG", "width": picture.shape[2], "height": picture.shape[1], "count": 3, "dtype": "uint8"}
    with warnings.catch_warnings():
        # A picture to look at lies nowhere on the map.
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as sink:
            sink.write(picture)
