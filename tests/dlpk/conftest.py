"""Tiny real packages, and a ZIP writer that can lie about everything."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

import dlpk
from dlpk.findings import errors_of

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "emd"


@dataclass
class Entry:
    """A member as it is written; what is None is told truthfully."""

    name: bytes
    data: bytes = b"x"
    method: int = 0
    flags: int = 0
    attributes: int = 0
    size: int | None = None
    packed: int | None = None
    offset: int | None = None
    disk: int = 0
    extra: bytes = b""
    local_name: bytes | None = None
    local_size: int | None = None
    local_method: int | None = None
    descriptor: bytes = b""


def write_zip(entries: list[Entry], *, count: int | None = None, before: bytes = b"", comment: bytes = b"") -> bytes:
    """Write local headers, data, directory and end record as told."""
    out, directory = bytearray(before), bytearray()
    for entry in entries:
        body = _compress(entry.data) if entry.method == 8 else entry.data
        crc = zlib.crc32(entry.data)
        size = len(entry.data) if entry.size is None else entry.size
        packed = len(body) if entry.packed is None else entry.packed
        offset = len(out) if entry.offset is None else entry.offset
        local_size = size if entry.local_size is None else entry.local_size
        local_method = entry.method if entry.local_method is None else entry.local_method
        local_name = entry.name if entry.local_name is None else entry.local_name
        sizes = (0, 0, 0) if entry.flags & 8 else (crc, packed, local_size)
        local = (b"PK\x03\x04", 20, entry.flags, local_method, 0, 33, *sizes, len(local_name), 0)
        if entry.offset is None:
            out += struct.pack("<4s5H3L2H", *local) + local_name + body + entry.descriptor
        central = (b"PK\x01\x02", 0x314, 20, entry.flags, entry.method, 0, 33, crc, packed, size)
        places = (len(entry.name), len(entry.extra), 0, entry.disk, 0, entry.attributes, offset)
        directory += struct.pack("<4s6H3L5H2L", *central, *places) + entry.name + entry.extra
    number = len(entries) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(out), len(comment))
    return bytes(out + directory + end + comment)


def _compress(data: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush()


@pytest.fixture
def entry() -> type[Entry]:
    return Entry


@pytest.fixture
def zip_bytes() -> Callable[..., bytes]:
    return write_zip


@pytest.fixture(scope="session")
def corpus() -> Path:
    return CORPUS


@pytest.fixture(scope="session")
def onnx_bytes() -> bytes:
    """A real network: a 1x1 convolution from three bands to two classes."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 1, 1], [1.0, 0, 0, 0, 1, 0])
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 8, 8])
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def keys() -> dict[str, Any]:
    """The keys of a sound pixel classifier."""
    return {
        "Framework": "ONNX",
        "ModelType": "ImageClassification",
        "ModelFile": "net.onnx",
        "ImageHeight": 8,
        "ImageWidth": 8,
        "ExtractBands": [0, 1, 2],
        "Classes": [{"Value": 0, "Name": "land", "Color": [1, 2, 3]}, {"Value": 1, "Name": "sea", "Color": [3, 2, 1]}],
    }


@pytest.fixture
def folder(tmp_path: Path, keys: dict[str, Any], onnx_bytes: bytes) -> Path:
    """A sound package as a folder."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.emd").write_text(json.dumps(keys))
    (folder / "net.onnx").write_bytes(onnx_bytes)
    return folder


@pytest.fixture
def check_keys(folder: Path, keys: dict[str, Any]) -> Callable[[dict[str, Any]], dlpk.Report]:
    """Check the package with some keys changed; None removes a key."""

    def check(changes: dict[str, Any]) -> dlpk.Report:
        changed = {key: value for key, value in {**keys, **changes}.items() if value is not None}
        (folder / "model.emd").write_text(json.dumps(changed))
        return dlpk.check(folder)

    return check


@pytest.fixture
def sound(entry: type[Entry], keys: dict[str, Any], onnx_bytes: bytes) -> list[Entry]:
    """The members of a sound archive, to which a test adds its own."""
    return [entry(b"model.emd", json.dumps(keys).encode()), entry(b"net.onnx", onnx_bytes)]


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[bytes], set[str]]:
    """Write an archive, see that opening it is refused and leaves nothing, and give the codes."""

    def codes(archive: bytes) -> set[str]:
        path = tmp_path / "hostile.dlpk"
        path.write_bytes(archive)
        beside = set(tmp_path.iterdir())
        with pytest.raises(dlpk.PackageRefused) as refused:
            dlpk.open(path)
        assert set(tmp_path.iterdir()) == beside
        return {finding.code for finding in errors_of(refused.value.findings)}

    return codes
