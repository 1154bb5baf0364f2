"""The functions of the tools, phase by phase, on files as small as can be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
from affine import Affine
from onnx import TensorProto, helper, numpy_helper
from raster_analysis.tools import TOOLS

import dlpk
from raster_analysis.errors import InputChanged, JobError, ModelError, OutputError, ParameterError
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.perform import perform, perform_all
from raster_analysis.rasters.resolver import resolve_package, resolve_raster
from raster_analysis.task import PLAN, Phase, Task
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

CLASSIFY = "ClassifyPixelsUsingDeepLearning"
FORM = {"inputRaster": "a", "model": "b", "outputClassifiedRaster": "Cover", "modelArguments": {"padding": "0"}}


@pytest.fixture
def package(tmp_path):
    """Pixels above 100 are of class 2, all others of class 1."""
    kernel = np.array([0, 1], np.float32).reshape(2, 1, 1, 1)
    initial = [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(np.array([0, -100], np.float32), "b")]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 32, 32])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 32, 32])
    graph = helper.make_graph([helper.make_node("Conv", ["x", "k", "b"], ["y"])], "g", [entry], [scores], initial)
    folder = tmp_path / "package"
    folder.mkdir()
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "net.onnx")
    definition = {
        "Framework": "ONNX",
        "ModelName": "Bright",
        "ModelType": "ImageClassification",
        "ModelFile": "net.onnx",
        "ImageHeight": 32,
        "ImageWidth": 32,
        "ExtractBands": [0],
        "Classes": [{"Value": 1, "Name": "dark"}, {"Value": 2, "Name": "bright", "Color": [255, 255, 0]}],
        "RasterAnalysis": {"Version": 1, "Input": {"Scale": 1.0}, "Output": {"Decoder": "pixels"}},
    }
    (folder / "model.emd").write_text(json.dumps(definition))
    return folder


@pytest.fixture
def raster(tmp_path):
    pixels = np.random.default_rng(4).integers(0, 200, (1, 70, 90)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=1, height=70, width=90, dtype="uint8", crs="EPSG:32616",
        transform=Affine(1, 0, 500_000, 0, -1, 4_000_000), nodata=0,
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return tmp_path / "a.tif", pixels[0]


@pytest.fixture
def bench(tmp_path):
    return make_bench(2**30, tmp_path / "unpacked", threads=1)


@pytest.fixture
def make_context(tmp_path, bench):
    def make(**handles):
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        return Context(
            folder=folder, handles=handles, report=ListReporter(), rasters=bench.rasters, models=bench.models,
            features=bench.features, memory_limit=2**30, threads=1,
        )  # fmt: skip

    return make


@pytest.fixture
def context(make_context, raster, package):
    return make_context(inputRaster=resolve_raster(str(raster[0])), model=resolve_package(str(package)))


def task(phase, **more):
    return Task("j", 1, CLASSIFY, phase, "", FORM, {}, **more)


def test_phases_hand_on_nothing_but_json_and_files(context, raster):
    plan = perform(task(Phase.PLAN), TOOLS, context).plan
    plan = PLAN.validate_json(PLAN.dump_json(plan))
    results = [perform(task(Phase.BLOCK, plan=plan, block=block), TOOLS, context).result for block in plan.blocks]
    (output,) = perform(task(Phase.FINISH, plan=plan, results=tuple(reversed(results))), TOOLS, context).outputs
    with rasterio.open(output.path) as dataset:
        wanted = np.where(raster[1] == 0, 0, np.where(raster[1] > 100, 2, 1))
        np.testing.assert_array_equal(dataset.read(1), wanted)
    shares = {"dark": (wanted == 1).mean(), "bright": (wanted == 2).mean()}
    assert output.statistics["classes"] == pytest.approx(shares, abs=1e-6)
    assert output.statistics["nodata"] == pytest.approx((wanted == 0).mean(), abs=1e-6)


def test_a_block_gives_the_same_file_each_time(context):
    plan = perform(task(Phase.PLAN), TOOLS, context).plan
    first, second = (perform(task(Phase.BLOCK, plan=plan, block=plan.blocks[0]), TOOLS, context).result for _ in "ab")
    assert first.sha256 == second.sha256


def test_a_block_file_that_was_changed_is_not_put_together(context):
    plan = perform(task(Phase.PLAN), TOOLS, context).plan
    result = perform(task(Phase.BLOCK, plan=plan, block=plan.blocks[0]), TOOLS, context).result
    with (context.folder / result.file).open("ab") as file:
        file.write(b"more")
    with pytest.raises(OutputError, match="is not the one that was recorded"):
        perform(task(Phase.FINISH, plan=plan, results=(result,)), TOOLS, context)


def test_an_input_that_changed_ends_the_job(context, raster):
    plan = perform(task(Phase.PLAN), TOOLS, context).plan
    with raster[0].open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputChanged, match=r"'a\.tif' was changed or removed"):
        perform(task(Phase.BLOCK, plan=plan, block=plan.blocks[0]), TOOLS, context)


def test_a_phase_without_what_it_needs_is_an_error(context):
    with pytest.raises(JobError, match="came without what it needs"):
        perform(task(Phase.BLOCK), TOOLS, context)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"confidenceScoreField": "Score"}, "confidenceScoreField 'Score' is no field; want Confidence"),
        ({"classValueField": "Kind"}, "classValueField 'Kind' is no field; want Class or nothing"),
        ({"maxOverlapRatio": 2}, "maxOverlapRatio 2.0 is not from 0 to 1"),
    ],
)
def test_what_thins_out_features_is_checked_before_the_work(context, form, words):
    whole = {**FORM, "outputObjects": "Found", "runNMS": True, **form}
    with pytest.raises(ParameterError, match=words):
        perform_all(TOOLS["DetectObjectsUsingDeepLearning"], whole, context)


def test_a_folder_is_published_as_an_archive_that_checks(make_context, package):
    context = make_context(modelLocation=resolve_package(str(package)))
    (output,) = perform_all(TOOLS["PublishDeepLearningModel"], {"modelLocation": "a", "outputName": "Bright"}, context)
    assert output.statistics == {"title": "Bright"}
    assert dlpk.check(output.path).valid
    again = make_context(modelLocation=resolve_package(output.path))
    again = replace(again, folder=context.folder / "again")
    again.folder.mkdir()
    (copy,) = perform_all(TOOLS["PublishDeepLearningModel"], {"modelLocation": "a", "outputName": "Bright"}, again)
    assert Path(output.path).read_bytes() == Path(copy.path).read_bytes()


def test_a_package_with_faults_is_not_published_and_each_is_told(make_context, package):
    definition = json.loads((package / "model.emd").read_text())
    (package / "model.emd").write_text(json.dumps({**definition, "ModelFile": "gone.onnx", "ImageHeight": -3}))
    context = make_context(modelLocation=resolve_package(str(package)))
    with pytest.raises(ModelError, match="package 'package' cannot be published"):
        perform_all(TOOLS["PublishDeepLearningModel"], {"modelLocation": "a", "outputName": "Bright"}, context)
    told = " ".join(text for level, text in context.report.messages if level == "error")
    assert "gone.onnx" in told
    assert "ImageHeight" in told
    assert str(package) not in told


def test_a_model_is_described_as_clients_read_it(make_context, package):
    context = make_context(model=resolve_package(str(package)))
    (output,) = perform_all(TOOLS["QueryDeepLearningModelInfo"], {"model": "a"}, context)
    told = json.loads(output.value["modelInfo"])
    assert (told["Framework"], told["ModelName"], told["ModelType"]) == ("ONNX", "Bright", "ImageClassification")
    assert told["Classes"] == [
        {"Value": 1, "Name": "dark", "Color": None},
        {"Value": 2, "Name": "bright", "Color": [255, 255, 0]},
    ]
    assert {argument["name"] for argument in told["arguments"]} == {"padding", "batch_size"}
    assert told["ParameterInfo"] == told["arguments"]


class Shelf:
    """A catalog with two models."""

    def models(self):
        return [{"id": "1"}, {"id": "2"}]


def test_the_list_is_the_catalog_of_the_user():
    tool = TOOLS["ListDeepLearningModels"]
    (output,) = tool.answer(tool.parse({}), Shelf())
    assert output.value == [{"id": "1"}, {"id": "2"}]
