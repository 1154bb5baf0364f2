from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raster_analysis.detections import Detections
from raster_analysis.errors import InputChanged, ModelError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.model_info import Engine
from raster_analysis.models.load import PackageModels
from raster_analysis.models.precision import matched_boxes

ENGINE = Engine(device="cpu", runtime="onnxruntime", precision="fp32")
WEIGHTS = np.random.default_rng(1).normal(size=(3, 3))


@pytest.fixture
def network(networks):
    return networks.mixing(WEIGHTS, np.zeros(3), shape=["n", 3, "h", "w"])


def test_the_last_models_stay_warm_and_the_oldest_goes(make_package, network, tmp_path):
    models = PackageModels(tmp_path / "cache", capacity=2)
    handle = make_package(network)
    engines = [replace(ENGINE, batch_size=size) for size in (1, 2, 3)]
    first, second = models.load(handle, engines[0]), models.load(handle, engines[1])
    assert models.load(handle, engines[0]) is first
    models.load(handle, engines[2])
    assert models.load(handle, engines[0]) is first
    assert models.load(handle, engines[1]) is not second


def test_a_changed_package_is_loaded_anew(make_package, network, networks, tmp_path):
    models = PackageModels(tmp_path / "cache")
    handle = make_package(network)
    tiles = np.random.default_rng(2).integers(0, 255, (1, 3, 32, 32)).astype(np.uint8)
    before = models.load(handle, ENGINE).classify(tiles, (0, 255))
    file = Path(handle.path) / "model.onnx"
    file.write_bytes(networks.mixing(-WEIGHTS, np.zeros(3), shape=["n", 3, "h", "w"]))
    os.utime(file, ns=(1, 1))
    after = models.load(handle, ENGINE).classify(tiles, (0, 255))
    assert (before != after).any()


def test_a_dlpk_is_unpacked_once_into_the_cache(make_package, network, models, tmp_path):
    folder = Path(make_package(network).path)
    archive = tmp_path / "roads.dlpk"
    with zipfile.ZipFile(archive, "w") as target:
        for file in folder.iterdir():
            target.write(file, file.name)
    handle = Handle("package", str(archive), "roads.dlpk", stamp=Stamp.of(archive))
    assert models.describe(handle).bands == (0, 1, 2)
    models.load(handle, ENGINE)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    archive.write_bytes(b"gone")
    with pytest.raises(InputChanged, match=r"'roads\.dlpk' was changed"):
        PackageModels(tmp_path / "cache").describe(handle)


def test_an_emd_file_stands_for_its_folder(make_package, network, models):
    handle = make_package(network)
    assert models.describe(replace(handle, path=str(Path(handle.path) / "model.emd"))).name


def test_settle_leaves_nothing_open_and_gives_the_same_answer_each_time(make_package, network, tmp_path):
    handle = make_package(network, RasterAnalysis={"Version": 1, "Input": {"Scale": 1 / 255}})
    tiles = np.random.default_rng(3).integers(0, 255, (3, 3, 32, 32)).astype(np.uint8)
    answers = {PackageModels(tmp_path / f"c{i}").settle(handle, Engine(), tiles, (0, 255)) for i in range(2)}
    ((engine, reasons),) = answers
    assert "auto" not in (engine.device, engine.precision, engine.runtime)
    assert 0 not in (engine.tile_height, engine.tile_width, engine.batch_size)
    assert None not in (engine.threshold, engine.nms_overlap)
    for word in ("device", "runtime", "precision", "normalisation"):
        assert any(reason.startswith(f"{word} ") for reason in reasons)


