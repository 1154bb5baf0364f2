"""Formats of answers: `f=json`, `f=pjson` and `f=html`, the default; layers have more."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.rest.envelope import Refusal


class Format(StrEnum):
    """What `f` may ask for."""

    JSON = "json"
    PJSON = "pjson"
    HTML = "html"
    GEOJSON = "geojson"
    IMAGE = "image"
    OTHER = "other"
    """Whatever the resource itself is; never asked for by name."""


DOCUMENTS = frozenset({Format.JSON, Format.PJSON, Format.HTML})
"""The formats of every route that names no others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A document, and the page that shows it to people."""

    document: JsonValue
    page: str = "document.html"
    view: Mapping[str, Any] = field(default_factory=dict)
    """What the page shows besides the document."""
    status: int = 200
    """For dialects whose programs read it; pages and the ArcGIS dialect have 200."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """As `status`."""
    media_type: str = "application/json"
    """As `status`."""


def choose_format(
    fields: Mapping[str, str], default: Format = Format.HTML, *, offered: Collection[Format] = DOCUMENTS
) -> Format:
    """Return the format asked for by `f`; raises Refusal for one that is not offered."""
    if fields.get("callback"):
        raise Refusal(400, "JSONP is not supported; leave callback out.")
    given = fields.get("f", "").strip().lower()
    wanted = next((each for each in Format if each == given), None) if given else default
    if wanted is None or wanted not in offered:
        names = ", ".join(each.value for each in Format if each in offered)
        raise Refusal(400, f"Format {given[:40]!r} is not supported; use one of {names}.")
    return wanted


def json_response(document: JsonValue, *, pretty: bool = False) -> Response:
    """Return a document as UTF-8 JSON with HTTP 200; NaN and Infinity are errors, not JSON."""
    text = json.dumps(
        document,
        ensure_ascii=False,
        allow_nan=False,
        indent=2 if pretty else None,
        separators=None if pretty else (",", ":"),
    )
    # A lone surrogate in user text must not end the request.
    return Response(text.encode("utf-8", "replace"), media_type="application/json")
