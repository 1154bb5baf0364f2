"""Objects of a scene that the sample package never saw, classified from Python and from a shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import pytest
from click.testing import CliRunner

import raster_analysis
from raster_analysis.cli import main
from raster_analysis.errors import InputError, ParameterError

SAMPLES = Path(__file__).parents[2] / "samples"
PACKAGE = SAMPLES / "packages" / "objects.dlpk"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    command = [
        sys.executable,
        str(SAMPLES / "make_scene.py"),
        str(folder / "scene.tif"),
        "--size",
        "512",
        "--seed",
        "77",
    ]
    subprocess.run([*command, "--vectors", str(folder / "all.gpkg")], check=True, stdout=subprocess.DEVNULL)
    geopandas.read_file(folder / "all.gpkg", layer="trees").to_file(folder / "trees.gpkg")
    return folder


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "geojson", "parquet"])
def test_nearly_all_trees_are_named_in_every_format(scene: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"named.{suffix}"
    result = raster_analysis.classify_objects(
        scene / "scene.tif", scene / "trees.gpkg", PACKAGE, output, label_field="kind", batch_size=16
    )
    found = geopandas.read_parquet(output) if suffix == "parquet" else geopandas.read_file(output)
    trees = geopandas.read_file(scene / "trees.gpkg")
    assert len(found) == len(trees) == result.statistics["count"]
    assert (found["kind"] == "Tree").mean() > 0.9
    assert sorted(found["height_m"]) == sorted(trees["height_m"])


def test_a_shell_gives_what_python_gives(scene: Path, tmp_path: Path) -> None:
    raster_analysis.classify_objects(
        scene / "scene.tif", scene / "trees.gpkg", PACKAGE, tmp_path / "a.gpkg", filter="height_m > 5"
    )
    arguments = [scene / "scene.tif", PACKAGE, tmp_path / "b.gpkg", "--features", scene / "trees.gpkg"]
    done = CliRunner().invoke(main, ["classify-objects", *map(str, arguments), "--filter", "height_m > 5", "--json"])
    assert done.exit_code == 0, done.output
    one, other = (geopandas.read_file(tmp_path / f"{name}.gpkg") for name in "ab")
    assert one["height_m"].min() > 5
    assert one.drop(columns="geometry").equals(other.drop(columns="geometry"))
    assert json.loads(done.stdout)["statistics"]["count"] == len(one)


def test_features_may_be_written_out_or_left_out(scene: Path, tmp_path: Path) -> None:
    trees = geopandas.read_file(scene / "trees.gpkg").head(3)
    document = json.loads(trees.to_crs(4326).to_json())
    raster_analysis.classify_objects(scene / "scene.tif", document, PACKAGE, tmp_path / "a.gpkg")
    assert list(geopandas.read_file(tmp_path / "a.gpkg")["ClassLabel"]) == ["Tree"] * 3
    raster_analysis.classify_objects(scene / "scene.tif", None, PACKAGE, tmp_path / "b.gpkg")
    assert len(geopandas.read_file(tmp_path / "b.gpkg")) == 1


def test_what_is_wrong_is_told_before_the_work_and_leaves_nothing(scene: Path, tmp_path: Path) -> None:
    raster, trees = scene / "scene.tif", scene / "trees.gpkg"
    with pytest.raises(ParameterError, match="did you mean 'label_field'"):
        raster_analysis.classify_objects(raster, trees, PACKAGE, tmp_path / "a.gpkg", labelfield="x")
    with pytest.raises(InputError, match="gone"):
        raster_analysis.classify_objects(raster, tmp_path / "gone.gpkg", PACKAGE, tmp_path / "a.gpkg")
    with pytest.raises(InputError, match="'nothing' is no field"):
        raster_analysis.classify_objects(raster, trees, PACKAGE, tmp_path / "a.gpkg", filter="nothing = 1")
    with pytest.raises(ParameterError, match="no features are given"):
        raster_analysis.classify_objects(raster, None, PACKAGE, tmp_path / "a.gpkg", filter="n = 1")
    assert list(tmp_path.iterdir()) == []


def test_the_input_features_are_never_replaced(scene: Path) -> None:
    before = (scene / "trees.gpkg").read_bytes()
    with pytest.raises(ParameterError, match="is an input"):
        raster_analysis.classify_objects(
            scene / "scene.tif", scene / "trees.gpkg", PACKAGE, scene / "trees.gpkg", overwrite=True
        )
    with pytest.raises(ParameterError, match="is an input"):
        raster_analysis.classify_objects(
            scene / "scene.tif", None, PACKAGE, scene / "trees.gpkg", mask=scene / "trees.gpkg", overwrite=True
        )
    assert (scene / "trees.gpkg").read_bytes() == before
