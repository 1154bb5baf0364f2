from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine

RUNTIMES = ["onnxruntime", "openvino"]
CLASSES = [{"Value": 4, "Name": "tree"}, {"Value": 9, "Name": "car"}]


def extension(decoder, **output):
    return {"Version": 1, "Output": {"Decoder": decoder, **output}}


def candidates(batch):
    """Rows cx, cy, w, h, objectness, two class scores."""
    rows = np.zeros((batch, 4, 7), np.float32)
    for index in range(batch):
        rows[index, 0] = [10 + index, 12, 8, 6, 0.9, 0.1, 0.9]
        rows[index, 1] = [10 + index, 12, 8, 5, 0.9, 0.1, 0.8]
        rows[index, 2] = [25, 25, 4, 4, 0.8, 0.9, 0.1]
    return rows


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_yolo_head_is_decoded_and_suppressed(models, make_package, networks, noise, runtime):
    network = networks.constant({"output": candidates(2)}, shape=[2, 3, 32, 32])
    handle = make_package(
        network, ModelType="ObjectDetection", Classes=CLASSES, Threshold=0.6, RasterAnalysis=extension("yolov5")
    )
    info = models.describe(handle)
    assert (info.fixed_batch, info.threshold, info.nms_overlap, info.values) == (2, 0.6, 0.1, (4, 9))
    found = models.load(handle, Engine(device="cpu", runtime=runtime)).detect(noise(3, 3, 32, 32), (0, 255))
    assert [len(part) for part in found] == [2, 2, 2]
    np.testing.assert_allclose(found[1].boxes_xyxy, [[7, 9, 15, 15], [23, 23, 27, 27]])
    np.testing.assert_allclose(found[1].scores, [0.81, 0.72], atol=1e-6)
    assert found[1].labels.tolist() == [1, 0]
    kept = models.load(handle, Engine(device="cpu", runtime=runtime, threshold=0.75, nms_overlap=1.0))
    assert [len(part) for part in kept.detect(noise(2, 3, 32, 32), (0, 255))] == [1, 1]


def bright_pixels():
    """A detector whose number of boxes depends on the tile: one box for each pixel above 200 in the first band."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["band"], axis=0),
        helper.make_node("Greater", ["band", "level"], ["bright"]),
        helper.make_node("NonZero", ["bright"], ["places"]),
        helper.make_node("Transpose", ["places"], ["rowcol"], perm=[1, 0]),
        helper.make_node("Cast", ["rowcol"], ["corner"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["corner", "swap"], ["start"], axis=1),
        helper.make_node("Add", ["start", "one"], ["stop"]),
        helper.make_node("Concat", ["start", "stop"], ["boxes"], axis=1),
        helper.make_node("ReduceMax", ["start"], ["widest"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["widest", "nought"], ["nothing"]),
        helper.make_node("Add", ["nothing", "sure"], ["scores"]),
        helper.make_node("Cast", ["scores"], ["labels"], to=TensorProto.INT64),
    ]
    values = {"zero": np.int64(0), "level": np.float32(200), "swap": np.array([1, 0]), "one": np.float32(1)}
    values |= {"nought": np.float32(0), "sure": np.float32(1)}
    initial = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    outputs = [
        ("boxes", TensorProto.FLOAT, ["k", 4]),
        ("scores", TensorProto.FLOAT, ["k"]),
        ("labels", TensorProto.INT64, ["k"]),
    ]
    return nodes, initial, ("x", TensorProto.FLOAT, [3, 32, 32]), outputs


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_for_one_image_gets_tile_after_tile(models, make_package, networks, runtime):
    handle = make_package(
        networks.finish(*bright_pixels()),
        ModelType="ObjectDetection",
        Classes=CLASSES,
        RasterAnalysis=extension("boxes", LabelOffset=1),
    )
    assert models.describe(handle).fixed_batch == 1
    tiles = np.zeros((3, 3, 32, 32), np.uint8)
    tiles[0, 0, 5, 7] = tiles[0, 0, 20, 3] = tiles[2, 0, 31, 31] = 255
    found = models.load(handle, Engine(device="cpu", runtime=runtime)).detect(tiles, (0, 255))
    assert [part.boxes_xyxy.tolist() for part in found] == [[[7, 5, 8, 6], [3, 20, 4, 21]], [], [[31, 31, 32, 32]]]
    assert found[0].labels.tolist() == [0, 0]


def test_boxes_are_compared_before_reduced_precision_is_taken(models, make_package, networks, noise):
    network = networks.constant({"output": candidates(2)}, shape=[2, 3, 32, 32])
    handle = make_package(network, ModelType="ObjectDetection", Classes=CLASSES, RasterAnalysis=extension("yolov5"))
    engine, reasons = models.settle(handle, Engine(device="cpu", runtime="openvino"), noise(2, 3, 32, 32), (0, 255))
    said = next(reason for reason in reasons if reason.startswith("precision"))
    assert (engine.precision == "bf16") == ("boxes agreed with fp32" in said and "was tried" not in said)


def test_a_detector_without_a_decoder_is_refused_with_the_choice(models, make_package, networks):
    network = networks.constant({"output": candidates(2)}, shape=[2, 3, 32, 32])
    with pytest.raises(ModelError, match=r"[Dd]ecoder"):
        models.describe(make_package(network, ModelType="ObjectDetection", Classes=CLASSES))


def test_a_decoder_that_does_not_fit_is_found_at_load(models, make_package, networks):
    network = networks.constant({"output": candidates(2)}, shape=[2, 3, 32, 32])
    handle = make_package(network, ModelType="ObjectDetection", Classes=CLASSES, RasterAnalysis=extension("yolov8"))
    with pytest.raises(ModelError, match="expects 6 numbers a box"):
        models.load(handle, Engine(device="cpu"))


def test_a_classifier_cannot_be_asked_of_a_detector(models, make_package, networks, noise):
    network = networks.constant({"output": candidates(2)}, shape=[2, 3, 32, 32])
    handle = make_package(network, ModelType="ObjectDetection", Classes=CLASSES, RasterAnalysis=extension("yolov5"))
    with pytest.raises(ModelError, match="cannot classify pixels"):
        models.load(handle, Engine(device="cpu")).classify(noise(1, 3, 32, 32), (0, 255))
