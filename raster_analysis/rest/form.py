"""Values of form fields that are more than text."""

from __future__ import annotations

from collections.abc import Mapping

from raster_analysis.rest.envelope import Refusal

_LARGEST = 2**31


def whole_number(fields: Mapping[str, str], name: str, default: int) -> int:
    """Return a field as a whole number; raises Refusal for any other text."""
    text = fields.get(name, "").strip()
    if not text:
        return default
    try:
        # Converting thousands of digits takes quadratic time.
        value = int(text) if len(text) <= len(str(_LARGEST)) + 1 else _LARGEST + 1
    except ValueError:
        value = _LARGEST + 1
    if abs(value) > _LARGEST:
        raise Refusal(400, f"Parameter {name} = {text[:40]!r} is not a whole number below {_LARGEST}.")
    return value


def is_true(fields: Mapping[str, str], name: str) -> bool:
    """Tell whether a field says true, in any case."""
    return fields.get(name, "").strip().lower() == "true"
