"""GDAL's own drivers read feature services over plain HTTP: Debian's programs and the one in the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyogrio
import pytest
import shapely
from live_server import LiveServer, add_users
from served import clean_environment, find_program

sys.path.insert(0, str(Path(__file__).parents[1] / "rest"))

from featured import publish, write_objects

from raster_analysis.portal.portal import Portal, Settings

COUNT = 4500
"""More than two pages."""
READ = """
import json, sys
import pyogrio, shapely
meta, fids, shapes, columns = pyogrio.raw.read(sys.argv[1], return_fids=True)
shapes = shapely.from_wkb(shapes)
bounds = list(shapely.total_bounds(shapes))
print(json.dumps({"count": len(shapes), "bounds": bounds, "area": shapely.area(shapes).sum(),
                  "crs": meta["crs"], "fields": list(meta["fields"]), "ids": sorted(set(map(int, fids)))[:3]}))
"""


@dataclass(frozen=True)
class Served:
    """A running server with a feature service, and the file behind it."""

    server: LiveServer
    file: Path

    def url(self, **words: str) -> str:
        """Return the query with which GDAL reads the layer."""
        service = f"{self.server.url}/arcgis/rest/services/Hosted/objects/FeatureServer/0/query"
        fields = {"where": "1=1", "outFields": "*", "f": "json", "token": self.server.tokens["ann"], **words}
        return f"{service}?{urlencode(fields)}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("ogr")
    server = LiveServer(folder)
    server.tokens = add_users(server.data, server.url)
    file = write_objects(folder / "objects.gpkg", COUNT)
    portal = Portal(Settings(server.data, server.url))
    publish(portal, portal.users.get("ann"), "objects", file)
    portal.close()
    try:
        server.start()
        yield Served(server, file)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def expected(served: Served) -> dict[str, Any]:
    frame = pyogrio.read_dataframe(served.file)
    return {"bounds": list(frame.total_bounds), "area": frame.area.sum(), "classes": sorted(frame["Class"])}


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=clean_environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ogr2ogr_fetches_every_feature_page_by_page(served: Served, expected: dict[str, Any], tmp_path: Path) -> None:
    program = find_program("ogr2ogr")
    source = "ESRIJSON:" + served.url(resultRecordCount="1000", orderByFields="OBJECTID ASC")
    target = tmp_path / "fetched.gpkg"
    run(program, "-oo", "FEATURE_SERVER_PAGING=YES", str(target), source, "-nln", "fetched", "-preserve_fid")
    frame = pyogrio.read_dataframe(target, fid_as_index=True)
    assert list(frame.index) == list(range(1, COUNT + 1))
    assert list(frame.total_bounds) == pytest.approx(expected["bounds"])
    assert frame.area.sum() == pytest.approx(expected["area"])
    assert sorted(frame["Class"]) == expected["classes"]
    assert frame.crs.to_epsg() == 32633


def test_ogrinfo_reads_what_a_condition_chooses(served: Served) -> None:
    program = find_program("ogrinfo")
    source = "ESRIJSON:" + served.url(where="Class = 'car' AND OBJECTID <= 30")
    told = run(program, "-ro", "-so", "-al", source)
    assert "Feature Count: 10" in told
    assert "Geometry: Polygon" in told


def test_ogrinfo_reads_the_geojson_too(served: Served) -> None:
    program = find_program("ogrinfo")
    told = run(program, "-ro", "-so", "-al", served.url(where="OBJECTID <= 30", f="geojson"))
    assert "Feature Count: 30" in told
    assert "WGS 84" in told


@pytest.mark.parametrize("format", ["json", "geojson"])
def test_the_gdal_of_the_wheel_reads_the_layer(
    served: Served, expected: dict[str, Any], format: str, tmp_path: Path
) -> None:
    # In a process of its own: the environment of this one bars GDAL from the network.
    prefix = "ESRIJSON:" if format == "json" else "GeoJSON:"
    source = prefix + served.url(f=format, resultRecordCount="2000", orderByFields="OBJECTID")
    environment = clean_environment()
    command = [sys.executable, "-c", READ, source]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["ids"] == [1, 2, 3]
    assert {"Class", "Confidence"} <= set(seen["fields"])
    if format == "json":
        assert seen["count"] == COUNT
        assert seen["bounds"] == pytest.approx(expected["bounds"])
        assert seen["area"] == pytest.approx(expected["area"])
        assert seen["crs"] == "EPSG:32633"
    else:
        assert seen["count"] == 2000
        assert shapely.box(*seen["bounds"]).within(shapely.box(14.9, 45.1, 15.1, 45.3))
