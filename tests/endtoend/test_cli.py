from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from raster_analysis.tools import TOOLS

from raster_analysis.api import SUFFIXES
from raster_analysis.cli import main
from raster_analysis.model_info import Task
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.portal import Settings as PortalSettings
from raster_analysis.portal.users import Role
from raster_analysis.progress import INTERRUPTED

SAMPLES = Path(__file__).parents[2] / "samples"
WORDS = {Task.OBJECTS: "detect", Task.PIXELS: "classify", Task.CROPS: "classify-objects"}


@pytest.fixture
def scenes(tmp_path, make_raster, noise):
    folder = tmp_path / "scenes"
    folder.mkdir()
    for name in ("a", "b", "c"):
        make_raster(folder / f"{name}.tif", noise[:, :150, :170])
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lines(text):
    return [line for line in text.splitlines() if line]


# One raster, many rasters


def test_the_samples_find_trees_and_land_cover_in_a_made_scene(tmp_path, process):
    """The program as it is installed, on the packages and the generator that come with it."""
    scene = tmp_path / "scene.tif"
    subprocess.run(
        [sys.executable, str(SAMPLES / "make_scene.py"), str(scene), "--size", "256", "--theme", "canopy"], check=True
    )
    found = process("detect", scene, SAMPLES / "packages" / "detector.dlpk", "trees.gpkg", "--threshold", "0.4")
    assert (found.exit_code, found.stdout) == (0, "trees.gpkg\n"), found.stderr
    _, _, shapes, (classes, confidences) = pyogrio.raw.read(tmp_path / "trees.gpkg")
    assert len(shapes) > 20
    assert "Tree" in classes
    assert confidences.min() > 40
    covered = process("classify", scene, SAMPLES / "packages" / "landcover.dlpk", "cover.tif", "--json")
    assert covered.exit_code == 0, covered.stderr
    assert covered.stderr == ""
    assert json.loads(covered.stdout)["statistics"]["classes"]["Tree"] > 0.2
    assert names(tmp_path) == ["cover.tif", "cover.tif.aux.xml", "scene.tif", "trees.gpkg"]


