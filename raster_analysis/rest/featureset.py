"""Esri JSON of features: what a reader encodes so that the server only passes bytes on. No server is needed here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import JsonValue

from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.feature_query import Rows
from raster_analysis.layers.field import Field, FieldKind
from raster_analysis.layers.geopackage import GeometryKind, Layer
from raster_analysis.rest.quantization import Steps

FIELD_TYPES = {
    FieldKind.ID: "esriFieldTypeOID",
    FieldKind.BOOLEAN: "esriFieldTypeSmallInteger",
    FieldKind.SMALL: "esriFieldTypeSmallInteger",
    FieldKind.INTEGER: "esriFieldTypeInteger",
    FieldKind.LONG: "esriFieldTypeBigInteger",
    FieldKind.SINGLE: "esriFieldTypeSingle",
    FieldKind.REAL: "esriFieldTypeDouble",
    FieldKind.TEXT: "esriFieldTypeString",
    FieldKind.DATE: "esriFieldTypeDate",
    FieldKind.DATETIME: "esriFieldTypeDate",
}
GEOMETRY_TYPES: Mapping[GeometryKind, str] = {
    "point": "esriGeometryPoint",
    "multipoint": "esriGeometryMultipoint",
    "line": "esriGeometryPolyline",
    "polygon": "esriGeometryPolygon",
}
_TEXT_LENGTH = 2_147_483_647
_WEB_MERCATOR, _WEB_MERCATOR_OF_CLIENTS = 3857, 102100
_PARTS = {"line": "paths", "polygon": "rings", "multipoint": "points"}

Shapes = npt.NDArray[np.object_]


def field_document(field: Field) -> dict[str, JsonValue]:
    """Return a field as clients read it."""
    document: dict[str, JsonValue] = {
        "name": field.name,
        "type": FIELD_TYPES[field.kind],
        "alias": field.name,
        "sqlType": "sqlTypeOther",
        "domain": None,
        "defaultValue": None,
    }
    if field.kind is FieldKind.TEXT:
        document["length"] = field.length or _TEXT_LENGTH
    if field.kind.is_moment:
        document["length"] = 8
    return document


def reference_document(reference: SpatialReference | None) -> dict[str, JsonValue] | None:
    """Return a spatial reference; Web Mercator by the code that clients know it by."""
    if reference is None:
        return None
    code = reference.latest_wkid or reference.wkid
    if code in (_WEB_MERCATOR, _WEB_MERCATOR_OF_CLIENTS):
        return {"wkid": _WEB_MERCATOR_OF_CLIENTS, "latestWkid": _WEB_MERCATOR}
    return {"wkid": code, "latestWkid": code} if code else {"wkt": reference.wkt}


def features_document(
    layer: Layer, rows: Rows, reference: SpatialReference | None, precision: Steps | int | None
) -> bytes:
    """Return a feature set; `reference` is the one that the shapes are in, `precision` None for all digits."""
    head: dict[str, Any] = {
        "objectIdFieldName": layer.id_field.name,
        "uniqueIdField": {"name": layer.id_field.name, "isSystemMaintained": True},
        "globalIdFieldName": "",
    }
    if layer.geometry_kind is not None:
        head["geometryType"] = GEOMETRY_TYPES[layer.geometry_kind]
        head["spatialReference"] = reference_document(reference)
    if isinstance(precision, Steps):
        head["transform"] = precision.document
    head["fields"] = [field_document(field) for field in rows.fields]
    head["exceededTransferLimit"] = rows.more
    names = [field.name for field in rows.fields]
    features: list[dict[str, Any]] = [{"attributes": dict(zip(names, cells, strict=True))} for cells in rows.cells]
    if rows.shapes is not None and layer.geometry_kind is not None:
        for feature, shape in zip(features, _geometries(rows.shapes, layer.geometry_kind, precision), strict=True):
            feature["geometry"] = shape
    if rows.centroids is not None:
        for feature, shape in zip(features, _geometries(rows.centroids, "point", precision), strict=True):
            feature["centroid"] = shape
    return write_json({**head, "features": features})


def statistics_document(rows: Rows) -> bytes:
    """Return figures as a feature set without geometry."""
    names = [field.name for field in rows.fields]
    return write_json(
        {
            "displayFieldName": "",
            "fields": [field_document(field) for field in rows.fields],
            "exceededTransferLimit": rows.more,
            "features": [{"attributes": dict(zip(names, cells, strict=True))} for cells in rows.cells],
        }
    )


def unique_ids_document(layer: Layer, ids: Sequence[int]) -> bytes:
    """Return ids as clients read them that know of keys of several fields."""
    return write_json({"uniqueIdFieldNames": [layer.id_field.name], "uniqueIds": list(ids)})


def ids_document(layer: Layer, ids: Sequence[int]) -> bytes:
    """Return ids."""
    return write_json({"objectIdFieldName": layer.id_field.name, "objectIds": list(ids)})


def extent_document(bounds: Sequence[float] | None, reference: SpatialReference | None) -> dict[str, JsonValue]:
    """Return an envelope; one of nothing for no bounds."""
    xmin, ymin, xmax, ymax = bounds or ("NaN",) * 4
    place = reference_document(reference)
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax, "spatialReference": place}


def write_json(document: Any) -> bytes:
    """Return a document as compact UTF-8 JSON without NaN."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def rounded(shapes: Shapes, decimals: int | None) -> Shapes:
    """Return shapes with no more decimals than wanted."""
    if decimals is None:
        return shapes
    return np.asarray(shapely.transform(shapes, lambda points: np.round(points, decimals)), dtype=object)


def _geometries(shapes: Shapes, kind: GeometryKind, precision: Steps | int | None) -> list[dict[str, Any] | None]:
    steps = precision if isinstance(precision, Steps) else None
    shapes = rounded(shapes, None if isinstance(precision, Steps) else precision)
    if kind == "point":
        return [_point(shape, steps) for shape in shapes]
    found: list[dict[str, Any] | None] = [None if shape is None else {_PARTS[kind]: []} for shape in shapes]
    parts, owners = _parts(shapes, kind)
    points, places = shapely.get_coordinates(parts, return_index=True)
    ends = np.cumsum(np.bincount(places, minlength=len(parts)))
    start = 0
    for owner, end in zip(owners.tolist(), ends.tolist(), strict=True):
        feature = found[owner]
        if feature is not None:
            row = steps.part(points[start:end], kind) if steps else points[start:end].tolist()
            feature[_PARTS[kind]] += [row] if row else []
        start = end
    if kind == "multipoint":
        return [None if each is None else {"points": [*chain(*each["points"])]} for each in found]
    return found


def _point(shape: Any, steps: Steps | None) -> dict[str, Any] | None:
    if shape is None:
        return None
    x, y = steps.count(np.array([[shape.x, shape.y]]))[0].tolist() if steps else (shape.x, shape.y)
    return {"x": x, "y": y}


def _parts(shapes: Shapes, kind: GeometryKind) -> tuple[Shapes, npt.NDArray[np.intp]]:
    """Return rings, lines or sets of points, and the place of the shape that each belongs to."""
    if kind == "multipoint":
        return shapes, np.arange(len(shapes))
    if kind != "polygon":
        parts, owners = shapely.get_parts(shapes, return_index=True)
    else:
        # Shells clockwise, holes the other way round.
        parts, owners = shapely.get_rings(shapely.orient_polygons(shapes, exterior_cw=True), return_index=True)
    return np.asarray(parts, dtype=object), np.asarray(owners)
