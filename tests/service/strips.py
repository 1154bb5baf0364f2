"""Rasters of many blocks and few pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from tiny_models import TILE

BLOCK_PX = 4096


def write_strip(path: Path, blocks: int) -> None:
    """Write a raster of one row of tiles, as long as so many blocks."""
    pixels = np.random.default_rng(5).integers(0, 256, (3, TILE, blocks * BLOCK_PX), dtype=np.uint8)
    profile = {"driver": "GTiff", "count": 3, "height": TILE, "width": pixels.shape[2], "dtype": "uint8"}
    profile |= {"crs": "EPSG:32616", "transform": rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 4e6)}
    with rasterio.open(path, "w", **profile) as sink:
        sink.write(pixels)
