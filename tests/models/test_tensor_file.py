from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from raster_analysis.errors import ModelError
from raster_analysis.models.tensor_file import Tensor, read_exported, read_onnx


def write(folder, data):
    path = Path(folder) / "model.onnx"
    path.write_bytes(data)
    return path


def external_model(folder, location, *, in_subgraph=False):
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    nodes, initial = [helper.make_node("Add", ["x", "weights"], ["y"])], [tensor]
    if in_subgraph:
        branch = helper.make_graph([helper.make_node("Identity", ["weights"], ["b"])], "b", [], [out], [tensor])
        nodes, initial = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)], []
    graph = helper.make_graph(nodes, "g", [entry], [out], initial)
    return write(folder, helper.make_model(graph).SerializeToString())


def test_tensors_are_those_that_onnx_reads(tmp_path, networks):
    data = networks.mixing(np.ones((2, 3)), np.zeros(2), shape=["n", 3, 32, "w"])
    tensors = read_onnx(write(tmp_path, data))
    assert tensors.inputs == (Tensor("x", "float32", (None, 3, 32, None)),)
    assert tensors.outputs == (Tensor("mixed", "float32", (None, 2, 32, None)),)


def test_weights_that_are_listed_as_inputs_are_none(tmp_path, networks):
    model = onnx.load_from_string(networks.mixing(np.ones((2, 3)), np.zeros(2), shape=[1, 3, 8, 8]))
    model.graph.input.append(helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [2, 3, 1, 1]))
    tensors = read_onnx(write(tmp_path, model.SerializeToString()))
    assert [tensor.name for tensor in tensors.inputs] == ["x"]


@pytest.mark.parametrize("in_subgraph", [False, True])
@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "missing.bin", "link.bin"])
def test_external_data_outside_the_package_is_refused(tmp_path, location, in_subgraph):
    folder = tmp_path / "package"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match="is not a file inside the package"):
        read_onnx(external_model(folder, location, in_subgraph=in_subgraph))


def test_external_data_inside_the_package_is_fine(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    assert read_onnx(external_model(tmp_path, "weights.bin")).inputs[0].shape == (None, 4)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_damaged_files_are_refused_and_never_crash(tmp_path_factory, noise_bytes, cut):
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    node = helper.make_node("Neg", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    whole = helper.make_model(helper.make_graph([node], "g", value[:1], value[1:])).SerializeToString()
    path.write_bytes(whole[: cut % len(whole)] + noise_bytes)
    with contextlib.suppress(ModelError):
        read_onnx(path)


def test_an_exported_program_tells_its_shapes(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Conv2d(3, 5, 1)
    axes = ({0: torch.export.Dim("n", min=1, max=8)},)
    program = torch.export.export(network, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=axes)
    data = io.BytesIO()
    torch.export.save(program, data)
    path = tmp_path / "model.pt2"
    path.write_bytes(data.getvalue())
    tensors = read_exported(path)
    assert tensors.inputs[0].shape == (None, 3, 16, 16)
    assert (tensors.inputs[0].data_type, tensors.outputs[0].shape) == ("float32", (None, 5, 16, 16))
