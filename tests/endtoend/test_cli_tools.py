"""Tools that take more than one input, run from a shell on local files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio


def run_tool(process, *arguments):
    done = process("run", *arguments, "--data", "data", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def dates(make_raster, tmp_path, noise):
    return make_raster(tmp_path / "before.tif", noise), make_raster(tmp_path / "after.tif", noise[:, ::-1])


def test_changes_between_two_local_rasters_and_a_copy(dates, noise, make_classifier, tmp_path, process):
    package = make_classifier([120, 260, 380], bands=2)
    run_tool(
        process, "DetectChangeUsingDeepLearning", "--from-raster", dates[0], "--to-raster", dates[1],
        "--model-definition", package, "--outputClassifiedRasterName", "Changes", "--context", '{"precision": "fp32"}',
    )  # fmt: skip
    run_tool(process, "CopyRaster", "--inputRaster", dates[0], "--outputName", "Copy")
    made = {path.stem.split("-")[0]: path for path in (tmp_path / "data" / "items").glob("*/*.tif")}
    assert len(made) == 2
    arrays = []
    for path in made.values():
        with rasterio.open(path) as dataset:
            arrays.append(dataset.read(1))
    sums = noise[0].astype(int) + noise[0, ::-1]
    expected = [np.digitize(sums, [120, 260, 380], right=True) * 10 + 10, noise[0]]
    assert all(any(np.array_equal(array, one) for array in arrays) for one in expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["DetectChangeUsingDeepLearning", "--fromRaster", "{raster}"], "required parameter toRaster is missing"),
        (["DetectChangeUsingDeepLearning", "--fromRastr", "{raster}"], "did you mean --fromRaster?"),
        (
            ["DetectChangeUsingDeepLearning", "--fromRaster", "{raster}", "--toRaster", "later.tif",
             "--modelDefinition", "{raster}", "--outputClassifiedRasterName", "o"],
            "--toRaster 'later.tif' was not found",
        ),
        (["ClassifyObjectsUsingDeepLearning", "--inputRaster", "{raster}"], "required parameter"),
        (["CopyRaster", "--inputRaster", "none.tif", "--outputName", "o"], "--inputRaster 'none.tif' was not found"),
        (["CopyRaster", "--inputRaster", "{raster}", "--outputName", "o", "--resampling-method", "best"], "'NEAREST',"),
        (["ComputeAccuracyforObjectDetection", "--detectedFeatures", "a.gpkg"], "required parameter"),
    ],
    ids=["missing", "misspelt", "no file", "objects", "copy", "choice", "accuracy"],
)  # fmt: skip
def test_a_mistake_is_told_before_a_job_begins(raster, tmp_path, monkeypatch, command, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = command("run", *(argument.format(raster=raster) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()
