"""The fields of a request: query and form as one mapping, whatever the method and the kind of form."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from dlpk.strict_json import JsonFault, parse
from raster_analysis.errors import RasterAnalysisError
from raster_analysis.portal.quota import Room
from raster_analysis.portal.uploads import Uploads
from raster_analysis.rest.body import Body
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.multipart import MOST_FIELDS, MultipartForm, UploadedFile

_WITH_FILES = "multipart/form-data"
_PLAIN = "application/x-www-form-urlencoded"
_FEED_BYTES = 512 * 1024
"""What is parsed and written at a time; a thread for each 64 kB would cost more than the work."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a request says: text by name (a form field wins over the query), and files by name."""

    texts: Mapping[str, str]
    files: Mapping[str, UploadedFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a request may be, in bytes."""

    text: int
    """A body without files, and all fields beside files together: these are held in memory."""
    files: int
    """A body with files, which go to the disk."""
    room: Room | None = None
    """What the user's quota leaves for the files."""

    def body(self) -> tuple[int, str]:
        """Return how many bytes a form with files may have, and what is said of one that has more."""
        # Beside the files there is room for the fields and a thumbnail.
        if self.room and self.room.left + self.text < self.files:
            return self.room.left + self.text, f"The upload is too large: {self.room}."
        return self.files, ""


@asynccontextmanager
async def read_fields(request: Request, limits: BodyLimits, uploads: Uploads) -> AsyncIterator[Fields]:
    """Read query and form of a request; its files live as long as the context.

    Raises Refusal for what cannot be read; then `request.state.is_unread` tells whether more is to come.
    """
    query = _unique(request.query_params.multi_items())
    if request.method in ("GET", "HEAD"):
        yield Fields(query)
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _WITH_FILES:
        yield Fields(query | await _read_plain(request, kind, limits.text))
        return
    form = MultipartForm(request.headers["content-type"], uploads, text_limit=limits.text)
    try:
        await _read_form(request, form, limits)
        yield Fields(query | _unique(form.texts), form.files)
    finally:
        # In a thread: the end of a file of gigabytes takes a while.
        await run_in_threadpool(form.close)


async def _read_plain(request: Request, kind: str, limit: int) -> dict[str, str]:
    async with _body(request, limit) as body:
        content = b"".join([piece async for piece in body.pieces()])
    return _unique(_form_fields(content)) if kind == _PLAIN else _json_fields(kind, content)


async def _read_form(request: Request, form: MultipartForm, limits: BodyLimits) -> None:
    """Feed a form in threads: parsing and writing would keep other requests waiting."""
    waiting = bytearray()
    async with _body(request, *limits.body()) as body:
        async for piece in body.pieces():
            waiting += piece
            if len(waiting) >= _FEED_BYTES:
                await run_in_threadpool(form.feed, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(form.feed, bytes(waiting))
        form.finish()


@asynccontextmanager
async def _body(request: Request, limit: int, fault: str = "") -> AsyncIterator[Body]:
    body = Body(request, limit, fault)
    try:
        yield body
        request.state.is_unread = False
    except (Refusal, RasterAnalysisError):
        await body.drain()
        request.state.is_unread = not body.is_over
        raise


def _form_fields(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refusal(400, f"The form cannot be read: it has more than {MOST_FIELDS} fields.") from None


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if values.setdefault(name, value) != value:
            raise Refusal(400, f"Parameter {name[:100]!r} is given twice with different values.")
    return values


def _json_fields(kind: str, body: bytes) -> dict[str, str]:
    """Return the fields of a JSON body; its objects become JSON text, as they are in a form."""
    if not body:
        return {}
    if kind != "application/json":
        raise Refusal(
            400, f"Send a form ({_PLAIN}, {_WITH_FILES}) or a JSON object; content type {kind[:100]!r} is neither."
        )
    try:
        values = parse(body)
    except JsonFault as fault:
        raise Refusal(400, f"The body cannot be read: {fault.message}") from None
    if not isinstance(values, dict):
        raise Refusal(400, "The body is not a JSON object.")
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
