"""Changes between two dates, from Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from onnx import TensorProto, helper, numpy_helper

import raster_analysis
from raster_analysis.errors import ParameterError


@pytest.fixture
def dates(make_raster, tmp_path, noise):
    return make_raster(tmp_path / "before.tif", noise), make_raster(tmp_path / "after.tif", noise[:, ::-1])


@pytest.fixture
def package(make_classifier):
    return make_classifier([120, 260, 380], bands=2)


def test_changes_are_what_numpy_finds_in_both_dates(dates, package, noise, tmp_path):
    result = raster_analysis.detect_change(*dates, package, tmp_path / "out.tif", precision="fp32")
    sums = noise[0].astype(int) + noise[0, ::-1]
    with rasterio.open(result.path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), np.digitize(sums, [120, 260, 380], right=True) * 10 + 10)
    assert any("Plan: 280 x 300 pixels" in message for message in result.messages)


def test_neither_date_is_overwritten(dates, package):
    for date in dates:
        content = date.read_bytes()
        with pytest.raises(ParameterError, match="is the input raster"):
            raster_analysis.detect_change(*dates, package, date, overwrite=True)
        assert date.read_bytes() == content


def test_a_raster_of_a_folder_of_inputs_is_not_overwritten(make_raster, noise, classifier, tmp_path):
    (tmp_path / "tiles").mkdir()
    inside = make_raster(tmp_path / "tiles" / "a.tif", noise)
    with pytest.raises(ParameterError, match="is the input raster"):
        raster_analysis.classify_pixels(tmp_path / "tiles", classifier, inside, overwrite=True)


def test_an_argument_that_does_not_exist_is_named(dates, package, tmp_path):
    with pytest.raises(ParameterError, match="did you mean 'padding'"):
        raster_analysis.detect_change(*dates, package, tmp_path / "out.tif", pading=3)


@pytest.fixture
def siamese(tmp_path):
    """A package whose network takes the dates apart, the later first: it says where the later is brighter by 40."""
    bias = numpy_helper.from_array(np.array([40, 0], np.float32).reshape(1, 2, 1, 1), "bias")
    turn = numpy_helper.from_array(np.array([0, 1], np.float32).reshape(1, 2, 1, 1), "turn")
    nodes = [
        helper.make_node("Sub", ["after", "before"], ["gain"]),
        helper.make_node("Mul", ["gain", "turn"], ["turned"]),
        helper.make_node("Add", ["turned", "bias"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, "h", "w"]) for name in ("after", "before")
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2, "h", "w"])]
    graph = helper.make_graph(nodes, "siamese", inputs, outputs, [bias, turn])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    folder = tmp_path / "siamese"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    definition = {
        "Framework": "ONNX", "ModelType": "ImageClassification", "ModelFile": "net.onnx",
        "ImageHeight": 64, "ImageWidth": 64, "ExtractBands": [0, 1],
        "Classes": [{"Value": 5, "Name": "as before", "Color": [9, 9, 9]},
                    {"Value": 7, "Name": "brighter", "Color": [200, 9, 9]}],
        "RasterAnalysis": {"Input": {"Names": ["before", "after"]}, "Output": {"Decoder": "pixels"}},
    }  # fmt: skip
    (folder / "net.emd").write_text(json.dumps(definition))
    return folder


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_network_that_takes_the_dates_apart_gives_what_numpy_gives(dates, siamese, noise, tmp_path, runtime):
    out = tmp_path / "out.tif"
    raster_analysis.detect_change(*dates, siamese, out, precision="fp32", runtime=runtime)
    gain = noise[0, ::-1].astype(int) - noise[0]
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(1), np.where(gain > 40, 7, 5))
