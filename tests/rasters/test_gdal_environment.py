from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raster_analysis.rasters import gdal_environment
from raster_analysis.rasters.signatures import FEATURES, RASTERS

PINNED = """
import os, sys, warnings
from pathlib import Path
from raster_analysis.rasters import gdal_environment
gdal_environment.apply(os.environ)
"""
WHOLE_WAY = """
import numpy as np
from raster_analysis.grid import Grid, Window
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.resolver import resolve_features, resolve_raster
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.layers.features import OgrFeatures
from raster_analysis.seams import ContextLayers, FeatureTable, LegendEntry
import shapely
out, scene = Path(sys.argv[1]), resolve_raster(sys.argv[2])
rasters = GdalRasters()
native = rasters.view(scene, [0], ProcessingContext())
area = shapely.box(*native.grid.bounds_xyxy)
mask = out / "mask.gpkg"
OgrFeatures().write(mask, FeatureTable(np.array([area], dtype=object), native.grid.crs, {}, "mask"))
context = ProcessingContext.model_validate({"outSR": 3857})
view = rasters.view(scene, [0], context, ContextLayers(resolve_features(str(mask))))
with rasters.open(view) as reader:
    assert reader.read(view.grid.window).mask.any()
grid = view.grid
rasters.write_classified(
    out / "classes.tif", grid, [(grid.window, np.zeros((grid.height, grid.width), np.uint8))],
    legend=[LegendEntry(0, "all", (1, 2, 3))], nodata=None, dtype="uint8",
)
print(gdal_environment.verify())
"""
OTHERS = """
import rasterio
for name in sys.argv[1:]:
    try:
        rasterio.open(name)
    except rasterio.errors.RasterioIOError:
        continue
    sys.exit(f"{name} was opened")
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_with_the_environment_pinned_only_allowed_drivers_are_loaded_and_all_work_is_done(
    tmp_path: Path, data: Path
) -> None:
    done = run(PINNED + WHOLE_WAY, str(tmp_path), str(data / "atlanta-buildings" / "atlanta_pan.tif"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert set(eval(done.stdout)) == {"rasterio", "pyogrio"}


def test_too_late_a_pin_is_noticed() -> None:
    done = run("import rasterio, pyogrio\nwith rasterio.Env(): pass\n" + PINNED + "gdal_environment.verify()")
    assert "UnsafeGdal" in done.stderr
    assert "VRT" in done.stderr


def test_r02_gdal_itself_refuses_what_the_resolver_would_have_to_miss(tmp_path: Path, data: Path) -> None:
    scene = data / "landsat" / "RGB.byte.tif"
    vrt = tmp_path / "x.tif"
    vrt.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{scene}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    names = [str(vrt), f"vrt://{scene}", vrt.read_text(), f"DERIVED_SUBDATASET:LOGAMPLITUDE:{scene}"]
    done = run(PINNED + OTHERS, *names)
    assert done.returncode == 0, done.stderr


def test_a_child_is_pinned_by_its_environment() -> None:
    environ = dict(os.environ)
    gdal_environment.apply(environ)
    code = "from raster_analysis.rasters import gdal_environment as g; g.verify()"
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("driver", [*RASTERS, *FEATURES, "COG"])
def test_no_allowed_driver_is_skipped(driver: str) -> None:
    assert driver not in gdal_environment.GDAL_ENVIRONMENT["GDAL_SKIP"].split(",")