def test_a_pattern_goes_into_a_folder_that_is_made(scenes, classifier, tmp_path, command):
    done = command("classify", scenes / "*.tif", classifier, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert lines(done.stdout) == [str(tmp_path / "out" / f"{name}.tif") for name in "abc"]
    assert names(tmp_path / "out") == sorted(f"{n}.tif{s}" for n in "abc" for s in ("", ".aux.xml"))


def test_a_folder_is_a_folder_even_for_one_raster(scenes, detector, tmp_path, command):
    assert command("detect", scenes / "a.tif", detector, f"{tmp_path}/out/").exit_code == 0
    assert command("detect", scenes / "b.tif", detector, tmp_path / "out").exit_code == 0
    assert names(tmp_path / "out") == ["a.gpkg", "b.gpkg"]


def test_paths_that_a_shell_expanded_work_as_a_pattern_does(scenes, detector, tmp_path, command):
    done = command("detect", *sorted(scenes.iterdir()), scenes / "?.tif", detector, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert names(tmp_path / "out") == ["a.gpkg", "b.gpkg", "c.gpkg"]


def test_a_bad_file_does_not_stop_the_others(scenes, classifier, tmp_path, command):
    (scenes / "b.tif").write_text("<VRTDataset/>")
    done = command("classify", scenes / "*.tif", scenes / "nowhere.tif", classifier, tmp_path / "out")
    assert done.exit_code == 1
    assert names(tmp_path / "out") == ["a.tif", "a.tif.aux.xml", "c.tif", "c.tif.aux.xml"]
    end = lines(done.stderr)[-3:]
    assert end[0] == "2 of 4 rasters failed:"
    assert end[1].startswith(f"  {scenes / 'b.tif'}: raster 'b.tif' is a VRT")
    assert end[2].startswith(f"  {scenes / 'nowhere.tif'}: ")
    assert "Traceback" not in done.output


def test_json_is_one_line_for_each_raster_and_nothing_else(scenes, classifier, tmp_path, command):
    (scenes / "b.tif").write_bytes(b"")
    done = command("classify", scenes / "*.tif", classifier, tmp_path / "out", "--json")
    assert (done.exit_code, done.stderr) == (1, "")
    first, second, third = map(json.loads, lines(done.stdout))
    assert first["raster"] == str(scenes / "a.tif")
    assert first["output"] == str(tmp_path / "out" / "a.tif")
    assert set(first["statistics"]["classes"]) == {"level 10", "level 20", "level 30", "level 40"}
    assert set(second) == {"raster", "error"}
    assert third["statistics"] == first["statistics"]


def test_a_second_run_skips_what_is_there_unless_told_to_replace_it(scenes, classifier, tmp_path, command):
    out = tmp_path / "out"
    assert command("classify", scenes / "a.tif", classifier, out).exit_code == 0
    (out / "a.tif").write_bytes(b"mine")
    done = command("classify", scenes / "*.tif", classifier, out)
    assert done.exit_code == 1
    assert "exists" in done.stderr
    assert (out / "a.tif").read_bytes() == b"mine"
    assert (out / "c.tif").exists()
    assert command("classify", scenes / "*.tif", classifier, out, "--overwrite").exit_code == 0
    assert (out / "a.tif").read_bytes() == (out / "c.tif").read_bytes()


# Options


def test_a_mask_and_an_extent_limit_what_is_looked_at(raster, noise, detector, classifier, tmp_path, command):
    area = shapely.box(500_100, 3_999_700, 500_200, 3_999_900)
    pyogrio.raw.write(
        tmp_path / "area.gpkg", shapely.to_wkb([area]), [], [], geometry_type="Polygon", crs="EPSG:32616", layer="area"
    )
    options = ("--mask", tmp_path / "area.gpkg", "--extent", "500080,3999500,500500,3999950")
    assert command("detect", raster, detector, tmp_path / "in.fgb", *options).exit_code == 0
    assert command("classify", raster, classifier, tmp_path / "in.tif", *options).exit_code == 0
    _, _, shapes, _ = pyogrio.raw.read(tmp_path / "in.fgb")
    assert len(shapes) == (noise[0, 50:150, 50:100] > 250).sum() > 0
    assert shapely.within(shapely.from_wkb(shapes), area).all()
    with rasterio.open(tmp_path / "in.tif") as dataset:
        assert dataset.bounds == (500_080, 3_999_500 - 60, 500_500, 3_999_950) or dataset.bounds.top == 3_999_950
        valid = dataset.read_masks(1) > 0
        assert valid.sum() == 50 * 100


def test_cell_size_and_system_of_the_result_are_as_asked(raster, classifier, tmp_path, command):
    done = command("classify", raster, classifier, tmp_path / "out.tif", "--cell-size", 5, "--out-sr", 32617)
    assert done.exit_code == 0, done.output
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.res == (5, 5)
        assert dataset.crs.to_epsg() == 32617


def test_a_threshold_keeps_what_is_above_it(make_raster, make_detector, tmp_path, command):
    data = np.random.default_rng(2).integers(0, 65_000, (1, 100, 100)).astype(np.uint16)
    raster, model = make_raster(tmp_path / "r.tif", data), make_detector(60_000)
    done = command("detect", raster, model, tmp_path / "o.gpkg", "--threshold", "0.95", "--json")
    assert json.loads(done.stdout)["statistics"]["count"] == (data / 65535 > 0.95).sum()


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "fgb", "geojson"])
def test_objects_come_in_the_format_of_the_suffix(scenes, noise, detector, tmp_path, command, suffix):
    out = tmp_path / f"o.{suffix}"
    assert command("detect", scenes / "a.tif", detector, out, "--padding", 2).exit_code == 0
    heads = {"gpkg": b"SQLite", "parquet": b"PAR1", "fgb": b"fgb", "geojson": b"{"}
    assert out.read_bytes().startswith(heads[suffix])


