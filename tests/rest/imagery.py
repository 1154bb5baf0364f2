"""Rasters behind image services, put there without running a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from raster_analysis.grid import Grid, Window
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import User
from raster_analysis.rasters.reference import from_name
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import LegendEntry

CLASSES = (
    LegendEntry(1, "Water", (20, 80, 200)),
    LegendEntry(2, "Tree", (10, 120, 40)),
    LegendEntry(7, "Road", (90, 90, 90)),
)
PLACE = Affine(2.0, 0, 500_000, 0, -2.0, 4_000_000)
UTM = "EPSG:32616"
HEIGHT, WIDTH = 700, 900


def land_cover(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Patches of the classes 1, 2 and 7 with nodata 0 between them and along the left edge."""
    rows, cols = np.mgrid[:height, :width]
    cover = np.array([1, 2, 7, 0], np.uint8)[(rows // 90 + cols // 70) % 4]
    cover[:, :25] = 0
    return cover


def write_cover(path: Path, cover: np.ndarray | None = None) -> Path:
    """Write a result as a job does, with overviews, colours and classes."""
    pixels = land_cover() if cover is None else cover
    grid = Grid(from_name(UTM), PLACE, *pixels.shape)
    blocks = [(Window(0, 0, *pixels.shape), pixels)]
    GdalRasters().write_classified(path, grid, blocks, legend=CLASSES, nodata=0, dtype="uint8")
    return path


def write_photo(path: Path, dtype: str = "uint16") -> Path:
    """Write three bands of smooth values, the lower right corner nodata."""
    rows, cols = np.mgrid[:300, :400]
    bands = np.stack([rows * 10 + 100, cols * 5 + 50, (rows + cols) * 3 + 10]).astype(dtype)
    bands[:, 250:, 350:] = 0
    profile = {"driver": "GTiff", "count": 3, "height": 300, "width": 400, "dtype": dtype, "nodata": 0}
    with rasterio.open(path, "w", crs=UTM, transform=PLACE, **profile) as sink:
        sink.write(bands)
    return path


def publish(portal: Portal, owner: User, name: str, path: Path | None) -> str:
    """Return the item of a new image service, filled unless there is no file for it."""
    draft = portal.items.draft(owner.name, ServiceKind.IMAGERY.item_type, name)
    item = portal.services.create(ServiceName(ServiceKind.IMAGERY, name), owner, draft)
    if path is not None:
        portal.items.replace_data(item.id, owner, portal.items.place(item.id, path, f"{name}.tif"))
    return item.id
