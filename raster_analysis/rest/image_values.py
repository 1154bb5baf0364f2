"""Words of an image request to plain values: bounds, sizes, references, numbers, rendering rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import JsonValue, ValidationError

from dlpk.strict_json import JsonFault, parse
from raster_analysis.inputs import SpatialReference
from raster_analysis.rest.envelope import Refusal

_LONGEST_REFERENCE = 8000
_LONGEST_RULE = 20_000
_MOST_COLORS = 65_536

Reference = dict[str, JsonValue]


def read_json(text: str, name: str) -> Any:
    """Return the value of a parameter that holds JSON; raises Refusal with the parameter's name."""
    if len(text) > _LONGEST_RULE:
        raise Refusal(400, f"{name} has {len(text):,} characters; at most {_LONGEST_RULE:,} are read.")
    try:
        return parse(text.encode())
    except (JsonFault, UnicodeEncodeError) as fault:
        raise Refusal(400, f"{name} {text[:80]!r} is no usable JSON: {getattr(fault, 'message', fault)}") from None


def read_object(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object that a parameter holds, an empty one for no text."""
    value = read_json(text, name) if text.strip() else {}
    if not isinstance(value, dict):
        raise Refusal(400, f"{name} {text[:80]!r} is no JSON object.")
    return value


def read_numbers(text: str, name: str) -> list[float]:
    """Return numbers that commas (or a JSON list's brackets) separate; each must be finite."""
    parts = text.strip().strip("[]").split(",")
    try:
        numbers = [float(part) for part in parts[:1000]]
    except ValueError:
        raise Refusal(400, f"{name} {text[:80]!r}: want numbers with commas between them.") from None
    if len(parts) > 1000 or not all(map(math.isfinite, numbers)):
        raise Refusal(400, f"{name} {text[:80]!r}: want at most 1,000 numbers, each finite.")
    return numbers


def read_whole_numbers(text: str, name: str) -> list[int]:
    """Return whole numbers that commas separate."""
    numbers = read_numbers(text, name)
    if not all(number.is_integer() and abs(number) < 2**31 for number in numbers):
        raise Refusal(400, f"{name} {text[:80]!r}: want whole numbers.")
    return [int(number) for number in numbers]


def read_reference(value: str | JsonValue, name: str) -> Reference | None:
    """Return a spatial reference: a code, or an object with `wkid`, `latestWkid` or `wkt`; None for none."""
    if isinstance(value, str) and value.strip().startswith("{"):
        value = read_object(value, name)
    if value in (None, "", {}):
        return None
    try:
        reference = SpatialReference.model_validate(value)
    except ValidationError:
        raise Refusal(400, f'{name} {str(value)[:80]!r}: want a code such as 3857, or {{"wkid":3857}}.') from None
    known: Reference = reference.model_dump(exclude_none=True)
    if not known or len(reference.wkt or "") > _LONGEST_REFERENCE:
        raise Refusal(400, f"{name} {str(value)[:80]!r} names no spatial reference.")
    return known


def read_bounds(text: str, name: str) -> tuple[list[float], Reference | None]:
    """Return xmin, ymin, xmax, ymax and their reference, from a text with commas or an envelope object."""
    if not text.strip().startswith("{"):
        numbers = read_numbers(text, name)
        reference = None
    else:
        box = read_object(text, name)
        numbers = [_number(box, key, name) for key in ("xmin", "ymin", "xmax", "ymax")]
        reference = read_reference(box.get("spatialReference"), f"{name}.spatialReference")
    if len(numbers) != 4:
        raise Refusal(400, f"{name} {text[:80]!r}: want xmin,ymin,xmax,ymax.")
    return numbers, reference


def read_points(text: str, kind: str) -> tuple[list[list[float]], Reference | None]:
    """Return the points of a geometry: `x,y`, a point, a multipoint, or the middle of an envelope or polygon."""
    if not text.strip().startswith("{"):
        numbers = read_numbers(text, "geometry")
        if len(numbers) != 2:
            raise Refusal(400, f"geometry {text[:80]!r}: want x,y or a geometry object.")
        return [numbers], None
    shape = read_object(text, "geometry")
    reference = read_reference(shape.get("spatialReference"), "geometry.spatialReference")
    return _points(shape, kind), reference


def read_rule(text: str, name: str = "renderingRule") -> dict[str, JsonValue]:
    """Return the style that a rendering rule asks for, an empty one for none; raises Refusal for others."""
    rule = read_object(text, name)
    function = str(rule.get("rasterFunction") or rule.get("rasterfunction") or "Identity").lower()
    arguments = rule.get("rasterFunctionArguments") or rule.get("arguments") or {}
    reader = _RULES.get(function)
    if reader is None or not isinstance(arguments, dict):
        raise Refusal(
            400, f"{name} with rasterFunction {function[:40]!r} is not supported; None, Colormap and Stretch are."
        )
    _check_alone(arguments, name)
    return reader(arguments)


def _number(values: Mapping[str, Any], key: str, name: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Refusal(400, f"{name} has no number {key}.")
    return read_numbers(str(value), f"{name}.{key}")[0]


def _points(shape: dict[str, Any], kind: str) -> list[list[float]]:
    if "x" in shape:
        return [[_number(shape, "x", "geometry"), _number(shape, "y", "geometry")]]
    if isinstance(shape.get("points"), list):
        return [_pair(pair) for pair in shape["points"]]
    if "xmin" in shape:
        xmin, ymin, xmax, ymax = (_number(shape, key, "geometry") for key in ("xmin", "ymin", "xmax", "ymax"))
        return [[(xmin + xmax) / 2, (ymin + ymax) / 2]]
    raise Refusal(400, f"geometry of type {kind[:40] or 'unknown'} is not supported; give a point or a multipoint.")


def _pair(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) < 2:
        raise Refusal(400, "geometry.points: want pairs of numbers.")
    pair = {"x": value[0], "y": value[1]}
    return [_number(pair, "x", "geometry.points"), _number(pair, "y", "geometry.points")]


def _check_alone(arguments: Mapping[str, Any], name: str) -> None:
    inner = arguments.get("Raster", arguments.get("raster"))
    if inner not in (None, "", "$$"):
        raise Refusal(400, f"{name}: functions inside functions and other rasters are not supported.")


def _colormap(arguments: Mapping[str, Any]) -> dict[str, JsonValue]:
    rows = arguments.get("Colormap", arguments.get("colormap"))
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_COLORS or not all(map(_is_color, rows)):
        raise Refusal(
            400, "renderingRule Colormap: give Colormap as a list of [value, red, green, blue], each colour 0 to 255."
        )
    return {"kind": "colors", "colors": [row[:4] for row in rows]}


def _is_color(row: Any) -> bool:
    """Tell whether a row is a value and its red, green and blue."""
    if not isinstance(row, list) or len(row) < 4 or not all(type(part) is int for part in row[:4]):
        return False
    return abs(row[0]) < 2**31 and all(0 <= part <= 255 for part in row[1:4])


def _stretch(arguments: Mapping[str, Any]) -> dict[str, JsonValue]:
    numbers = {key.lower(): value for key, value in arguments.items()}
    kind = _STRETCHES.get(str(numbers.get("stretchtype", 6)).lower())
    if kind is None:
        raise Refusal(400, "renderingRule Stretch: StretchType is 0 (none), 3 (deviations), 5 (minimum, maximum) or 6.")
    low, high = (_amount(numbers, key, 0.25, most=50) for key in ("minpercent", "maxpercent"))
    stretch: dict[str, JsonValue] = {
        "kind": kind,
        "percents": [low, 100 - high],
        "deviations": _amount(numbers, "numberofstandarddeviations", 2, most=1000),
        "limits": [] if kind == "percent" else _limits(numbers.get("statistics"), kind, numbers),
    }
    return {"kind": "stretch", "stretch": stretch}


def _limits(statistics: Any, kind: str, numbers: Mapping[str, Any]) -> list[JsonValue]:
    """Return the lowest and highest value of each band that the statistics given in a rule mean."""
    if not isinstance(statistics, list) or kind == "none":
        return []
    if not all(isinstance(row, list) and len(row) >= 2 and _are_numbers(row) for row in statistics):
        raise Refusal(400, "renderingRule Stretch: Statistics is a list of [minimum, maximum, mean, deviation].")
    if kind == "minimum" or any(len(row) < 4 for row in statistics):
        return [[row[0], row[1]] for row in statistics]
    reach = _amount(numbers, "numberofstandarddeviations", 2, most=1000)
    return [[row[2] - reach * row[3], row[2] + reach * row[3]] for row in statistics]


def _amount(numbers: Mapping[str, Any], key: str, default: float, *, most: float) -> float:
    value = numbers.get(key, default)
    if not _are_numbers([value]) or not 0 <= value <= most:
        raise Refusal(400, f"renderingRule Stretch: {key} {str(value)[:40]!r} is no number from 0 to {most}.")
    return float(value)


def _are_numbers(values: list[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


_STRETCHES = {"0": "none", "-1": "none", "3": "deviation", "5": "minimum", "6": "percent"} | {
    "none": "none",
    "standarddeviation": "deviation",
    "minmax": "minimum",
    "percentclip": "percent",
}
_RULES: Mapping[str, Callable[[Mapping[str, Any]], dict[str, JsonValue]]] = {
    "identity": lambda _: {},
    "none": lambda _: {"kind": "none"},
    "colormap": _colormap,
    "stretch": _stretch,
}
