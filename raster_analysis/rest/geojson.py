"""GeoJSON of features (RFC 7946): longitude and latitude, shells anticlockwise, written by a reader."""

from __future__ import annotations

import json

import numpy as np
import shapely

from raster_analysis.layers.feature_query import Rows
from raster_analysis.layers.geopackage import Layer
from raster_analysis.rest.featureset import rounded

MEDIA_TYPE = "application/geo+json"
MORE = '"properties":{"exceededTransferLimit":true},'
"""What a page that is not the last one holds for clients of feature services."""
_DECIMALS = 9
"""A tenth of a millimetre; more digits are noise of the projection."""


def collection_document(layer: Layer, rows: Rows, decimals: int | None = None) -> bytes:
    """Return a feature collection; the shapes are in longitude and latitude already."""
    names = [field.name for field in rows.fields]
    place = names.index(layer.id_field.name) if layer.id_field.name in names else None
    geometries = _geometries(rows, _DECIMALS if decimals is None else decimals)
    features = []
    for cells, geometry in zip(rows.cells, geometries, strict=True):
        number = f'"id":{cells[place]},' if place is not None else ""
        attributes = json.dumps(dict(zip(names, cells, strict=True)), ensure_ascii=False, separators=(",", ":"))
        features.append(f'{{"type":"Feature",{number}"geometry":{geometry},"properties":{attributes}}}')
    more = MORE if rows.more else ""
    text = f'{{"type":"FeatureCollection",{more}"features":[{",".join(features)}]}}'
    return text.encode("utf-8", "replace")


def _geometries(rows: Rows, decimals: int) -> list[str]:
    if rows.shapes is None:
        return ["null"] * len(rows.cells)
    shapes = rounded(rows.shapes, decimals)
    texts = shapely.to_geojson(np.asarray(shapely.orient_polygons(shapes), dtype=object))
    return ["null" if text is None else text for text in texts]
