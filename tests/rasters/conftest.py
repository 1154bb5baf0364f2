"""Rasters made in memory and on disk, and the real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

sys.path.insert(0, str(Path(__file__).parent))

from raster_analysis.handle import Handle
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rasters.source import GdalRasters

DATA = Path(__file__).parents[2].parent / "shared" / "data"
REAL = (
    "landsat/RGB.byte.tif",
    "atlanta-buildings/atlanta_pan.tif",
    "ortho/fotomap_small.tif",
    "neon-trees/OSBS_029.tif",
)
UTM = "EPSG:32616"
PLACE = Affine(2.0, 0, 500_000, 0, -2.0, 4_000_000)

MakeRaster = Callable[..., Handle]


@pytest.fixture
def rasters() -> GdalRasters:
    return GdalRasters()


@pytest.fixture
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the shared rasters are not beside the checkout")
    return DATA


@pytest.fixture
def make_raster(tmp_path: Path) -> MakeRaster:
    """A function that writes `(bands, rows, cols)` as a GeoTIFF and resolves it; profile keys may be given."""

    def make(pixels: np.ndarray, name: str = "scene.tif", **profile: Any) -> Handle:
        colors = profile.pop("colorinterp", None)
        path = tmp_path / name
        settings = {"driver": "GTiff", "crs": UTM, "transform": PLACE, "dtype": pixels.dtype.name, **profile}
        bands, height, width = pixels.shape
        with rasterio.open(path, "w", count=bands, height=height, width=width, **settings) as sink:
            if colors:
                sink.colorinterp = colors
            sink.write(pixels)
        return resolve_raster(str(path))

    return make
