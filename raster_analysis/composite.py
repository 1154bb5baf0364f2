"""Composites: the JSON objects that clients write for things, read from whatever form they come in."""

from __future__ import annotations

import json
import re

from pydantic import BaseModel, ConfigDict

_ITEM_ID = re.compile(r"[0-9a-f]{32}")
_LAYER_TEXT = re.compile(r'^<\w+ url:"([^"]+)">$')


def parse_composite(value: object) -> object:
    """Return the object in JSON text, `{"itemId"|"url"|"uri": ...}` for bare text, and anything else as it is."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    if text.startswith(("{", "[")):
        return _parse_json(text)
    if _ITEM_ID.fullmatch(text):
        return {"itemId": text}
    layer = _LAYER_TEXT.match(text)
    text = layer[1] if layer else text
    return {"url": text} if re.match(r"https?://", text, re.IGNORECASE) else {"uri": text}


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None


class Composite(BaseModel):
    """Base of all composites: keys that nobody knows are ignored, fields carry wire names as aliases."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