def test_reduced_precision_that_changes_labels_is_not_taken(make_package, networks, models):
    pytest.importorskip("openvino")
    # Scores of 1000 and of 1001 to 1003 are the same number in bf16.
    network = networks.mixing(np.eye(3), np.full(3, 1000), shape=["n", 3, 32, 32])
    tiles = np.random.default_rng(4).integers(0, 4, (2, 3, 32, 32)).astype(np.uint8)
    engine, reasons = models.settle(make_package(network), Engine(device="cpu"), tiles, (0, 255))
    assert engine.precision == "fp32"
    if any("was tried" in reason for reason in reasons):
        assert any("bf16 was tried and labels agreed with fp32 on" in reason for reason in reasons)


def test_precision_auto_without_settling_is_fp32(make_package, network, models):
    assert models.load(make_package(network), Engine(device="cpu")).engine.precision == "fp32"


def test_partners_have_the_same_class_and_nearly_the_same_box():
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    ours = Detections(boxes, np.float32([0.9, 0.8]), np.int32([0, 1]))
    moved = Detections(boxes + 0.2, np.float32([0.9, 0.51]), np.int32([0, 1]))
    assert matched_boxes([ours], [moved], 0.55) == (3, 3)
    swapped = Detections(boxes, np.float32([0.9, 0.8]), np.int32([1, 0]))
    assert matched_boxes([ours], [swapped], 0.55) == (0, 4)


def test_a_package_that_is_not_there_is_refused_without_its_path(models, tmp_path):
    with pytest.raises(ModelError) as caught:
        models.describe(Handle("package", str(tmp_path / "nowhere"), "roads"))
    assert "'roads'" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ModelType": "PanopticSegmenter"}, "[Pp]anoptic"),
        ({"Framework": "arcgis.learn.models._inferencing", "ModelFile": "model.pth"}, "arcgis"),
        ({"ModelFile": "model.h5"}, r"\.h5|h5"),
        ({"ModelFile": "missing.onnx"}, "missing.onnx"),
    ],
)
def test_what_cannot_be_run_here_says_so(models, make_package, network, keys, message):
    name = keys.get("ModelFile", "model.onnx")
    handle = make_package(network, "model.onnx" if name == "missing.onnx" else name, **keys)
    with pytest.raises(ModelError, match=message):
        models.describe(handle)


_ONNX_ONLY = """
import sys
for name in ("torch", "torchvision", "openvino", "onnx", "safetensors"):
    sys.modules[name] = None
import numpy as np
from pathlib import Path
from raster_analysis.errors import ModelError
from raster_analysis.handle import Handle
from raster_analysis.model_info import Engine
from raster_analysis.models.load import PackageModels

models, handle = PackageModels(Path(sys.argv[2])), Handle("package", sys.argv[1], "tiny")
tiles = np.arange(3 * 32 * 32, dtype=np.uint16).reshape(1, 3, 32, 32)
engine, reasons = models.settle(handle, Engine(), tiles, (0, 255))
assert engine.runtime == "onnxruntime", engine
assert models.load(handle, engine).classify(tiles, (0, 255)).shape == (1, 32, 32)
for wanted in ("openvino",):
    try:
        models.load(handle, Engine(runtime=wanted))
    except ModelError as error:
        assert 'pip install "raster-analysis[openvino]"' in str(error), error
    else:
        raise AssertionError("openvino was found")
if len(sys.argv) > 3:
    try:
        models.load(Handle("package", sys.argv[3], "net"), Engine())
    except ModelError as error:
        assert 'pip install "raster-analysis[torch]"' in str(error), error
    else:
        raise AssertionError("torch was found")
print("fine")
"""


def test_onnx_runtime_alone_is_enough_and_what_is_missing_is_named(make_package, network, tmp_path):
    handle = make_package(network)
    architecture = {"Library": "torchvision", "Name": "resnet18"}
    # Enough of a safetensors file to be recognised: an empty header.
    weights = (2).to_bytes(8, "little") + b"{}"
    other = make_package(weights, "model.safetensors", RasterAnalysis={"Version": 1, "Architecture": architecture})
    command = [sys.executable, "-c", _ONNX_ONLY, handle.path, str(tmp_path / "cache"), other.path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "fine", done.stderr
