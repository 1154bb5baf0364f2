"""Formats of answers: `f=json`, `f=pjson` and `f=html`, the default as in any REST services directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Answer:
    """A document, and the page that shows it to people."""

    document: JsonValue
    page: str = "document.html"
    view: Mapping[str, Any] = field(default_factory=dict)
    """What the page shows besides the document."""


def choose_format(fields: Mapping[str, str], default: Format = Format.HTML) -> Format:
    """Return the format asked for by `f`; raises Refusal for one that does not exist."""
    if fields.get("callback"):
        raise Refusal(400, "JSONP is not supported; leave callback out.")
    given = fields.get("f", "").strip().lower()
    try:
        return Format(given) if given else default
    except ValueError:
        raise Refusal(400, f"Format {given[:40]!r} is not supported; use json, pjson or html.") from None


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
