"""GDAL's driver for OGC API - Features reads a collection: Debian's programs, and the GDAL inside pyogrio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyogrio
import pytest
import shapely
from served import Results, clean_environment, find_program, missing

READ = """
import json, sys, pyogrio
info = pyogrio.read_info(sys.argv[1], layer="objects", force_feature_count=True)
bounds = pyogrio.read_bounds(sys.argv[1], layer="objects")[1]
print(json.dumps({"count": info["features"], "bounds": [*bounds[:2].min(axis=1), *bounds[2:].max(axis=1)]}))
"""


@pytest.fixture(scope="module")
def file(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The GeoPackage behind the collection, in degrees."""
    path = results.download(results.objects["itemId"], tmp_path_factory.mktemp("oapif") / "objects.gpkg")
    return pyogrio.read_dataframe(path).to_crs(4326)


def driver(program: str) -> str:
    found = find_program(program)
    told = subprocess.run([found, "--formats"], capture_output=True, text=True, check=True, env=clean_environment())
    if "OAPIF" not in told.stdout:
        missing(f"{program} has no OAPIF driver")
    return found


def run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={"PATH": "/usr/bin:/bin", **environment}
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    return done.stdout


def by_header(results: Results) -> dict[str, str]:
    return {"GDAL_HTTP_HEADERS": f"Authorization: Bearer {results.token}"}


def test_ogrinfo_lists_the_collection_and_counts_its_features(results: Results, file: Any) -> None:
    text = run([driver("ogrinfo"), "-so", f"OAPIF:{results.server.url}/ogc", "objects"], **by_header(results))

    assert f"Feature Count: {len(file)}" in text
    assert "Class: String" in text
    assert "Confidence: Real" in text


def test_ogrinfo_shows_nobody_what_is_not_shared(results: Results) -> None:
    command = [driver("ogrinfo"), "-so", f"OAPIF:{results.server.url}/ogc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode != 0  # GDAL opens nothing where there is no collection
    assert "objects" not in done.stdout


@pytest.mark.parametrize("way", ["header", "query"])
def test_ogr2ogr_reads_every_feature_page_by_page(results: Results, file: Any, tmp_path: Path, way: str) -> None:
    source = f"OAPIF:{results.server.url}/ogc" + (f"?token={results.token}" if way == "query" else "")
    headers = by_header(results) if way == "header" else {}
    target = tmp_path / "copy.gpkg"
    run([driver("ogr2ogr"), "-f", "GPKG", str(target), source, "objects", "-oo", "PAGE_SIZE=7"], **headers)
    copy = pyogrio.read_dataframe(target)

    assert len(copy) == len(file)
    assert len(file) > 7, "the test needs more than one page"
    assert copy.total_bounds == pytest.approx(file.total_bounds, abs=1e-8)
    assert shapely.area(copy.geometry.values).sum() == pytest.approx(shapely.area(file.geometry.values).sum(), rel=1e-6)
    assert sorted(copy["Class"]) == sorted(file["Class"])


def test_ogr2ogr_asks_the_server_for_a_part(results: Results, file: Any, tmp_path: Path) -> None:
    west, south, east, north = file.total_bounds
    middle = (west + east) / 2
    target = tmp_path / "part.gpkg"
    box = ["-spat", str(west), str(south), str(middle), str(north)]
    source = f"OAPIF:{results.server.url}/ogc"
    run([driver("ogr2ogr"), "-f", "GPKG", str(target), source, "objects", *box], **by_header(results))

    assert len(pyogrio.read_dataframe(target)) == len(file.cx[west:middle, south:north])


def test_the_gdal_of_pyogrio_reads_the_collection(results: Results, file: Any) -> None:
    # Processes of their own, as GDAL keeps what it once read of its environment.
    if "OAPIF" not in run([sys.executable, "-c", "import pyogrio; print(pyogrio.list_drivers())"]):
        missing("pyogrio has no OAPIF driver")
    told = json.loads(run([sys.executable, "-c", READ, f"OAPIF:{results.server.url}/ogc?token={results.token}"]))

    assert told["count"] == len(file)
    assert told["bounds"] == pytest.approx(file.total_bounds, abs=1e-8)