def test_overlaps_are_thinned_out_over_the_whole_output(make_raster, make_detector, tmp_path, command):
    data = np.zeros((1, 80, 80), np.uint8)
    data[0, 20, 20], data[0, 20, 22], data[0, 60, 60] = 251, 255, 253
    raster, model = make_raster(tmp_path / "r.tif", data), make_detector(250, reach=3)
    arguments = ("detect", raster, model, tmp_path / "o.gpkg", "--nms-overlap", 1, "--json", "--overwrite")
    thin = ("--run-nms", "--max-overlap-ratio")
    counts = [
        json.loads(command(*arguments, *more).stdout)["statistics"]["count"]
        for more in ((), (*thin, 0.2), (*thin, 0.9), ("--run-nms",))
    ]
    assert counts == [3, 2, 3, 2]


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detekt"], "No such command 'detekt'. Did you mean 'detect'?"),
        (["detect", "{raster}", "{detector}"], "want RASTER... MODEL OUT, three paths or more; got 2"),
        (["detect", "{raster}", "{detector}", "o.tif"], "'o.tif' does not end in .gpkg, .fgb, .geojson, .json or .par"),
        (["classify", "{raster}", "{classifier}", "o.gpkg"], "'o.gpkg' does not end in .tif or .tiff"),
        (["detect", "{raster}", "{detector}", "no/such/o.gpkg"], "output folder 'no/such' does not exist"),
        (["detect", "{raster}", "{detector}", "no/such/"], "output folder 'no' does not exist"),
        (["detect", "{raster}", "{raster}", "{detector}x", "o.gpkg"], "spotsx' was not found"),
        (["detect", "{raster}", "{raster}*", "x", "{detector}", "o.gpkg"], "is one file for 2 rasters; name a folder"),
        (["detect", "x*.tif", "{detector}", "o.gpkg"], "no file matches 'x*.tif'"),
        (["detect", "{raster}", "{classifier}", "o.gpkg"], "model 'Cuts' classifies pixels"),
        (["classify", "{raster}", "{classifier}", "o.tif", "--treshold", "1"], "No such option"),
        (["detect", "{raster}", "{detector}", "o.gpkg", "--threshold", "2"], "2.0 is not in the range 0<=x<=1"),
        (["detect", "{raster}", "{detector}", "o.gpkg", "--extent", "1,2"], "'1,2' is not xmin,ymin,xmax,ymax"),
        (["detect", "{raster}", "{detector}", "o.gpkg", "--device", "gpu"], "'gpu' is not auto, cpu, cuda or cuda:N"),
        (["detect", "{raster}", "{detector}", "o.gpkg", "--max-overlap-ratio", "1"], "is for --run-nms; give both"),
        (["detect", "{raster}", "{detector}", "o.gpkg", "--tile-size", "32"], "'tile_size' is not for this model"),
        (["detect", "{raster}", "{detector}", "o.gpkg", "--mask", "none.shp"], "'none.shp' was not found"),
        (["run", "DetectObject"], "there is no tool 'DetectObject' (did you mean DetectObjectsUsingDeepLearning?)"),
        (["run", "PublishDeepLearningModel"], "required parameter modelLocation is missing"),
        (["run", "ListDeepLearningModels", "--name", "x"], "ListDeepLearningModels takes no parameters"),
        (["run", "QueryDeepLearningModelInfo", "--modell", "x"], "--modell does not exist (did you mean --model?)"),
        (["run", "QueryDeepLearningModelInfo", "--model", "x.dlpk"], "--model 'x.dlpk' was not found"),
        (["run", "QueryDeepLearningModelInfo", "--model"], "--model has no value"),
        (["run", "QueryDeepLearningModelInfo", "model"], "'model' is not --PARAM VALUE"),
        (["serve", "--store", "x"], "--store 'x' is not NAME=PATH"),
        (["serve", "--store", "x=no"], "there is no folder 'no'"),
        (["serve", "--port", "100000"], "setting port"),
        (["users", "add", "ann", "--role", "king"], "'king' is not one of"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)  # fmt: skip
def test_a_mistake_is_told_in_a_line_before_anything_is_done(
    raster, detector, classifier, tmp_path, monkeypatch, command, list_all, arguments, words
):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    places = {"raster": raster, "detector": detector, "classifier": classifier}
    done = command(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert words in lines(done.stderr)[-1]
    assert len(lines(done.stderr)) <= 3
    assert "Traceback" not in done.stderr
    assert list_all(folder) == {}


def test_two_rasters_of_one_name_are_not_written_over_each_other(scenes, detector, tmp_path, command):
    other = tmp_path / "other"
    other.mkdir()
    (other / "A.tif").write_bytes((scenes / "a.tif").read_bytes())
    done = command("detect", scenes / "a.tif", other / "A.tif", detector, tmp_path / "out")
    assert done.exit_code == 2
    assert "more than one raster would be written to" in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_says_what_each_command_is_for(command):
    told = command("--help").stdout
    for name in main.commands:
        assert f"\n  {name} " in told
        assert command(name, "--help").exit_code == 0


# Stopping


def wait_for(fact):
    deadline = time.monotonic() + 30
    while not (found := fact()):
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.005)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_nothing_and_begins_no_other(
    scenes, noise, make_raster, classifier, tmp_path, start, number
):
    out = tmp_path / "out"
    for name in "ab":
        make_raster(scenes / f"{name}.tif", np.tile(noise, (1, 3, 3)))
    # Some 90,000 tiles keep it busy for much longer than the test takes.
    slow = ("--tile-size", 9, "--padding", 3, "--batch-size", 1, "--precision", "fp32")
    running = start("classify", scenes / "*.tif", classifier, out, *slow)
    try:
        wait_for(lambda: out.is_dir() and list(out.glob(".raster-analysis-*")))
        running.send_signal(number)
        stdout, stderr = running.communicate(timeout=30)
    finally:
        running.kill()
    assert running.returncode == 130, stderr
    assert stdout == ""
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert not out.exists()


# The service's tools, users and tokens


