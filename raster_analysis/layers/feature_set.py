"""Features written out in a request: Esri feature sets and collections of them, and GeoJSON, as a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import JsonValue, ValidationError

from raster_analysis.errors import InputError
from raster_analysis.inputs import SpatialReference
from raster_analysis.rasters.polygons import area_of_rings
from raster_analysis.rasters.reference import (
    LONGITUDE_LATITUDE,
    from_geojson_member,
    from_name,
    from_spatial_reference,
)
from raster_analysis.seams import FeatureTable

_NUMBERS: dict[str, np.dtype[Any]] = {
    "esriFieldTypeSmallInteger": np.dtype(np.int16),
    "esriFieldTypeInteger": np.dtype(np.int32),
    "esriFieldTypeBigInteger": np.dtype(np.int64),
    "esriFieldTypeSingle": np.dtype(np.float32),
    "esriFieldTypeDouble": np.dtype(np.float64),
}
_OBJECT_ID = "esriFieldTypeOID"
_DATE = "esriFieldTypeDate"
_BOOLEAN = "boolean"
"""Only JSON knows them."""
_LEFT_OUT = ("esriFieldTypeGeometry", "esriFieldTypeBlob", "esriFieldTypeRaster")
_ESRI_GEOMETRIES = {
    "esriGeometryPoint": "Point",
    "esriGeometryMultipoint": "MultiPoint",
    "esriGeometryPolyline": "MultiLineString",
    "esriGeometryPolygon": "MultiPolygon",
    "esriGeometryEnvelope": "Polygon",
}
Document = dict[str, Any]


def read_feature_set(document: dict[str, JsonValue], name: str = "written out") -> FeatureTable:
    """Return the features of a GeoJSON object, an Esri feature set or a feature collection with one layer.

    GeoJSON is in longitude and latitude unless it has a `crs` member; Esri JSON needs a `spatialReference`.

    Raises:
        InputError: it is none of them, or one of its features is broken.
    """
    if not document:
        raise InputError('the feature collection is empty; want {"layerDefinition": {...}, "featureSet": {...}}')
    if "type" in document and not {"rings", "paths", "x", "points"} & document.keys():
        return _from_geojson(document, name)
    layer, features = _unwrap(document)
    return _from_esri(layer, features, name)


def _unwrap(document: Document) -> tuple[Document, Document]:
    """Return a layer's definition and its feature set, however they are wrapped."""
    inner = document.get("featureCollection", document)
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if isinstance(layers, list):
        if len(layers) != 1:
            raise InputError(f"the feature collection has {len(layers)} layers; give one of them")
        inner = layers[0]
    found = inner.get("featureSet", inner) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(found, dict) or not isinstance(found.get("features"), list):
        raise InputError('the feature collection has no list of features; want {"featureSet": {"features": [...]}}')
    definition = inner.get("layerDefinition")
    return definition if isinstance(definition, dict) else {}, found


def _from_esri(layer: Document, found: Document, name: str) -> FeatureTable:
    features = [_object(feature, number) for number, feature in enumerate(found["features"])]
    shapes = _parse_each((feature.get("geometry") for feature in features), _esri_shape)
    attributes = _attributes(features, "attributes")
    fields = {str(field.get("name")): str(field.get("type")) for field in _fields(found) or _fields(layer)}
    key = _object_id(layer, found, fields)
    kind = found.get("geometryType") or layer.get("geometryType")
    return FeatureTable(
        geometries=shapes,
        crs=_esri_crs(layer, found, features),
        columns=_columns(attributes, {n: t for n, t in fields.items() if n != key}, bool(fields), skip=key),
        layer=name,
        geometry_type=_ESRI_GEOMETRIES.get(str(kind), "Unknown"),
        ids=_ids(attributes, key),
    )


def _fields(place: Document) -> list[Document]:
    declared = place.get("fields")
    return [field for field in declared if isinstance(field, dict)] if isinstance(declared, list) else []


def _object_id(layer: Document, found: Document, fields: dict[str, str]) -> str | None:
    declared = found.get("objectIdFieldName") or layer.get("objectIdField")
    return str(declared) if declared else next((n for n, kind in fields.items() if kind == _OBJECT_ID), None)


def _ids(attributes: Sequence[Document], key: str | None) -> npt.NDArray[np.int64] | None:
    """Return the features' ids, None when they have none that are whole, positive and different."""
    found = [row.get(key) for row in attributes] if key else [None]
    usable = all(isinstance(value, int) and 0 < value < 2**63 for value in found) and len(set(found)) == len(found)
    return np.array(found, np.int64) if usable else None


def _esri_crs(layer: Document, found: Document, features: Sequence[Document]) -> str:
    extent = layer.get("extent")
    places = [found, layer, extent, *((f.get("geometry") or {}) for f in features[:1])]
    for place in places:
        reference = place.get("spatialReference") if isinstance(place, dict) else None
        if reference:
            try:
                return from_spatial_reference(SpatialReference.model_validate(reference), "spatialReference")
            except ValidationError:
                raise InputError(f"spatialReference {str(reference)[:80]} is not understood") from None
    raise InputError('the features have no spatialReference; add one, e.g. {"wkid": 4326}')


