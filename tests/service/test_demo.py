"""The demonstration, run as its readers run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from PIL import Image


@pytest.mark.slow
def test_the_demo_leaves_two_results_and_two_pictures(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    command = [sys.executable, "-m", "raster_analysis", "demo", "--out", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    results = ["objects.gpkg", "objects.png", "land_cover.tif", "land_cover.png"]

    assert all((out / name).is_file() for name in results)
    assert all(name in run.stdout for name in results)
    assert "Warning" not in run.stdout + run.stderr
    # Addresses are for copying: none is broken over two lines.
    assert "/arcgis/rest/services/System/RasterAnalysisTools/GPServer\n" in run.stdout
    assert count_colors(out / "objects.png") > 1000
    assert 3 <= count_colors(out / "land_cover.png") <= 10
    assert len(pyogrio.read_dataframe(out / "objects.gpkg")) > 50
    with rasterio.open(out / "land_cover.tif") as cover:
        assert cover.shape == (2048, 2048)
        assert len(np.unique(cover.read(1))) > 2


def count_colors(picture: Path) -> int:
    pixels = np.asarray(Image.open(picture).convert("RGB")).reshape(-1, 3)
    return len(np.unique(pixels, axis=0))
