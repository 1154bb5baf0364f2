from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyproj import CRS

from raster_analysis.errors import OutputError, OutputExists
from raster_analysis.layers.features import OgrFeatures
from raster_analysis.seams import FeatureTable

UTM = CRS.from_epsg(32616).to_wkt()
FORMATS = ("gpkg", "fgb", "geojson", "parquet")
BOW_TIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def table(count: int = 3, **changes: Any) -> FeatureTable:
    boxes = [shapely.box(700_000 + 10 * n, 3_700_000, 700_005 + 10 * n, 3_700_007) for n in range(count)]
    values: dict[str, Any] = {
        "geometries": np.array(boxes, dtype=object),
        "crs": UTM,
        "columns": {
            "Class": [f"Häuser <{n}>" for n in range(count)],
            "Confidence": np.linspace(0.5, 1, count),
            "Count": np.arange(count, dtype=np.int64),
        },
        "layer": "buildings",
    }
    return FeatureTable(**{**values, **changes})


def write(path: Path, features: FeatureTable) -> Path:
    OgrFeatures().write(path, features)
    return path


def read_back(path: Path) -> geopandas.GeoDataFrame:
    frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    return frame.sort_values("Count").reset_index(drop=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_another_library_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    frame = read_back(write(tmp_path / f"a.{suffix}", table()))
    assert list(frame["Class"]) == ["Häuser <0>", "Häuser <1>", "Häuser <2>"]
    assert list(frame["Confidence"]) == [0.5, 0.75, 1]
    assert list(frame["Count"]) == [0, 1, 2]
    expected = geopandas.GeoSeries(table().geometries, crs=UTM)
    near = frame.geometry.to_crs(UTM).geom_equals_exact(expected, tolerance=0.02).all()
    assert near or frame.geometry.to_crs(UTM).symmetric_difference(expected).area.max() < 0.5
    assert frame.crs.to_epsg() == (4326 if suffix == "geojson" else 32616)
    assert [file.name for file in tmp_path.iterdir()] == [f"a.{suffix}"]


def test_ogrinfo_agrees_on_the_geopackage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", table())
    told = subprocess.run(
        ["ogrinfo", "-ro", "-so", str(path), "buildings"], capture_output=True, text=True, check=True
    ).stdout
    for line in ("Geometry: Polygon", "Feature Count: 3", "Class: String", "Confidence: Real", 'ID["EPSG",32616]'):
        assert line in told


def test_geojson_is_longitude_latitude_anticlockwise_and_without_a_crs_member(tmp_path: Path) -> None:
    document = json.loads(write(tmp_path / "a.geojson", table()).read_text())
    assert "crs" not in document
    ring = document["features"][0]["geometry"]["coordinates"][0]
    assert ring[0] == pytest.approx([-84.84, 33.42], abs=0.01)
    assert shapely.LinearRing(ring).is_ccw


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_features_are_a_layer_too(tmp_path: Path, suffix: str) -> None:
    path, filled = write(tmp_path / f"a.{suffix}", table(0)), write(tmp_path / f"b.{suffix}", table(1))
    if suffix == "parquet":
        frame = geopandas.read_parquet(path)
        assert (len(frame), frame.crs.to_epsg()) == (0, 32616)
        # Of no values no type can be told, but layers of several runs must fit together.
        assert pq.read_schema(path).field("Class").type == pq.read_schema(filled).field("Class").type
        return
    info = pyogrio.read_info(path, force_feature_count=True)
    assert info["features"] == 0
    if suffix != "geojson":  # GeoJSON keeps types in its features only
        assert list(info["fields"]) == ["Class", "Confidence", "Count"]
        assert info["geometry_type"] == "Polygon"


def run_here(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code that starts with this module's names in another process."""
    start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from test_features import *\n"
    command = [sys.executable, "-c", start + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_the_same_table_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    code = "for suffix in FORMATS: write(Path(sys.argv[1]) / f'b.{suffix}', table(50))"
    assert run_here(code, str(tmp_path / "other")).returncode == 0
    for suffix in FORMATS:
        made = write(tmp_path / f"a.{suffix}", table(50)).read_bytes()
        assert (
            hashlib.sha256(made).digest() == hashlib.sha256((tmp_path / "other" / f"b.{suffix}").read_bytes()).digest()
        )


@pytest.mark.parametrize("suffix", FORMATS)
def test_broken_polygons_are_mended_and_the_layer_is_of_one_type(tmp_path: Path, suffix: str) -> None:
    geometries = np.array([shapely.box(0, 0, 1, 1), BOW_TIE], dtype=object)
    columns = {"Class": ["a", "b"], "Count": [0, 1]}
    frame = read_back(write(tmp_path / f"a.{suffix}", table(geometries=geometries, columns=columns)))
    assert frame.geometry.is_valid.all()
    assert set(frame.geometry.geom_type) == {"MultiPolygon"}
    if suffix != "geojson":
        assert list(frame.geometry.area) == [1, 2]


def test_what_has_no_area_is_left_out_with_its_values_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = shapely.Polygon([(0, 0), (1, 1), (0, 0)])
    geometries = np.array([shapely.box(0, 0, 1, 1), line, shapely.box(2, 0, 3, 1)], dtype=object)
    frame = read_back(write(tmp_path / "a.gpkg", table(geometries=geometries)))
    assert list(frame["Class"]) == ["Häuser <0>", "Häuser <2>"]
    assert "1 features without an area" in caplog.text


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "parquet"])
def test_features_without_a_crs_are_written_without(tmp_path: Path, suffix: str) -> None:
    frame = read_back(write(tmp_path / f"a.{suffix}", table(crs=None)))
    assert frame.crs is None or "ndefined" in frame.crs.name
    assert list(frame.geometry.area) == [35, 35, 35]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("a.shp", {}, r"'a.shp' has no known suffix; want one of .gpkg, .fgb"),
        ("a", {}, "no known suffix"),
        ("a.gpkg", {"columns": {"Class": ["x"]}}, "3 geometries, but column Class has 1 values"),
        ("a.geojson", {"crs": None}, "without a CRS"),
        ("missing/a.gpkg", {}, "could not be written"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(OutputError, match=words):
        write(tmp_path / name, table(**changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_existing_output_is_kept(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExists, match="exists already"):
        write(path, table())
    assert path.read_bytes() == b"precious"


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
for suffix in FORMATS:
    whole = write(folder / f"whole.{suffix}", table(3000))
    size = whole.stat().st_size
    whole.unlink()
    for share in (0.05, 0.6, 0.97):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(size * share), -1))
        try:
            write(folder / f"a.{suffix}", table(3000))
            print(suffix, share, "was written")
        except OutputError as error:
            print("refused:", error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
"""


def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    done = run_here(LIMITED, str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.startswith("refused: output 'a.") for line in lines] == [True] * 12, done.stdout
    assert str(tmp_path) not in done.stdout
    assert not list(tmp_path.iterdir())
