"""QGIS opens result layers with its own providers: ArcGIS feature and image services, OGC API - Features."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyogrio
import pytest
import rasterio
from served import Results, find_program, missing

PYTHON = Path("/usr/bin/python3")
"""What distributions install PyQGIS for."""


@pytest.fixture(scope="module")
def seen(results: Results, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What QGIS says of the layers, and the files that are behind them."""
    find_program("qgis_process")
    if not PYTHON.exists():
        missing(f"there is no {PYTHON} to run PyQGIS")
    folder = tmp_path_factory.mktemp("qgis")
    gpkg = results.download(results.objects["itemId"], folder / "objects.gpkg")
    tif = results.download(results.cover["itemId"], folder / "cover.tif")
    with rasterio.open(tif) as raster:
        crs, bounds = str(raster.crs), raster.bounds
    request = {
        "token": results.token,
        "features": f"{results.objects['url']}/0",
        "image": results.cover["url"],
        "collections": f"{results.server.url}/ogc",
        "collection": "objects",
        "crs": crs,
        "picture": str(folder / "map.png"),
    }
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).parent / "qgis_layers.py"), json.dumps(request)],
        capture_output=True, text=True, timeout=120, check=False,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    return {**told, "gpkg": pyogrio.read_dataframe(gpkg), "bounds": bounds, "crs": crs, "picture": request["picture"]}


def test_qgis_reads_every_feature_of_a_feature_service(seen: dict[str, Any]) -> None:
    layer, file = seen["features"], seen["gpkg"]
    assert layer["valid"], layer["error"]
    assert layer["crs"] == seen["crs"]
    assert layer["count"] == layer["read"] == len(file)
    assert layer["extent"] == pytest.approx(list(file.total_bounds))
    assert layer["area"] == pytest.approx(file.area.sum())
    assert layer["classes"] == sorted(set(file["Class"]))
    assert {"Class", "Confidence"} <= set(layer["fields"])


def test_qgis_takes_the_colours_of_classes_from_the_service(seen: dict[str, Any]) -> None:
    assert seen["features"]["renderer"] == "categorizedSymbol"


def test_qgis_reads_the_collection_of_the_ogc_api(seen: dict[str, Any]) -> None:
    layer, file = seen["collection"], seen["gpkg"].to_crs(4326)
    assert layer["valid"], layer["error"]
    assert layer["read"] == len(file)
    assert layer["extent"] == pytest.approx(list(file.total_bounds), abs=1e-6)


def test_qgis_draws_the_image_service_under_the_features(seen: dict[str, Any]) -> None:
    assert seen["image"]["valid"], seen["image"]["error"]
    assert seen["image"]["extent"] == pytest.approx(list(seen["bounds"]), abs=1)
    assert seen["drawn"]["errors"] == []
    # Six land cover classes and the objects' classes, whatever blends at their edges.
    assert seen["drawn"]["colors"] >= 6
