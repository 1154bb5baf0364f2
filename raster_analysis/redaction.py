"""Tokens in a request's parameters, taken out before anything of it is stored.

Clients write their token into URLs (`?token=`) and beside them (`serviceToken`; contract 2.2). What it
opens is settled while the request is still in memory: see `Portal.pin`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pydantic import JsonValue

_NAMES = frozenset({"token", "servicetoken"})
# Up to where a value of a query ends, in a URL that stands alone, in JSON or in `<FeatureLayer url:"...">`.
_VALUE = r"[^&#\s\"'<>\\]*"
_IN_URL = re.compile(rf"(?P<start>[?&])token={_VALUE}(?P<more>&?)", re.IGNORECASE)
_IN_TEXT = re.compile(r"(token[\"']?\s*[:=]\s*[\"']?)[\w.~+/=-]+", re.IGNORECASE)


def without_tokens(form: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the parameters as they may be stored: no token is left in them, and what holds none is unchanged."""
    return {name: _clean(value) for name, value in form.items() if name.lower() not in _NAMES}


def _clean(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {name: _clean(inner) for name, inner in value.items() if name.lower() not in _NAMES}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return _clean_text(value) if isinstance(value, str) else value


def _clean_text(text: str) -> str:
    if "token" not in text.lower() and "\\u" not in text:
        return text
    if text.lstrip().startswith(("{", "[")):
        return _clean_json(text)
    return _IN_URL.sub(_keep_the_rest, text)


def _clean_json(text: str) -> str:
    """Return JSON text without tokens, read as its reader will: a name may be written in escapes."""
    try:
        parsed = json.loads(text)
        cleaned = _clean(parsed)
    except (ValueError, RecursionError):
        # Nobody will be able to use it, but it is stored and shown.
        return _IN_TEXT.sub(r"\1", text)
    return text if cleaned == parsed else json.dumps(cleaned)


def _keep_the_rest(match: re.Match[str]) -> str:
    return match["start"] if match["more"] else ""
