"""Polygons and their CRS, out of vector files, GeoJSON and Esri JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pydantic import JsonValue, ValidationError
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS
from shapely.geometry.base import BaseGeometry

from raster_analysis.errors import InputError
from raster_analysis.handle import Handle
from raster_analysis.inputs import SpatialReference
from raster_analysis.rasters.reference import (
    LONGITUDE_LATITUDE,
    from_geojson_member,
    from_name,
    from_spatial_reference,
    to_wkt,
)

_AREAS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
Polygons = tuple[npt.NDArray[np.object_], str]
"""Shapely polygons and multipolygons, and their CRS as WKT."""


def read_polygons(handle: Handle) -> Polygons:
    """Return the polygons of a vector file's first layer; raises InputError when it has none."""
    handle.verify_unchanged()
    if handle.driver == "Parquet":
        raise InputError(f"mask {handle.title!r} is a Parquet file; give a GeoPackage, GeoJSON or FlatGeobuf")
    try:
        meta, _, wkb, _ = pyogrio.raw.read(handle.path, columns=[])
    except (DataSourceError, DataLayerError, ValueError) as error:
        reason = str(error).replace(handle.path, handle.title)
        raise InputError(f"mask {handle.title!r} cannot be read: {reason}") from error
    if not meta["crs"]:
        raise InputError(f"mask {handle.title!r} has no coordinate reference system")
    # Geometries that cannot be parsed become None, which is no polygon.
    geometries = np.array([]) if wkb is None else shapely.from_wkb(wkb, on_invalid="ignore")
    return _areas_only(geometries, repr(handle.title)), to_wkt(CRS.from_user_input(meta["crs"]))


def read_polygons_of(document: dict[str, JsonValue]) -> Polygons:
    """Return the polygons of a GeoJSON or Esri JSON object: a geometry, a feature or a set of them.

    GeoJSON is in longitude and latitude unless it has a `crs` member; Esri JSON needs a
    `spatialReference`. Raises InputError when there are no polygons.
    """
    try:
        crs = _crs_of(document)
        geometries = np.array(list(_geometries(document)), dtype=object)
    except (ValidationError, TypeError, AttributeError) as error:
        raise InputError(f"the context's mask {str(document)[:60]} is no GeoJSON or Esri JSON of polygons") from error
    return _areas_only(geometries, "of the context"), crs


def _crs_of(document: dict[str, Any]) -> str:
    if "type" in document and "rings" not in document:
        member = document.get("crs")
        return from_geojson_member(member) if member else from_name(LONGITUDE_LATITUDE)
    geometry = next(iter(document.get("features") or []), document).get("geometry") or document
    reference = document.get("spatialReference") or geometry.get("spatialReference")
    if not reference:
        raise InputError("the context's mask is Esri JSON without a spatialReference; add one")
    return from_spatial_reference(SpatialReference.model_validate(reference), "the mask's spatialReference")


def _geometries(document: Any) -> Iterator[BaseGeometry]:
    """Yield every polygon of a document, however it is wrapped."""
    if not isinstance(document, dict):
        raise InputError(f"the context's mask holds {str(document)[:60]!r} where an object is wanted")
    for wrapper in ("features", "geometries"):
        if wrapper in document:
            for part in document[wrapper]:
                yield from _geometries(part)
            return
    if "geometry" in document:
        yield from _geometries(document["geometry"]) if document["geometry"] else ()
        return
    try:
        yield area_of_rings(document["rings"]) if "rings" in document else shapely.geometry.shape(document)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, shapely.errors.ShapelyError) as error:
        raise InputError(f"the context's mask is no GeoJSON or Esri JSON polygon: {error}") from error


def area_of_rings(rings: Any) -> BaseGeometry:
    """Return the area inside an odd number of rings: Esri JSON mixes shells and holes.

    Rings that clients left open are closed.
    """
    lines = shapely.MultiLineString([[point[:2] for point in (*ring, ring[0])] for ring in rings if ring])
    return shapely.build_area(shapely.node(lines))


def _areas_only(geometries: npt.NDArray[np.object_], name: str) -> npt.NDArray[np.object_]:
    wanted = geometries[np.isin(shapely.get_type_id(geometries), _AREAS) & ~shapely.is_empty(geometries)]
    if not len(wanted):
        raise InputError(f"mask {name} holds no polygon")
    if not np.isfinite(shapely.bounds(wanted)).all():
        raise InputError(f"mask {name} holds a coordinate that is not a finite number")
    return wanted
