"""Documents of a feature service: the service, its layers and tables, and how clients may draw them (contract 7.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from raster_analysis.layers.palette import Color, color_of
from raster_analysis.rest.envelope import Document
from raster_analysis.rest.feature_request import MAX_RECORDS
from raster_analysis.rest.feature_source import FeatureSource, LayerFacts
from raster_analysis.rest.tasks import CURRENT_VERSION

_FORMATS = "JSON, geoJSON"
_MARKED = 255
_FILLED = 90
_WEB_MERCATOR: Document = {"wkid": 102100, "latestWkid": 3857}


def service_document(source: FeatureSource, layers: Sequence[LayerFacts]) -> Document:
    """Return the service; one that no job has filled yet has neither layers nor tables."""
    first = next((layer for layer in layers if layer["extent"]), None)
    place: JsonValue = first["reference"] if first else _WEB_MERCATOR
    extent: JsonValue = first["extent"] if first else _nowhere()
    return {
        "currentVersion": CURRENT_VERSION,
        "serviceItemId": source.item_id,
        "name": source.name,
        "serviceDescription": source.description,
        "description": source.description,
        "copyrightText": "",
        "capabilities": "Query",
        "hasVersionedData": False,
        "hasStaticData": True,
        "maxRecordCount": MAX_RECORDS,
        "supportedQueryFormats": _FORMATS,
        "supportsDisconnectedEditing": False,
        "syncEnabled": False,
        "allowGeometryUpdates": False,
        "editorTrackingInfo": {"enableEditorTracking": False, "enableOwnershipAccessControl": False},
        "units": "esriDecimalDegrees" if _is_geographic(place) else "esriMeters",
        "spatialReference": place,
        "initialExtent": extent,
        "fullExtent": extent,
        "layers": [_entry(layer) for layer in layers if layer["geometry"]],
        "tables": [_entry(layer) for layer in layers if not layer["geometry"]],
        "relationships": [],
    }


def layer_document(source: FeatureSource, layer: LayerFacts) -> Document:
    """Return a layer or table."""
    display = layer["class_field"] or next(
        (field["name"] for field in layer["fields"] if field["type"] == "esriFieldTypeString"), layer["id_field"]
    )
    return {
        "currentVersion": CURRENT_VERSION,
        "id": layer["id"],
        "name": layer["name"],
        "type": "Feature Layer" if layer["geometry"] else "Table",
        "serviceItemId": source.item_id,
        "description": source.description,
        "copyrightText": "",
        "displayField": display,
        "objectIdField": layer["id_field"],
        "uniqueIdField": {"name": layer["id_field"], "isSystemMaintained": True},
        "globalIdField": "",
        "fields": layer["fields"],
        "indexes": [],
        "relationships": [],
        "types": [],
        "templates": [],
        "typeIdField": "",
        "subtypeField": "",
        **(_geometry(layer) if layer["geometry"] else {}),
        **_abilities(),
    }


def _geometry(layer: LayerFacts) -> Document:
    return {
        "geometryType": layer["geometry"],
        "extent": layer["extent"],
        "sourceSpatialReference": layer["reference"],
        "spatialReference": layer["reference"],
        "drawingInfo": {"renderer": _renderer(layer), "transparency": 0, "labelingInfo": None},
        "defaultVisibility": True,
        "minScale": 0,
        "maxScale": 0,
        "hasZ": False,
        "hasM": False,
        "geometryProperties": None,
    }


def _abilities() -> Document:
    return {
        "capabilities": "Query",
        "hasAttachments": False,
        "htmlPopupType": "esriServerHTMLPopupTypeNone",
        "isDataVersioned": False,
        "hasStaticData": True,
        "maxRecordCount": MAX_RECORDS,
        "standardMaxRecordCount": MAX_RECORDS,
        "tileMaxRecordCount": MAX_RECORDS,
        "maxRecordCountFactor": 1,
        "supportedQueryFormats": _FORMATS,
        "useStandardizedQueries": True,
        "supportsStatistics": True,
        "supportsAdvancedQueries": True,
        "supportsCoordinatesQuantization": True,
        "supportsCalculate": False,
        "supportsTruncate": False,
        "allowGeometryUpdates": False,
        "advancedQueryCapabilities": {
            **dict.fromkeys(_SUPPORTED, True),
            **dict.fromkeys(_UNSUPPORTED, False),
        },
    }


_SUPPORTED = (
    "supportsPagination", "supportsStatistics", "supportsOrderBy", "supportsDistinct", "supportsCountDistinct",
    "supportsQueryWithDistance", "supportsReturningQueryExtent", "supportsHavingClause",
    "supportsReturningGeometryCentroid", "supportsPercentileStatistics", "useStandardizedQueries",
)  # fmt: skip
_UNSUPPORTED = (
    "supportsPaginationOnAggregatedQueries", "supportsQueryAnalytic",
    "supportsQueryWithResultType", "supportsQueryRelatedPagination", "supportsQueryAttachments",
    "supportsReturningGeometryEnvelope", "supportsQueryWithDatumTransformation", "supportsFullTextSearch",
)  # fmt: skip


def _entry(layer: LayerFacts) -> Document:
    entry: Document = {
        "id": layer["id"],
        "name": layer["name"],
        "type": "Feature Layer" if layer["geometry"] else "Table",
        "parentLayerId": -1,
        "subLayerIds": None,
        "defaultVisibility": True,
        "minScale": 0,
        "maxScale": 0,
    }
    return entry | ({"geometryType": layer["geometry"]} if layer["geometry"] else {})


def _renderer(layer: LayerFacts) -> Document:
    """Return a colour for each class, or one for all."""
    if not layer["classes"]:
        return {"type": "simple", "label": "", "description": "", "symbol": _symbol(layer["geometry"], color_of(0))}
    infos: list[JsonValue] = [
        {"value": value, "label": value, "description": "", "symbol": _symbol(layer["geometry"], (red, green, blue))}
        for value, red, green, blue in layer["classes"]
    ]
    return {
        "type": "uniqueValue",
        "field1": layer["class_field"],
        "field2": None,
        "field3": None,
        "fieldDelimiter": ",",
        "defaultSymbol": _symbol(layer["geometry"], (128, 128, 128)),
        "defaultLabel": "Other",
        "uniqueValueInfos": infos,
    }


def _symbol(geometry: str, color: Color) -> Document:
    line: Document = {"type": "esriSLS", "style": "esriSLSSolid", "color": [*color, _MARKED], "width": 1.2}
    if geometry == "esriGeometryPolyline":
        return line
    if geometry == "esriGeometryPolygon":
        return {"type": "esriSFS", "style": "esriSFSSolid", "color": [*color, _FILLED], "outline": line}
    marker: Document = {"type": "esriSMS", "style": "esriSMSCircle", "color": [*color, _MARKED], "size": 6}
    return {**marker, "angle": 0, "xoffset": 0, "yoffset": 0, "outline": {**line, "color": [255, 255, 255, _MARKED]}}


def _nowhere() -> Document:
    return {"xmin": 0.0, "ymin": 0.0, "xmax": 0.0, "ymax": 0.0, "spatialReference": _WEB_MERCATOR}


def _is_geographic(place: Any) -> bool:
    return isinstance(place, Mapping) and (
        place.get("wkid") in range(4000, 5000) or str(place.get("wkt", "")).startswith("GEOGCS")
    )
