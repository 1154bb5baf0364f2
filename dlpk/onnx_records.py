"""The outermost records of an ONNX file (onnx.proto: ModelProto), read without loading the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# Field number -> wire type of ModelProto: 1 ir_version, 7 graph, 8 opset_import.
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_MAX_FIELDS = 500_000
_MAX_IR_VERSION = 100
_MAX_TEXT = 4_096


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What the outermost records tell."""

    ir_version: int
    opset: int
    """Version of the default operator set, 0 when none is named."""
    external_files: tuple[str, ...]
    """Files beside the model that its initializers lie in."""
    inputs: tuple[str, ...] = ()
    """The tensors that the network is given, in order."""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire: int
    value: int
    """The number itself, or where the bytes start."""
    end: int


def read_onnx(file: BinaryIO) -> OnnxFacts | None:
    """Read the records of a seekable file; None when it is not ONNX."""
    size = file.seek(0, 2)
    try:
        fields = list(_fields(file, 0, size))
    except ValueError:
        return None
    if any(_MODEL_FIELDS.get(field.number) != field.wire for field in fields):
        return None
    # Several parts of one field would be merged by protobuf; no exporter writes that.
    version = next((field.value for field in fields if field.number == 1), 0)
    graphs = [field for field in fields if field.number == 7]
    if not 0 < version <= _MAX_IR_VERSION or len(graphs) != 1:
        return None
    opsets = [_read_opset(file, field) for field in fields if field.number == 8]
    opset = next((number for domain, number in opsets if domain in {"", "ai.onnx"}), 0)
    try:
        external = tuple(sorted(set(_external_files(file, graphs[0]))))
        inputs = tuple(_inputs(file, graphs[0]))
    except ValueError:
        return None
    return OnnxFacts(version, opset, external, inputs)


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    """Walk the fields of one protobuf message.

    Raises:
        ValueError: The bytes are not a message that ends at `end`.
    """
    at = start
    for _ in range(_MAX_FIELDS):
        if at == end:
            return
        file.seek(at)
        key, at = _varint(file, at)
        if key & 7 == 0:
            value, at = _varint(file, at)
            yield _Field(key >> 3, 0, value, at)
            continue
        if key & 7 == 2:
            length, value = _varint(file, at)
        elif key & 7 in {1, 5}:
            length, value = (8, at) if key & 7 == 1 else (4, at)
        else:
            raise ValueError("unknown wire type")
        at = value + length
        if at > end or key >> 3 == 0:
            raise ValueError("a field reaches beyond its message")
        yield _Field(key >> 3, key & 7, value, at)
    raise ValueError("too many fields")


def _varint(file: BinaryIO, at: int) -> tuple[int, int]:
    file.seek(at)
    value = 0
    for index, byte in enumerate(file.read(10)):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number does not end")


def _read_opset(file: BinaryIO, field: _Field) -> tuple[str, int]:
    domain, version = "", 0
    try:
        for part in _fields(file, field.value, field.end):
            if part.number == 1:
                domain = _text(file, part)
            elif part.number == 2:
                version = part.value
    except ValueError:
        return "?", 0
    return domain, version


def _external_files(file: BinaryIO, graph: _Field) -> Iterator[str]:
    for tensor in _fields(file, graph.value, graph.end):
        # GraphProto.initializer is field 5, TensorProto.external_data field 13: pairs of key (1) and value (2).
        if tensor.number != 5 or tensor.wire != 2:
            continue
        for entry in _fields(file, tensor.value, tensor.end):
            if entry.number == 13 and entry.wire == 2:
                pair = {part.number: _text(file, part) for part in _fields(file, entry.value, entry.end)}
                if pair.get(1) == "location":
                    yield pair.get(2, "")


def _inputs(file: BinaryIO, graph: _Field) -> Iterator[str]:
    fields = [field for field in _fields(file, graph.value, graph.end) if field.wire == 2]
    # GraphProto.input is field 11; old files list initializers there too, whose name is field 8 (ValueInfoProto's: 1).
    weights = {name for field in fields if field.number == 5 for name in _texts(file, field, 8)}
    for field in fields:
        if field.number == 11:
            yield from (name for name in _texts(file, field, 1) if name not in weights)


def _texts(file: BinaryIO, message: _Field, number: int) -> Iterator[str]:
    parts = _fields(file, message.value, message.end)
    return (_text(file, part) for part in parts if part.number == number)


def _text(file: BinaryIO, field: _Field) -> str:
    if field.wire != 2:
        return ""
    file.seek(field.value)
    return file.read(min(field.end - field.value, _MAX_TEXT)).decode("utf-8", "replace")
