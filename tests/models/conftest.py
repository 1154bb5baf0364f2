"""Tiny networks and packages, made on the fly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from raster_analysis.handle import Handle
from raster_analysis.models.load import PackageModels

Package = Callable[..., Handle]
Axis = int | str | None


@pytest.fixture
def networks() -> SimpleNamespace:
    """Writers of ONNX networks that numpy can follow."""
    return SimpleNamespace(mixing=mixing, constant=constant_outputs, finish=finish)


@pytest.fixture
def models(tmp_path: Path) -> PackageModels:
    return PackageModels(tmp_path / "cache")


@pytest.fixture
def make_package(tmp_path: Path) -> Package:
    """Return a function that writes a package folder around a network file and gives its handle."""

    def make(network: bytes | Path, file_name: str = "model.onnx", **keys: Any) -> Handle:
        folder = tmp_path / f"package{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        data = network.read_bytes() if isinstance(network, Path) else network
        (folder / file_name).write_bytes(data)
        definition: dict[str, Any] = {
            "Framework": "PyTorch",
            "ModelConfiguration": "tiny",
            "ModelType": "ImageClassification",
            "ModelFile": file_name,
            "ImageHeight": 32,
            "ImageWidth": 32,
            "ExtractBands": [0, 1, 2],
            "Classes": [{"Value": v, "Name": f"class {v}", "Color": [v, v, v]} for v in range(3)],
        }
        definition |= keys
        text = json.dumps({name: value for name, value in definition.items() if value is not None})
        (folder / "model.emd").write_text(text)
        return Handle("package", str(folder), "tiny")

    return make


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return a function that gives the same made-up tiles every time."""

    def make(*shape: int, dtype: str = "uint8", high: int = 256) -> np.ndarray:
        generator = np.random.default_rng(7)
        if np.issubdtype(np.dtype(dtype), np.floating):
            return generator.uniform(0, high, shape).astype(dtype)
        return generator.integers(0, high, shape).astype(dtype)

    return make


def mixing(weights: np.ndarray, bias: np.ndarray, *, shape: Sequence[Axis], crop: int = 0, tail: str = "") -> bytes:
    """Return a 1 x 1 convolution `(classes, bands)`, optionally cropped by `crop` per side and activated."""
    kernel = weights.astype(np.float32)[:, :, None, None]
    initial = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias.astype(np.float32), "bias")]
    nodes = [helper.make_node("Conv", ["x", "kernel", "bias"], ["mixed"])]
    last = "mixed"
    if crop:
        for name, values in (("starts", [crop, crop]), ("ends", [-crop, -crop]), ("axes", [2, 3])):
            initial.append(numpy_helper.from_array(np.array(values, np.int64), name))
        nodes.append(helper.make_node("Slice", [last, "starts", "ends", "axes"], ["cropped"]))
        last = "cropped"
    if tail:
        attributes = {"axis": 1} if tail in ("Softmax", "ArgMax") else {}
        if tail == "ArgMax":
            attributes["keepdims"] = 0
        nodes.append(helper.make_node(tail, [last], ["activated"], **attributes))
        last = "activated"
    spatial = [s - 2 * crop if isinstance(s, int) else None for s in shape[2:]]
    out = [shape[0], *([] if tail == "ArgMax" else [len(weights)]), *spatial]
    kind = TensorProto.INT64 if tail == "ArgMax" else TensorProto.FLOAT
    return finish(nodes, initial, ("x", TensorProto.FLOAT, shape), [(last, kind, out)])


def finish(nodes: list, initial: list, entry: tuple, outputs: list[tuple]) -> bytes:
    """Return the bytes of a graph with one input."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(*entry)],
        [helper.make_tensor_value_info(*output) for output in outputs],
        initial,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def constant_outputs(arrays: dict[str, np.ndarray], *, shape: Sequence[Axis]) -> bytes:
    """Return a network that gives the same tensors whatever it sees."""
    nodes, initial, outputs = [], [], []
    zero = numpy_helper.from_array(np.float32(0), "zero")
    initial.append(zero)
    nodes += [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Mul", ["top", "zero"], ["nothing"]),
    ]
    for name, array in arrays.items():
        initial.append(numpy_helper.from_array(array, f"{name}_constant"))
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        nodes.append(helper.make_node("Cast", ["nothing"], [f"{name}_zero"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}_constant", f"{name}_zero"], [name]))
        outputs.append((name, kind, array.shape))
    return finish(nodes, initial, ("x", TensorProto.FLOAT, shape), outputs)