def run_tool(command, *arguments):
    done = command("run", *arguments, "--data", "data", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(lines(done.stdout)[-1])


def test_the_tools_run_one_after_the_other(raster, noise, detector, tmp_path, monkeypatch, process):
    """Published from a local folder, listed, asked about, and used on a local raster with a name that URLs dislike."""
    monkeypatch.chdir(tmp_path)
    raster = raster.rename(tmp_path / "my scene #1.tif")
    published = run_tool(process, "PublishDeepLearningModel", "--modelLocation", detector, "--outputName", "Spots")
    item = published["outputs"]["outItem"]["itemId"]
    listed = run_tool(process, "ListDeepLearningModels")["outputs"]["deepLearningModels"]
    assert [(model["id"], model["title"]) for model in listed] == [(item, "Spots")]
    info = run_tool(process, "querydeeplearningmodelinfo", "--model", item)["outputs"]["outModelInfo"]
    assert json.loads(info["modelInfo"])["ModelName"] == "Spots"
    found = run_tool(
        process, "DetectObjectsUsingDeepLearning", "--input-raster", raster.name, "--model", item,
        "--outputObjects=Found", "--modelArguments", '{"padding": 4}',
    )  # fmt: skip
    assert f"Found {(noise > 250).sum()} objects" in " ".join(found["messages"])
    (made,) = (tmp_path / "data" / "items" / found["outputs"]["outObjects"]["itemId"]).glob("*.gpkg")
    assert pyogrio.read_info(made)["features"] == (noise > 250).sum()


def test_a_tool_that_fails_ends_with_one(raster, detector, tmp_path, process):
    done = process(
        "run", "ClassifyPixelsUsingDeepLearning", "--inputRaster", raster, "--model", detector,
        "--outputClassifiedRaster", "o",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "model 'Spots' detects objects" in done.stderr
    assert "Traceback" not in done.stderr
    assert "GDAL_SKIP" not in done.stderr


def test_a_worker_finishes_what_a_killed_run_left(noise, make_raster, classifier, tmp_path, start, process):
    raster = make_raster(tmp_path / "large.tif", np.tile(noise, (1, 2, 2)))
    running = start(
        "run", "ClassifyPixelsUsingDeepLearning", "--inputRaster", raster, "--model", classifier,
        "--outputClassifiedRaster", "Cover", "--modelArguments", "tile_size 16;padding 4;batch_size 1", cwd=tmp_path,
    )  # fmt: skip
    try:
        # From the plan on a job knows its files; before, only `run` itself knew the folders they lie in.
        assert any(line.startswith("Plan:") for line in running.stderr)
    finally:
        running.kill()
        running.communicate()
    done = process("worker")
    assert done.exit_code == 0, done.stderr
    assert lines(done.stdout)[-1].endswith("ClassifyPixelsUsingDeepLearning succeeded"), done.stderr
    assert process("worker").stdout == ""
    (made,) = tmp_path.glob("data/items/*/*.tif")
    with rasterio.open(made) as dataset:
        assert dataset.shape == (560, 600)


def test_the_list_names_every_tool_with_its_parameters(command):
    told = json.loads(command("run", "list", "--json").stdout)
    assert "inputRaster" in told["DetectObjectsUsingDeepLearning"]
    text = command("run", "list").stdout
    for tool, parameters in told.items():
        assert f"{tool}: " in text
        assert all(f"  --{name}" in text for name in parameters)


def test_a_user_is_added_once_and_gets_a_token(tmp_path, command):
    data = tmp_path / "data"
    made = json.loads(command("users", "add", "ann", "--role", "viewer", "--data", data, "--json").stdout)
    assert (made["name"], made["role"]) == ("ann", "viewer")
    assert len(made["password"]) >= 16
    again = command("users", "add", "ann", "--data", data)
    assert (again.exit_code, again.stderr) == (2, "error: user name 'ann' is taken; choose another\n")
    token = command("token", "ann", "--data", data, "--minutes", 5).stdout.strip()
    unknown = command("token", "bob", "--data", data)
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    portal = Portal(PortalSettings(data, "https://127.0.0.1:8443"))
    try:
        assert portal.tokens.user_of(token).name == "ann"
        assert portal.users.verify("ann", made["password"]).role is Role.VIEWER
    finally:
        portal.close()


def test_the_page_of_the_command_line_knows_every_suffix_and_code():
    page = (SAMPLES.parent / "docs" / "command-line.md").read_text()
    for task, suffixes in SUFFIXES.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{WORDS[task]}`"))
        assert all(f"`{suffix}`" in row for suffix in suffixes)
    assert f"| {INTERRUPTED} |" in page
    options = {text for name in WORDS.values() for option in main.commands[name].params for text in option.opts}
    of_tools = {f"--{info.name}" for tool in TOOLS.values() for info in tool.describe()}
    named = set(re.findall(r"--[a-z][a-zA-Z-]+", page)) - {"--help", "--data", "--store"}
    assert named <= options | of_tools
    assert {"--extent", "--mask", "--json", "--overwrite", "--run-nms", "--merge"} <= named
