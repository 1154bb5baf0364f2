"""Packages around networks of a few numbers, made in milliseconds."""

from __future__ import annotations

import json
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

TILE = 64


def write_folder(folder: Path, *, bands: int = 3, layers: int = 0, **keys: Any) -> Path:
    """Write a pixel classifier of three classes that looks at one pixel at a time, as a package folder.

    Each of `layers` adds half a billion operations a tile: work that takes time and changes nothing else.
    """
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(_network(bands, layers))
    definition = {
        "Framework": "ONNX",
        "ModelName": "Tiny",
        "ModelType": "ImageClassification",
        "ModelFile": "model.onnx",
        "ImageHeight": TILE,
        "ImageWidth": TILE,
        "ExtractBands": list(range(bands)),
        "Classes": [{"Value": v, "Name": f"class {v}", "Color": [80 * v, 9, 9]} for v in (1, 2, 3)],
        "RasterAnalysis": {
            "Version": 1,
            "Input": {"Layout": "NCHW", "DataType": "float32", "Mean": [0.0] * bands, "Std": [255.0] * bands},
            "Output": {"Decoder": "pixels"},
            "Context": 0,
        },
        **keys,
    }
    (folder / "model.emd").write_text(json.dumps({k: v for k, v in definition.items() if v is not None}))
    return folder


def write_package(path: Path, **arguments: Any) -> Path:
    """Write the same as an archive."""
    folder = write_folder(path.with_suffix(".folder"), **arguments)
    with zipfile.ZipFile(path, "w") as archive:
        for member in sorted(folder.iterdir()):
            archive.write(member, member.name)
    return path


def _network(bands: int, layers: int) -> bytes:
    """Return 1 x 1 convolutions from the bands to three scores, with `layers` wide ones in between."""
    generator = np.random.default_rng(3)
    widths = [bands, *[256] * (layers + 1 if layers else 0), 3]
    nodes, initial, last = [], [], "x"
    for index, (before, after) in enumerate(pairwise(widths)):
        kernel = generator.normal(0, before**-0.5, (after, before, 1, 1)).astype(np.float32)
        initial.append(numpy_helper.from_array(kernel, f"kernel{index}"))
        name = "scores" if index == len(widths) - 2 else f"mixed{index}"
        nodes.append(helper.make_node("Conv", [last, f"kernel{index}"], [name]))
        last = name
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, bands, TILE, TILE])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 3, TILE, TILE])
    graph = helper.make_graph(nodes, "tiny", [entry], [scores], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
