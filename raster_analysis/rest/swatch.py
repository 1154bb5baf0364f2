"""Swatches: small PNG images of one colour, made without an image library."""

from __future__ import annotations

import struct
import zlib

Color = tuple[int, int, int, int]
"""Red, green, blue, alpha."""

_TRUE_COLOR_WITH_ALPHA = 6


def draw_swatch(color: Color, width: int, height: int) -> bytes:
    """Return a PNG of one colour."""
    return draw_rows([color] * height, width)


def draw_rows(colors: list[Color], width: int) -> bytes:
    """Return a PNG whose rows have a colour each."""
    rows = b"".join(b"\0" + bytes(color) * width for color in colors)
    header = struct.pack(">IIBBBBB", width, len(colors), 8, _TRUE_COLOR_WITH_ALPHA, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
