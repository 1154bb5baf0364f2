"""The fields of a request: query and form as one mapping, whatever the method and the kind of form."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from dlpk.strict_json import JsonFault, parse
from raster_analysis.rest.envelope import Refusal

_WITH_FILES = "multipart/form-data"
_FORMS = ("application/x-www-form-urlencoded", _WITH_FILES)
_MOST_FIELDS = 200
"""Far above the parameters of any task; each field of an upload may be as long as a whole form (guess)."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a request says: text by name (a form field wins over the query), and files by name."""

    texts: Mapping[str, str]
    files: Mapping[str, UploadFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How large a request may be, in bytes."""

    text: int
    """A body without files, and each field beside files: these are held in memory."""
    files: int
    """A body with files, which go to the disk."""


@asynccontextmanager
async def read_fields(request: Request, limits: BodyLimits) -> AsyncIterator[Fields]:
    """Read query and form of a request; its files live as long as the context."""
    query = _unique(request.query_params.multi_items())
    if request.method in ("GET", "HEAD"):
        yield Fields(query)
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    limited = Request(request.scope, _stop_at(request, limits.files if kind == _WITH_FILES else limits.text))
    if kind in _FORMS:
        try:
            form = await limited.form(max_fields=_MOST_FIELDS, max_part_size=limits.text)
        except HTTPException as error:
            raise Refusal(400, f"The form cannot be read: {error.detail}") from None
        try:
            texts = _unique((name, value) for name, value in form.multi_items() if isinstance(value, str))
            files = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
            yield Fields(query | texts, files)
        finally:
            await form.close()
    else:
        yield Fields(query | _json_fields(kind, await limited.body()))


def _stop_at(request: Request, limit: int) -> Receive:
    """Pass a request's body on until `limit` bytes, whatever its Content-Length says."""
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    if int(request.headers.get("content-length") or 0) > limit:
        raise _too_large(limit)
    return receive


def _too_large(limit: int) -> Refusal:
    # Code 413 in an envelope: a real HTTP 413 would be sent again five times (contract 2.4).
    return Refusal(
        413, f"The request is larger than the {limit:,} bytes allowed here; for uploads, send the token in a header."
    )


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
            400, f"Send a form ({', '.join(_FORMS)}) or a JSON object; content type {kind[:100]!r} is neither."
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
