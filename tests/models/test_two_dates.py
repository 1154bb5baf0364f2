"""Networks that take the earlier and the later date apart, against plain numpy."""

from __future__ import annotations

import io

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine

RUNTIMES = ["onnxruntime", "openvino"]
GENERATOR = np.random.default_rng(3)
BEFORE, AFTER = GENERATOR.normal(size=(2, 3, 2)).astype(np.float32)
"""What each of two bands of a date adds to each of three scores."""
MEAN, STD = [10.0, 20.0, 30.0, 40.0], [2.0, 3.0, 4.0, 5.0]
KEYS = {"ExtractBands": [0, 1, 2, 3], "ModelType": "ImageClassification"}


def siamese(*, order=("before", "after"), shape=("n", 2, "h", "w"), kind=TensorProto.FLOAT):
    """Return an ONNX network that adds a 1 x 1 convolution of either date; `order` is that of its inputs."""
    nodes, weights = [], []
    for name, kernel in (("before", BEFORE), ("after", AFTER)):
        weights.append(numpy_helper.from_array(kernel[:, :, None, None], f"{name}_kernel"))
        nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Conv", [f"{name}_float", f"{name}_kernel"], [f"{name}_scores"]))
    nodes.append(helper.make_node("Add", ["before_scores", "after_scores"], ["scores"]))
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], 3, *shape[2:]])]
    inputs = [helper.make_tensor_value_info(name, kind, list(shape)) for name in order]
    graph = helper.make_graph(nodes, "siamese", inputs, outputs, weights)
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, ir_version=9, opset_imports=[opset]).SerializeToString()


def expected(tiles, *, mean=0.0, std=1.0):
    values = (tiles - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    added = [np.einsum("kc,nchw->nkhw", k, part) for k, part in ((BEFORE, values[:, :2]), (AFTER, values[:, 2:]))]
    return sum(added).argmax(axis=1)


def fp32(runtime):
    return Engine(device="cpu", runtime=runtime, precision="fp32")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_first_half_of_the_bands_goes_to_the_first_input(models, make_package, noise, runtime, dtype):
    handle = make_package(siamese(), **KEYS)
    tiles = noise(5, 4, 32, 32, dtype=dtype)
    assert models.describe(handle).bands == (0, 1, 2, 3)
    found = models.load(handle, fp32(runtime)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(found, expected(tiles.astype(float)))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_names_say_which_input_is_the_earlier_date_whatever_their_order(models, make_package, noise, runtime):
    tiles = noise(2, 4, 32, 32)
    extension = {"Version": 1, "Input": {"Names": ["before", "after"], "Mean": MEAN, "Std": STD}}
    handle = make_package(siamese(order=("after", "before")), RasterAnalysis=extension, **KEYS)
    found = models.load(handle, fp32(runtime)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(found, expected(tiles.astype(float), mean=MEAN, std=STD))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_bytes_are_given_as_they_are(models, make_package, noise, runtime):
    extension = {"Version": 1, "Input": {"DataType": "uint8"}}
    handle = make_package(siamese(kind=TensorProto.UINT8, shape=(2, 2, 32, 32)), RasterAnalysis=extension, **KEYS)
    tiles = noise(3, 4, 32, 32)
    found = models.load(handle, fp32(runtime)).classify(tiles, (0, 255))
    np.testing.assert_array_equal(found, expected(tiles.astype(float)))


@pytest.mark.torch
@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("names", [None, ["after", "before"]], ids=["by order", "by name"])
def test_an_exported_program_takes_two_dates_as_well(models, make_package, noise, runtime, names):
    torch = pytest.importorskip("torch")

    class Adds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.after = (torch.nn.Conv2d(2, 3, 1, bias=False) for _ in range(2))

        def forward(self, before, after):
            return self.before(before) + self.after(after)

    network = Adds()
    for layer, kernel in ((network.before, BEFORE), (network.after, AFTER)):
        layer.weight.data = torch.from_numpy(kernel[:, :, None, None].copy())
    data = io.BytesIO()
    examples = torch.zeros(2, 2, 32, 32), torch.ones(2, 2, 32, 32)
    torch.export.save(torch.export.export(network.eval(), examples), data)
    extension = {"Version": 1, "Input": {"Names": names} if names else {}}
    handle = make_package(data.getvalue(), "model.pt2", RasterAnalysis=extension, **KEYS)
    tiles = noise(2, 4, 32, 32)
    found = models.load(handle, fp32(runtime)).classify(tiles, (0, 255))
    swapped = tiles[:, [2, 3, 0, 1]] if names else tiles
    np.testing.assert_array_equal(found, expected(swapped.astype(float)))


@pytest.mark.parametrize(
    ("network", "keys", "message"),
    [
        (siamese(), {"ExtractBands": [0, 1]}, "the network takes 4 bands and ExtractBands names 2"),
        (siamese(), {"ModelType": "ObjectClassification"}, "the network has 2 inputs"),
        (siamese(), {"RasterAnalysis": {"Input": {"Name": "before"}}}, "Name both dates in RasterAnalysis.Input.Names"),
        (siamese(), {"RasterAnalysis": {"Input": {"Names": ["before", "later"]}}}, "has no input 'later'; it has 'bef"),
        (siamese(shape=(2, "c", 32, 32)), {"ExtractBands": [0, 1, 2]}, "3 bands, which cannot be two dates"),
    ],
    ids=["bands", "crops", "name", "names", "odd"],
)
def test_what_two_inputs_cannot_be_is_said(models, make_package, network, keys, message):
    handle = make_package(network, **(KEYS | keys))
    with pytest.raises(ModelError, match=message):
        models.describe(handle)


def test_two_names_for_one_input_are_refused(models, make_package, networks):
    network = networks.mixing(np.ones((3, 3)), np.zeros(3), shape=["n", 3, 32, 32])
    extension = {"Input": {"Names": ["before", "x"]}}
    with pytest.raises(ModelError, match="has no input 'before'"):
        models.describe(make_package(network, RasterAnalysis=extension))
