"""What can be asked about a GeoPackage as feature layers: runs in a reader, answers in the words of the wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from pydantic import JsonValue, TypeAdapter

from raster_analysis.errors import InputError
from raster_analysis.handle import Handle
from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.feature_query import FeatureQuery, Shapes, SummaryQuery
from raster_analysis.layers.feature_reading import (
    count_features,
    find_feature_ids,
    find_layer,
    measure_bounds,
    read_rows,
    reference_of,
)
from raster_analysis.layers.field import FieldKind
from raster_analysis.layers.geopackage import Layer, describe_geopackage
from raster_analysis.layers.legend import colors_of
from raster_analysis.layers.palette import Color
from raster_analysis.layers.reference import crs_of, project
from raster_analysis.layers.summary import summarize
from raster_analysis.question import Content
from raster_analysis.rest.feature_request import FeatureRequest
from raster_analysis.rest.featureset import (
    GEOMETRY_TYPES,
    extent_document,
    features_document,
    field_document,
    ids_document,
    reference_document,
    statistics_document,
    unique_ids_document,
    write_json,
)
from raster_analysis.rest.geojson import MEDIA_TYPE, collection_document
from raster_analysis.rest.quantization import Steps

MOST_CLASSES = 200
"""Classes that get a colour of their own."""
_CLASS_FIELDS = ("class", "classlabel", "label")
_LONGITUDE_LATITUDE = SpatialReference(wkid=4326)

_REQUEST: TypeAdapter[FeatureRequest] = TypeAdapter(FeatureRequest)


def answer_feature_facts(handle: Handle, _arguments: dict[str, JsonValue]) -> Content:
    """Return what the layers and tables of a file are, as JSON."""
    return Content(write_json([_facts(handle, number) for number in range(len(describe_geopackage(handle)))]))


def answer_features(handle: Handle, arguments: dict[str, JsonValue]) -> Content:
    """Answer a query."""
    request = _REQUEST.validate_python(arguments)
    layer = find_layer(handle, request.layer)
    if request.wants == "features":
        return _features(handle, layer, request)
    if request.wants in ("ids", "unique_ids") or request.query.ids is not None:
        return _ANSWERS[request.wants](handle, request)  # too large to keep
    # The file never changes, so that an answer that costs a look at every row is kept; but the time does.
    return _ANSWERS[request.wants](handle, request) if _asks_the_time(request) else _kept(handle, request)


def _asks_the_time(request: FeatureRequest) -> bool:
    words = request.query.where + (request.summary.having if request.summary else "")
    return "CURRENT_" in words.upper()


def _features(handle: Handle, layer: Layer, request: FeatureRequest) -> Content:
    shapes = request.query.shapes
    if request.format == "geojson":
        # Longitude and latitude whatever outSR says: RFC 7946 knows nothing else.
        moved = replace(shapes, reference=_LONGITUDE_LATITUDE) if shapes else None
        rows = read_rows(handle, request.layer, replace(request.query, shapes=moved))
        return Content(collection_document(layer, rows, request.decimals), MEDIA_TYPE)
    rows = read_rows(handle, request.layer, request.query)
    reference = (shapes.reference if shapes else None) or reference_of(layer)
    steps = _steps(handle, request, reference) if layer.geometry_kind else None
    return Content(features_document(layer, rows, reference, steps or request.decimals))


def _steps(handle: Handle, request: FeatureRequest, reference: SpatialReference | None) -> Steps | None:
    """Return the steps in which coordinates are written, counted from a corner of a client's extent or the layer's."""
    wanted = request.quantization
    if wanted is None:
        return None
    bounds, given = wanted.bounds, wanted.reference
    if bounds is None:
        bounds = measure_bounds(handle, request.layer, FeatureQuery(shapes=Shapes(reference)))
    elif given and reference and crs_of(given) != crs_of(reference):
        box = project(np.array([shapely.box(*bounds)], dtype=object), crs_of(given), crs_of(reference))[0]
        bounds = box.bounds if box is not None else None
    return Steps.within(bounds or (0.0, 0.0, 0.0, 0.0), wanted)


@lru_cache(maxsize=256)
def _kept(handle: Handle, request: FeatureRequest) -> Content:
    return _ANSWERS[request.wants](handle, request)


def _count(handle: Handle, request: FeatureRequest) -> Content:
    return Content(write_json({"count": count_features(handle, request.layer, request.query)}))


def _ids(handle: Handle, request: FeatureRequest) -> Content:
    found = find_feature_ids(handle, request.layer, request.query)
    return Content(ids_document(find_layer(handle, request.layer), found))


def _unique_ids(handle: Handle, request: FeatureRequest) -> Content:
    found = find_feature_ids(handle, request.layer, request.query)
    return Content(unique_ids_document(find_layer(handle, request.layer), found))


def _extent(handle: Handle, request: FeatureRequest) -> Content:
    layer = find_layer(handle, request.layer)
    if layer.geometry_column is None:
        raise InputError(f"{layer.title!r} is a table without geometry and has no extent")
    shapes = request.query.shapes or Shapes()
    bounds = measure_bounds(handle, request.layer, request.query)
    document: dict[str, Any] = {"extent": extent_document(bounds, shapes.reference or reference_of(layer))}
    if request.with_count:
        document["count"] = count_features(handle, request.layer, request.query)
    return Content(write_json(document))


def _statistics(handle: Handle, request: FeatureRequest) -> Content:
    summary = request.summary or SummaryQuery(())
    return Content(statistics_document(summarize(handle, request.layer, request.query, summary)))


_ANSWERS: Mapping[str, Callable[[Handle, FeatureRequest], Content]] = {
    "count": _count,
    "ids": _ids,
    "unique_ids": _unique_ids,
    "extent": _extent,
    "statistics": _statistics,
}


@lru_cache(maxsize=256)
def _facts(handle: Handle, number: int) -> dict[str, JsonValue]:
    layer = find_layer(handle, number)
    reference = reference_of(layer)
    return {
        "id": number,
        "name": layer.title,
        "id_field": layer.id_field.name,
        "fields": [field_document(field) for field in layer.fields],
        "geometry": GEOMETRY_TYPES[layer.geometry_kind] if layer.geometry_kind else None,
        "count": layer.count,
        "extent": extent_document(layer.bounds, reference) if layer.geometry_kind else None,
        "reference": reference_document(reference) if layer.geometry_kind else None,
        **_classes(handle, number),
    }


def _classes(handle: Handle, number: int) -> dict[str, JsonValue]:
    field, colors = classes_of(handle, number)
    classes: list[JsonValue] = [[name, *color] for name, color in colors.items()]
    return {"class_field": field, "classes": classes}


@lru_cache(maxsize=256)
def classes_of(handle: Handle, number: int) -> tuple[str | None, Mapping[str, Color]]:
    """Return the field that tells classes apart, None without one, and the colour of each value."""
    layer = find_layer(handle, number)
    texts = [field for field in layer.fields if field.kind is FieldKind.TEXT]
    wanted = (layer.legend.field.casefold() if layer.legend else "", *_CLASS_FIELDS)
    known = {field.name.casefold(): field for field in reversed(texts)}
    named = next((known[name] for name in wanted if name in known), None)
    if named is None:
        return None, {}
    # Different values in their own order: to count a million rows by class takes seconds, and this part of one.
    rows = read_rows(handle, number, FeatureQuery(fields=(named.name,), distinct=True, limit=MOST_CLASSES))
    return named.name, colors_of((str(cells[0]) for cells in rows.cells if cells[0] is not None), layer.legend)
