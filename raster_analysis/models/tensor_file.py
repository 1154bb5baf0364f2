"""What a model file says about its tensors, read without loading or running it."""

from __future__ import annotations

import json
import mmap
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raster_analysis.errors import ModelError

Shape = tuple[int | None, ...]
"""A tensor's axes; None where any length will do."""

_ONNX_TYPES = {1: "float32", 2: "uint8", 5: "int16", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
_TORCH_TYPES = {7: "float32", 6: "float16", 1: "uint8", 5: "int64", 13: "bfloat16"}
_JSON_LIMIT = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output of a network; `shape` is None where the file does not tell its rank."""

    name: str
    data_type: str
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Tensors:
    """The inputs and outputs of a network, in order."""

    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()


def read_onnx(path: Path) -> Tensors:
    """Return the tensors of an ONNX file; raises ModelError when it is none, or points outside its folder."""
    if not path.stat().st_size:
        raise ModelError(f"model file {path.name!r} is empty")
    with path.open("rb") as file:
        # Mapped, not read: weights of gigabytes are only skipped over.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return _onnx_tensors(memoryview(data), path.parent)
    except (ValueError, IndexError, RecursionError) as error:
        raise ModelError(f"model file {path.name!r} is not an ONNX model: {error}") from None


def _onnx_tensors(model: memoryview, folder: Path) -> Tensors:
    graph = next(_parts(model, 7), None)
    if graph is None:
        raise ValueError("it has no graph")
    for location in _external_files(graph):
        _check_inside(folder, location)
    return _graph_tensors(graph)


def read_exported(path: Path) -> Tensors:
    """Return the tensors of a `torch.export` archive, or none where its layout is not known."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((n for n in archive.namelist() if n.endswith(("/models/model.json", "models/model.json"))), "")
            if not name or archive.getinfo(name).file_size > _JSON_LIMIT:
                return Tensors()
            program = json.loads(archive.read(name))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise ModelError(f"model file {path.name!r} is not a torch.export archive: {error}") from None
    try:
        return _program_tensors(program["graph_module"])
    except (KeyError, TypeError, IndexError):
        return Tensors()


def _program_tensors(module: dict[str, Any]) -> Tensors:
    values = module["graph"]["tensor_values"]
    inputs = [
        s["user_input"]["arg"]["as_tensor"]["name"] for s in module["signature"]["input_specs"] if "user_input" in s
    ]
    outputs = [
        s["user_output"]["arg"]["as_tensor"]["name"] for s in module["signature"]["output_specs"] if "user_output" in s
    ]
    return Tensors(
        tuple(_program_tensor(name, values[name]) for name in inputs),
        tuple(_program_tensor(name, values[name]) for name in outputs),
    )


def _program_tensor(name: str, value: dict[str, Any]) -> Tensor:
    shape = tuple(size.get("as_int") for size in value["sizes"])
    return Tensor(name, _TORCH_TYPES.get(value["dtype"], "unknown"), shape)


# Protobuf's wire format, as far as ONNX needs it: field numbers are those of onnx.proto3.


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value); length-delimited fields as views, so that no weight is copied."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("it is cut short")
            yield number, data[at : at + length]
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is unknown")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError("a number is longer than 64 bits")


def _parts(message: memoryview, number: int) -> Iterator[memoryview]:
    return (value for field, value in _fields(message) if field == number and isinstance(value, memoryview))


def _text(message: memoryview, number: int) -> str:
    return next((bytes(part).decode() for part in _parts(message, number)), "")


def _graph_tensors(graph: memoryview) -> Tensors:
    # Before IR version 4 weights were listed as inputs too.
    weights = {_text(tensor, 8) for tensor in _parts(graph, 5)}
    inputs = tuple(_value_info(part) for part in _parts(graph, 11))
    outputs = tuple(_value_info(part) for part in _parts(graph, 12))
    return Tensors(tuple(t for t in inputs if t.name not in weights), outputs)


def _value_info(message: memoryview) -> Tensor:
    kind, shape = 0, None
    for tensor_type in (t for part in _parts(message, 2) for t in _parts(part, 1)):
        kind = next((v for n, v in _fields(tensor_type) if n == 1 and isinstance(v, int)), 0)
        shape = next((tuple(_dimension(d) for d in _parts(s, 1)) for s in _parts(tensor_type, 2)), None)
    return Tensor(_text(message, 1), _ONNX_TYPES.get(kind, f"ONNX type {kind}"), shape)


def _dimension(message: memoryview) -> int | None:
    # 0 and negative lengths are written by exporters for axes that are not fixed.
    length = next((v for n, v in _fields(message) if n == 1 and isinstance(v, int)), 0)
    return length if 0 < length < 2**31 else None


def _external_files(graph: memoryview) -> Iterator[str]:
    """Yield the external data files of a graph's weights, those of constants and sub-graphs included."""
    tensors = list(_parts(graph, 5))
    for sparse in _parts(graph, 15):
        tensors += [*_parts(sparse, 1), *_parts(sparse, 2)]
    for attribute in (a for node in _parts(graph, 1) for a in _parts(node, 5)):
        tensors += [*_parts(attribute, 5), *_parts(attribute, 10)]
        for inner in (*_parts(attribute, 6), *_parts(attribute, 11)):
            yield from _external_files(inner)
    for entry in (e for tensor in tensors for e in _parts(tensor, 13)):
        if _text(entry, 1) == "location":
            yield _text(entry, 2)


def _check_inside(folder: Path, location: str) -> None:
    target = folder / location
    # A link may be changed after this check, so none is followed.
    inside = target.resolve().is_relative_to(folder.resolve()) and not Path(location).is_absolute()
    if not inside or target.is_symlink() or not target.is_file():
        raise ModelError(f"external data {location!r} of the ONNX model is not a file inside the package")