def _from_geojson(document: Document, name: str) -> FeatureTable:
    if document["type"] == "FeatureCollection":
        features = document.get("features")
    else:
        features = [document if document["type"] == "Feature" else {"geometry": document}]
    if not isinstance(features, list):
        raise InputError("the GeoJSON FeatureCollection has no list of features")
    features = [_object(feature, number) for number, feature in enumerate(features)]
    member = document.get("crs")
    return FeatureTable(
        geometries=_parse_each((feature.get("geometry") for feature in features), _geojson_shape),
        crs=from_geojson_member(member) if member else from_name(LONGITUDE_LATITUDE),
        columns=_columns(_attributes(features, "properties"), {}, declared=False),
        layer=name,
        geometry_type="Unknown",
    )


def _object(feature: object, number: int) -> Document:
    if not isinstance(feature, dict):
        raise InputError(f"feature {number + 1} is {str(feature)[:60]!r}; want an object")
    return feature


def _attributes(features: Sequence[Document], member: str) -> list[Document]:
    """Return what each feature says of itself, an empty object where it says nothing."""
    found = [feature.get(member) or {} for feature in features]
    for number, row in enumerate(found):
        if not isinstance(row, dict):
            raise InputError(f"feature {number + 1} has {member} {str(row)[:60]!r}; want an object")
    return found


def _parse_each(documents: Iterable[object], parse: Callable[[Any], Any]) -> npt.NDArray[np.object_]:
    """Return a shape for each document, None for those that have none."""
    shapes = []
    for number, document in enumerate(documents):
        try:
            shapes.append(parse(document) if document else None)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
            raise InputError(f"the geometry of feature {number + 1} is not understood: {str(error)[:200]}") from error
    found = np.empty(len(shapes), object)
    found[:] = shapes
    if not np.isfinite(shapely.bounds(found[~shapely.is_missing(found) & ~shapely.is_empty(found)])).all():
        raise InputError("a feature has a coordinate that is not a finite number")
    return found


def _geojson_shape(geometry: Any) -> Any:
    return shapely.from_geojson(json.dumps(geometry))


def _esri_shape(geometry: Any) -> Any:
    width = 3 if geometry.get("hasZ") else 2
    if "rings" in geometry:
        area = area_of_rings(geometry["rings"])
        return shapely.multipolygons([area]) if area.geom_type == "Polygon" and not area.is_empty else area
    if "paths" in geometry:
        return shapely.MultiLineString([[point[:width] for point in path] for path in geometry["paths"]])
    if "points" in geometry:
        return shapely.MultiPoint([point[:width] for point in geometry["points"]])
    if "xmin" in geometry:
        xmin, ymin, xmax, ymax = (float(geometry[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
        return shapely.box(xmin, ymin, xmax, ymax)
    if geometry["x"] in (None, "NaN"):
        return None
    return shapely.Point([float(geometry[axis]) for axis in ("x", "y", "z")[:width] if axis in geometry])


def _columns(
    attributes: Sequence[Document], types: dict[str, str], declared: bool, *, skip: str | None = None
) -> dict[str, npt.NDArray[np.generic] | Sequence[str]]:
    """Return the attributes by name, in the order of their declaration or else of their first appearance."""
    names = types if declared else dict.fromkeys(str(name) for row in attributes for name in row if name != skip)
    return {
        name: _column([row.get(name) for row in attributes], types.get(name), name)
        for name in names
        if types.get(name) not in _LEFT_OUT
    }


def _column(values: list[Any], kind: str | None, name: str) -> npt.NDArray[np.generic]:
    """Return values of the type that is declared, or that they have; masked where they are null."""
    if kind is None:
        kind = _guess_kind(values)
    try:
        if kind == _BOOLEAN:
            return _numbers(values, np.dtype(bool))
        if kind == _DATE:
            return np.array([None if v is None else int(v) for v in values], "datetime64[ms]")
        if kind in _NUMBERS:
            return _numbers(values, _NUMBERS[kind])
    except (ValueError, TypeError, OverflowError):
        raise InputError(f"attribute {name!r} holds a value that does not fit its type {kind}") from None
    return np.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in values], object)


def _guess_kind(values: list[Any]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return _BOOLEAN
    if kinds == {int} and all(abs(value) < 2**63 for value in values if value is not None):
        return "esriFieldTypeBigInteger"
    return "esriFieldTypeDouble" if kinds and kinds <= {int, float} else "esriFieldTypeString"


def _numbers(values: list[Any], kind: np.dtype[Any]) -> npt.NDArray[np.generic]:
    if kind.kind == "f":
        return np.array([np.nan if value is None else float(value) for value in values], kind)
    missing = np.array([value is None for value in values], bool)
    return np.ma.masked_array(np.array([0 if value is None else int(value) for value in values], kind), missing)
