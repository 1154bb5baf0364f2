"""A query request of a feature service as the questions that a reader answers (contract 7.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from dlpk.strict_json import JsonFault, parse
from raster_analysis.errors import InputError
from raster_analysis.layers.feature_query import (
    FeatureQuery,
    Order,
    Place,
    Relation,
    Shapes,
    Statistic,
    StatisticKind,
    SummaryQuery,
)
from raster_analysis.rest.feature_geometry import read_geometry, read_reference
from raster_analysis.rest.quantization import Quantization, read_quantization

MAX_RECORDS = 2000
MOST_IDS_GIVEN = 100_000
_MOST_NAMES = 200
_FARTHEST_M = 1_000_000
_LARGEST_OFFSET = 2**31

Wanted = Literal["features", "count", "ids", "unique_ids", "extent", "statistics"]
Words = Mapping[str, str]

_RELATIONS = {
    "": Relation.INTERSECTS,
    "esriSpatialRelIntersects": Relation.INTERSECTS,
    "esriSpatialRelEnvelopeIntersects": Relation.ENVELOPES_INTERSECT,
    "esriSpatialRelIndexIntersects": Relation.ENVELOPES_INTERSECT,
    "esriSpatialRelContains": Relation.CONTAINS,
    "esriSpatialRelWithin": Relation.WITHIN,
    "esriSpatialRelTouches": Relation.TOUCHES,
    "esriSpatialRelOverlaps": Relation.OVERLAPS,
    "esriSpatialRelCrosses": Relation.CROSSES,
}
_METERS = {
    "": 1.0,
    "esriSRUnit_Meter": 1.0,
    "esriSRUnit_Kilometer": 1000.0,
    "esriSRUnit_Foot": 0.3048,
    "esriSRUnit_USSurveyFoot": 1200 / 3937,
    "esriSRUnit_SurveyFoot": 1200 / 3937,
    "esriSRUnit_StatuteMile": 1609.344,
    "esriSRUnit_USNauticalMile": 1852.0,
    "esriSRUnit_NauticalMile": 1852.0,
}
_STATISTICS: Mapping[str, StatisticKind] = {kind: kind for kind in get_args(StatisticKind)}


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """All that one query request wants. Travels to a reader."""

    layer: int
    wants: Wanted = "features"
    query: FeatureQuery = field(default_factory=FeatureQuery)
    summary: SummaryQuery | None = None
    decimals: int | None = None
    """Of coordinates in the answer."""
    with_count: bool = False
    """Whether the count comes with the extent."""
    quantization: Quantization | None = None
    """How coarse coordinates are written; GeoJSON knows nothing of it."""
    format: Literal["json", "geojson"] = "json"


def read_request(words: Words, layer: int, *, geojson: bool = False) -> FeatureRequest:
    """Return what a request wants; raises InputError for the first parameter that cannot be used.

    Parameters that are not known are ignored: clients send many (contract 7.1).
    """
    wants = _wants(words)
    query = FeatureQuery(
        where=words.get("where", ""),
        ids=_ids(words.get("objectIds", "")),
        place=_place(words),
        fields=_fields(words.get("outFields", "")),
        order=_order(words.get("orderByFields", "")),
        offset=_whole(words, "resultOffset", 0, most=_LARGEST_OFFSET) or 0,
        limit=_limit(words, wants),
        distinct=is_true(words, "returnDistinctValues"),
        shapes=_shapes(words, wants),
    )
    return FeatureRequest(
        layer,
        wants,
        query,
        summary=_summary(words) if wants == "statistics" else None,
        decimals=_whole(words, "geometryPrecision", None, most=15),
        with_count=is_true(words, "returnCountOnly"),
        quantization=read_quantization(words.get("quantizationParameters", "")) if wants == "features" else None,
        format="geojson" if geojson else "json",
    )


def is_true(words: Words, name: str, *, default: bool = False) -> bool:
    """Tell whether a parameter says yes, in any of the spellings that clients send (contract 1.14)."""
    text = words.get(name, "").strip().lower()
    return text in ("true", "1", "yes") if text else default


def _wants(words: Words) -> Wanted:
    if words.get("outStatistics", "").strip():
        return "statistics"
    if is_true(words, "returnExtentOnly"):
        return "extent"
    if is_true(words, "returnCountOnly"):
        return "count"
    if is_true(words, "returnUniqueIdsOnly"):
        return "unique_ids"
    return "ids" if is_true(words, "returnIdsOnly") else "features"


def _limit(words: Words, wants: Wanted) -> int | None:
    asked = _whole(words, "resultRecordCount", None, most=2**63)
    if wants in ("ids", "unique_ids", "count", "extent"):
        return asked
    if words.get("objectIds", "").strip():
        # What a client names one by one it gets (contract 7.1): a shorter page would be lost without a word.
        return asked
    return min(asked, MAX_RECORDS) if asked is not None else MAX_RECORDS


def _ids(text: str) -> tuple[int, ...] | None:
    if not text.strip():
        return None
    parts = text.split(",")
    if len(parts) > MOST_IDS_GIVEN:
        raise InputError(f"objectIds has {len(parts):,} ids; give at most {MOST_IDS_GIVEN:,}")
    try:
        found = tuple(int(part) for part in parts if len(part) < 20)
    except ValueError:
        raise InputError(f"objectIds {text[:80]!r}: want whole numbers with commas between them") from None
    return tuple(each for each in found if abs(each) < 2**63)


def _place(words: Words) -> Place | None:
    text = words.get("geometry", "").strip()
    if not text:
        return None
    wkt, own = read_geometry(text, words.get("geometryType", "").strip())
    name = words.get("spatialRel", "").strip()
    if name not in _RELATIONS:
        raise InputError(f"spatialRel {name[:40]!r} is not supported; use one of {', '.join(list(_RELATIONS)[1:])}")
    reference = own or read_reference(words.get("inSR", "").strip(), "inSR")
    return Place(wkt, reference, _RELATIONS[name], _distance(words))


def _distance(words: Words) -> float:
    distance = _number(words, "distance")
    unit = words.get("units", "").strip()
    if unit not in _METERS:
        raise InputError(f"units {unit[:40]!r} is not known; use one of {', '.join(list(_METERS)[1:])}")
    distance_m = distance * _METERS[unit]
    if distance_m > _FARTHEST_M:
        raise InputError(f"distance {distance_m:g} m is too long; give at most {_FARTHEST_M:,} m")
    return distance_m


def _number(words: Words, name: str) -> float:
    text = words.get(name, "").strip()
    try:
        number = float(text or 0)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise InputError(f"{name} {text[:40]!r}: want a number that is not negative")
    return number


def _whole(words: Words, name: str, default: int | None, *, most: int) -> int | None:
    text = words.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InputError(f"{name} {text[:40]!r}: want a whole number that is not negative")
    return min(int(text), most)


def _fields(text: str) -> tuple[str, ...] | None:
    names = _names(text, "outFields")
    return None if "*" in names or not names else names


def _names(text: str, parameter: str) -> tuple[str, ...]:
    names = tuple(part.strip().strip('"') for part in text.split(",") if part.strip())
    if len(names) > _MOST_NAMES:
        raise InputError(f"{parameter} has {len(names):,} names; give at most {_MOST_NAMES}")
    return names


def _order(text: str) -> tuple[Order, ...]:
    found = []
    for part in _names(text, "orderByFields"):
        name, _, direction = part.rpartition(" ")
        if direction.upper() in ("ASC", "DESC") and name:
            found.append(Order(name.strip().strip('"'), descending=direction.upper() == "DESC"))
        else:
            found.append(Order(part))
    return tuple(found)


def _shapes(words: Words, wants: Wanted) -> Shapes | None:
    outline = is_true(words, "returnGeometry", default=True)
    centroid = is_true(words, "returnCentroid")
    wanted = Shapes(
        read_reference(words.get("outSR", "").strip(), "outSR"),
        _number(words, "maxAllowableOffset"),
        centroid=centroid,
        outline=outline,
    )
    return wanted if outline or centroid or wants == "extent" else None


def _summary(words: Words) -> SummaryQuery:
    statistics = tuple(_statistic(row) for row in _list(words["outStatistics"], "outStatistics"))
    groups = _names(words.get("groupByFieldsForStatistics", ""), "groupByFieldsForStatistics")
    return SummaryQuery(statistics, groups, words.get("having", "") or words.get("havingClause", ""))


def _statistic(row: Any) -> Statistic:
    known = {key.lower(): value for key, value in row.items()} if isinstance(row, dict) else {}
    kind = str(known.get("statistictype", "")).lower()
    if kind not in _STATISTICS:
        raise InputError(f"statisticType {kind[:40]!r} is not supported; use one of {', '.join(_STATISTICS)}")
    name = known.get("outstatisticfieldname") or ""
    source = known.get("onstatisticfield")
    if not isinstance(source, str) or not isinstance(name, str):
        raise InputError("outStatistics: want onStatisticField and outStatisticFieldName as texts")
    return Statistic(_STATISTICS[kind], source, name, *_share(known.get("statisticparameters")))


def _share(parameters: Any) -> tuple[float, bool]:
    """Return the share of a percentile, and whether it counts from the largest value downwards."""
    known = parameters if isinstance(parameters, dict) else {}
    share, order = known.get("value", 0.5), str(known.get("orderBy", "")).upper()
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise InputError(f"statisticParameters.value {str(share)[:40]!r}: want a number from 0 to 1")
    if order not in ("", "ASC", "DESC"):
        raise InputError(f"statisticParameters.orderBy {order[:40]!r}: want ASC or DESC")
    return float(share), order == "DESC"


def _list(text: str, name: str) -> list[Any]:
    try:
        value = parse(text.encode())
    except (JsonFault, UnicodeEncodeError):
        value = None
    if not isinstance(value, list):
        raise InputError(f"{name} {text[:80]!r}: want a JSON list of objects")
    return value
