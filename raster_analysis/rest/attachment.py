"""Attachments: an item's file on its way to a client, whole or the part it asks for, from wherever it lies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePath
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from raster_analysis.portal.item import Item, safe_name

ReadData = Callable[[int, int], Iterator[bytes]]
"""Gives the bytes of a file from the first number up to the second."""

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def attachment(request: Request, item: Item, read: ReadData) -> Response:
    """Return an item's file, or one range of it (RFC 9110 14.2); several ranges at once are answered by the whole.

    What is wrong with the storage is raised here, before the answer has begun.
    """
    tag = f'"{PurePath(item.data_file or "").stem}"'
    headers = {
        # Never the type that the content claims: an SVG or HTML file would run as part of this site (A15).
        "content-type": "application/octet-stream",
        "content-disposition": _disposition(_file_name(item)),
        "accept-ranges": "bytes",
        # A data file is never written again under its name.
        "etag": tag,
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
    }
    wanted = _range(request, item.size, tag)
    if wanted is None:
        return _stream(request, read, range(item.size), headers=headers)
    if not wanted:
        return Response(None, 416, {**headers, "content-range": f"bytes */{item.size}"})
    headers["content-range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{item.size}"
    return _stream(request, read, wanted, headers=headers, status=206)


def _stream(request: Request, read: ReadData, part: range, *, headers: dict[str, str], status: int = 200) -> Response:
    headers["content-length"] = str(len(part))
    if request.method == "HEAD":
        return Response(None, status, headers)
    return StreamingResponse(read(part.start, part.stop), status, headers)


def _range(request: Request, size: int, tag: str) -> range | None:
    """Return the part that is asked for, an empty one when the file has no such part, None for the whole."""
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if match is None or request.method == "POST" or match.group(1, 2) == ("", ""):
        return None
    if request.headers.get("if-range", tag) != tag:
        return None
    first, last = match.group(1, 2)
    if not first:
        return range(max(size - int(last), 0), size)
    stop = min(int(last) + 1, size) if last else size
    # A last byte before the first makes the header void.
    return range(int(first), stop) if not last or int(last) >= int(first) else None


def _file_name(item: Item) -> str:
    suffix = PurePath(item.data_file or "").suffix
    return safe_name(f"{item.name}{suffix}" if item.url else item.name or item.title)


def _disposition(name: str) -> str:
    if name.isascii():
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=utf-8''{quote(name)}"
