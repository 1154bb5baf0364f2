"""The header of a safetensors file, judged strictly: every byte of the file belongs to exactly one tensor."""

from __future__ import annotations

import math
from typing import BinaryIO

from pydantic import JsonValue

from dlpk import strict_json

_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_LENGTH_BYTES = 8


def looks_like_safetensors(head: bytes) -> bool:
    """Tell by the first bytes: a length of eight bytes, then a JSON object."""
    # A header below a terabyte leaves the upper bytes of its length zero.
    return len(head) > _LENGTH_BYTES and head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{" and head[5:8] == b"\0\0\0"


def faults_of_header(file: BinaryIO) -> tuple[str, ...]:
    """Give what is wrong with the header; nothing when the file is sound."""
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > strict_json.MAX_BYTES or _LENGTH_BYTES + length > size:
        return (f"the header claims {length} bytes; the file has {size}, and {strict_json.MAX_BYTES} are allowed",)
    try:
        header = strict_json.parse(file.read(length))
    except strict_json.JsonFault as fault:
        return (f"the header is not sound JSON: {fault.message}",)
    if not isinstance(header, dict):
        return ("the header is not an object",)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    extents = [_extent_of(name, entry) for name, entry in tensors.items()]
    faults = [extent for extent in extents if isinstance(extent, str)]
    placed = sorted(extent for extent in extents if not isinstance(extent, str))
    return tuple(faults[:5]) or _faults_of_extents(placed, size - _LENGTH_BYTES - length)


def _extent_of(name: str, entry: JsonValue) -> tuple[int, int] | str:
    shown = ascii(name[:80])
    if not isinstance(entry, dict):
        return f"tensor {shown} is not an object"
    shape, offsets, bits = entry.get("shape"), entry.get("data_offsets"), _BITS.get(str(entry.get("dtype")))
    if bits is None:
        return f"tensor {shown} has the unknown type {ascii(entry.get('dtype'))[:40]}"
    dimensions, extent = _naturals(shape), _naturals(offsets)
    if dimensions is None or extent is None or len(extent) != 2:
        return f"tensor {shown} has no sound shape and data_offsets"
    if 8 * (extent[1] - extent[0]) != bits * math.prod(dimensions):
        return f"tensor {shown} of shape {dimensions[:8]} does not fit its {extent[1] - extent[0]} bytes"
    return extent[0], extent[1]


def _naturals(value: JsonValue) -> list[int] | None:
    if not isinstance(value, list) or len(value) > 64:
        return None
    numbers = [item for item in value if isinstance(item, int) and not isinstance(item, bool) and item >= 0]
    return numbers if len(numbers) == len(value) else None


def _faults_of_extents(extents: list[tuple[int, int]], size: int) -> tuple[str, ...]:
    # The format allows no holes: they could hide other content.
    at = 0
    for start, end in extents:
        if start != at:
            return (f"tensors overlap or leave a gap at byte {min(start, at)} of the data",)
        at = end
    return () if at == size else (f"the tensors end at byte {at} of the data, the file at {size}",)
