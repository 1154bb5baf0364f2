"""Geometries of feature services: Esri JSON and texts with commas in, a shape as text out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import shapely
from pydantic import ValidationError
from shapely.errors import ShapelyError
from shapely.geometry.base import BaseGeometry

from dlpk.strict_json import JsonFault, parse
from raster_analysis.errors import InputError
from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.rings import area_inside

LONGEST_GEOMETRY = 1_000_000
"""Characters; some ten thousand vertices."""
_LONGEST_REFERENCE = 8000
_FARTHEST = 1e12
"""Nothing lies beyond; squares of what clients write for "everywhere" would overflow."""
_TYPES = ("Point", "Multipoint", "Polyline", "Polygon", "Envelope")


def read_geometry(text: str, kind: str) -> tuple[str, SpatialReference | None]:
    """Return the shape of a filter as WKT, and the reference that it names itself; raises InputError."""
    if len(text) > LONGEST_GEOMETRY:
        raise InputError(f"geometry has {len(text):,} characters; at most {LONGEST_GEOMETRY:,} are read")
    name = kind.removeprefix("esriGeometry") or "Envelope"
    if name not in _TYPES:
        raise InputError(f"geometryType {kind[:40]!r} is not known; use esriGeometry{', esriGeometry'.join(_TYPES)}")
    if not text.strip().startswith("{"):
        return _from_commas(text, name), None
    value = read_object(text, "geometry")
    reader = next((read for key, read in _READERS.items() if key in value), None)
    if reader is None:
        raise InputError(f"geometry {text[:80]!r}: want an object with xmin, x, points, paths or rings")
    try:
        shape = reader(value)
    except (TypeError, ValueError, IndexError, ShapelyError):
        raise InputError(f"geometry {text[:80]!r} has coordinates that are none, or too few of them") from None
    return _write(shape), read_reference(value.get("spatialReference"), "geometry.spatialReference")


def read_reference(value: Any, name: str) -> SpatialReference | None:
    """Return a spatial reference: a code, or an object with `wkid`, `latestWkid` or `wkt`; None for none."""
    if isinstance(value, str) and value.strip().startswith("{"):
        value = read_object(value, name)
    if value in (None, "", {}):
        return None
    try:
        reference = SpatialReference.model_validate(value)
    except ValidationError:
        raise InputError(f'{name} {str(value)[:80]!r}: want a code such as 3857, or {{"wkid":3857}}') from None
    if reference == SpatialReference() or len(reference.wkt or "") > _LONGEST_REFERENCE:
        raise InputError(f"{name} {str(value)[:80]!r} names no spatial reference")
    return reference


def read_object(text: str, name: str) -> dict[str, Any]:
    """Return a JSON object; `name` is the parameter that holds it. Raises InputError."""
    try:
        value = parse(text.encode())
    except (JsonFault, UnicodeEncodeError) as fault:
        raise InputError(f"{name} {text[:80]!r} is no usable JSON: {getattr(fault, 'message', fault)}") from None
    if not isinstance(value, dict):
        raise InputError(f"{name} {text[:80]!r} is no JSON object")
    return value


def _from_commas(text: str, name: str) -> str:
    try:
        numbers = [_number(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"geometry {text[:80]!r}: want numbers with commas between them, or a JSON object") from None
    if name == "Envelope" and len(numbers) == 4:
        return _write(_box(numbers))
    if name == "Point" and len(numbers) == 2:
        return _write(shapely.Point(numbers))
    raise InputError(f"geometry {text[:80]!r}: want xmin,ymin,xmax,ymax for an envelope, x,y for a point")


def _box(numbers: Sequence[float]) -> BaseGeometry:
    xmin, ymin, xmax, ymax = numbers
    xmin, xmax, ymin, ymax = min(xmin, xmax), max(xmin, xmax), min(ymin, ymax), max(ymin, ymax)
    if xmin == xmax and ymin == ymax:
        return shapely.Point(xmin, ymin)
    if xmin == xmax or ymin == ymax:
        return shapely.LineString([(xmin, ymin), (xmax, ymax)])
    return shapely.box(xmin, ymin, xmax, ymax)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return max(-_FARTHEST, min(_FARTHEST, number))


def _pairs(values: Any) -> list[tuple[float, float]]:
    return [(_number(value[0]), _number(value[1])) for value in values]


def _write(shape: BaseGeometry) -> str:
    return str(shapely.to_wkt(shape, rounding_precision=-1))


_READERS: Mapping[str, Callable[[dict[str, Any]], BaseGeometry]] = {
    "xmin": lambda value: _box([_number(value[key]) for key in ("xmin", "ymin", "xmax", "ymax")]),
    "x": lambda value: shapely.Point(_number(value["x"]), _number(value["y"])),
    "points": lambda value: shapely.MultiPoint(_pairs(value["points"])),
    "paths": lambda value: shapely.MultiLineString([_pairs(path) for path in value["paths"]]),
    "rings": lambda value: area_inside([_pairs(ring) for ring in value["rings"]]),
}
