"""Queries of items: box, time, page and values of properties, as questions that a reader answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.feature_query import FeatureQuery, Place, Shapes
from raster_analysis.ogc.moments import read_interval
from raster_analysis.ogc.problem import invalid
from raster_analysis.ogc.route import whole
from raster_analysis.rest.endpoint import Call
from raster_analysis.rest.feature_source import LayerFacts

LONGITUDE_LATITUDE = SpatialReference(wkid=4326)
Bounds = tuple[float, float, float, float]
"""West, south, east and north in degrees."""
WORDS = ("bbox", "datetime", "limit", "offset")
MOST_ITEMS = 10_000
_DEFAULT_ITEMS = 100
_NOT_PROPERTIES = {*WORDS, "f", "token"}
_NUMBERS = ("esriFieldTypeDouble", "esriFieldTypeSingle", "esriFieldTypeInteger", "esriFieldTypeSmallInteger",
            "esriFieldTypeOID", "esriFieldTypeBigInteger")  # fmt: skip


def read_query(call: Call, layer: LayerFacts, extent: Callable[[], Bounds | None]) -> FeatureQuery:
    """Return which features are wanted; raises Problem, also for a property that there is not.

    `extent` returns where the layer lies, None when it has no features.
    """
    # No feature here has a time, so that each of them is wanted whatever the time (features 7.15.4).
    read_interval(call.fields.get("datetime"))
    given = {name: value for name, value in call.fields.items() if name not in _NOT_PROPERTIES}
    return FeatureQuery(
        where=" AND ".join(_condition(name, value, layer) for name, value in given.items()),
        place=_place(_boxes(call.fields["bbox"]), extent()) if "bbox" in call.fields else None,
        offset=whole(call, "offset", 0),
        limit=min(whole(call, "limit", _DEFAULT_ITEMS, low=1), MOST_ITEMS),
        shapes=Shapes(LONGITUDE_LATITUDE),
    )


def _condition(name: str, value: str, layer: LayerFacts) -> str:
    """Return a condition in the language of `layers/where.py`, which parses it again: nothing here reaches SQL."""
    fields: Sequence[Mapping[str, str]] = layer["fields"]
    field = next((field for field in fields if field["name"].casefold() == name.casefold()), None)
    if field is None:
        known = ", ".join(field["name"] for field in fields)
        raise invalid(f"There is no parameter and no property {name[:100]!r} here; the properties are {known}.")
    quoted = field["name"].replace('"', '""')
    if field["type"] in _NUMBERS:
        return f'"{quoted}" = {_number(name, value)!r}'
    text = value.replace("'", "''")
    return f"\"{quoted}\" = '{text}'"


def _boxes(text: str) -> list[Bounds]:
    numbers = [_number("bbox", part) for part in text.split(",")[:7]]
    if len(numbers) not in (4, 6):
        raise invalid(f"Parameter bbox = {text[:80]!r}: want west, south, east and north, or 6 numbers with heights.")
    half = len(numbers) // 2
    west, south, east, north = numbers[0], numbers[1], numbers[half], numbers[half + 1]
    if south > north or max(abs(west), abs(east)) > 360 or max(abs(south), abs(north)) > 90:
        raise invalid(f"Parameter bbox = {text[:80]!r} is no box of degrees; the order is west, south, east, north.")
    if west <= east:
        return [(west, south, east, north)]
    # From east to west it crosses the 180th meridian.
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _place(boxes: list[Bounds], extent: Bounds | None) -> Place | None:
    """Return what of the boxes may hold features: no projection reaches around the world, which clients ask for."""
    if extent is None:
        return None
    # The layer's bounds in degrees are those of a curved outline, found by some of its points only.
    margin = 0.01 * max(extent[2] - extent[0], extent[3] - extent[1]) + 1e-6
    west, south, east, north = extent[0] - margin, extent[1] - margin, extent[2] + margin, extent[3] + margin
    parts = [(max(b[0], west), max(b[1], south), min(b[2], east), min(b[3], north)) for b in boxes]
    if (west, south, east, north) in parts:
        return None
    shapes = [_box(*part) for part in parts if part[0] <= part[2] and part[1] <= part[3]]
    # A box far from all features becomes a point where none lies: no place at all would choose everything.
    shapes = shapes or [_box(west - 1e-6, south, west - 1e-6, south)]
    return Place(shapes[0] if len(shapes) == 1 else f"GEOMETRYCOLLECTION ({', '.join(shapes)})", LONGITUDE_LATITUDE)


def _box(west: float, south: float, east: float, north: float) -> str:
    """Return a box as WKT; a point or a line when that is all it is, as no polygon is without an area."""
    corners = [(west, south), (east, south), (east, north), (west, north)]
    texts = [f"{x!r} {y!r}" for x, y in dict.fromkeys(corners)]
    if len(texts) == 1:
        return f"POINT ({texts[0]})"
    return f"LINESTRING ({', '.join(texts)})" if len(texts) == 2 else f"POLYGON (({', '.join([*texts, texts[0]])}))"


def _number(name: str, text: str) -> float:
    try:
        number = float(text) if len(text) <= 40 else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise invalid(f"Parameter {name} = {text[:40]!r} is not a number.")
    return number
