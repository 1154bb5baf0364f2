"""Spatial references: what users and files write for one, as a coordinate reference system in WKT."""

from __future__ import annotations

import re
from typing import Any

from pydantic import JsonValue
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform_bounds

from raster_analysis.errors import RasterError
from raster_analysis.grid import Bounds
from raster_analysis.inputs import SpatialReference
from raster_analysis.rasters.gdal_log import GDAL_ERRORS

_NAMED = re.compile(
    r"(?:urn:ogc:def:crs:|https?://www\.opengis\.net/def/crs/)?(EPSG|OGC|ESRI)(?:[:/][^:/]*)?[:/](\w+)", re.IGNORECASE
)

LONGITUDE_LATITUDE = "OGC:CRS84"
"""What GeoJSON is in when it does not say."""


def to_wkt(crs: CRS) -> str:
    """Return the WKT that all rooms use, WKT2:2019."""
    return str(crs.to_wkt(version="WKT2_2019"))


def from_spatial_reference(reference: SpatialReference, what: str) -> str:
    """Return an Esri spatial reference as WKT; raises RasterError when there is no such system."""
    for code in (reference.latest_wkid, reference.wkid):
        found = _from_code(code) if code is not None else None
        if found:
            return found
    if reference.wkt:
        try:
            return to_wkt(CRS.from_wkt(reference.wkt))
        except CRSError:
            pass
    raise RasterError(f"{what} {reference.model_dump(exclude_none=True)} names no known spatial reference")


def from_geojson_member(value: JsonValue) -> str:
    """Return the `crs` member of a GeoJSON object (2008 style) as WKT."""
    name: Any = value
    while isinstance(name, dict):
        name = name.get("properties", name.get("name"))
    match = _NAMED.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise RasterError(f"crs {str(value)[:80]!r} of the mask is not understood; want e.g. EPSG:4326")
    return from_name(f"{match[1].upper()}:{match[2]}")


def from_name(name: str) -> str:
    """Return `AUTHORITY:CODE` as WKT; raises RasterError when there is no such system."""
    try:
        return to_wkt(CRS.from_authority(*name.split(":")))
    except CRSError:
        raise RasterError(f"{name} is no known coordinate reference system") from None


def project_bounds(bounds: Bounds, source: str, target: str, what: str) -> Bounds:
    """Return the bounds in another system, with the bulge of their edges.

    Raises:
        RasterError: they have no counterpart there, or cross its antimeridian.
    """
    here, there = CRS.from_wkt(source), CRS.from_wkt(target)
    if here == there:
        return bounds
    try:
        left, bottom, right, top = transform_bounds(here, there, *bounds, densify_pts=21)
    except (*GDAL_ERRORS, ValueError) as error:
        raise RasterError(
            f"{what} {_figures(bounds)} cannot be projected to the processing coordinate system: "
            "no transformation is known between the two"
        ) from error
    if not left < right or not bottom < top or max(map(abs, (left, bottom, right, top))) == float("inf"):
        raise RasterError(
            f"{what} {_figures(bounds)} has no simple counterpart in the processing coordinate system: it crosses "
            "the antimeridian or leaves the system's area of use; split it or give it in another spatial reference"
        )
    return left, bottom, right, top


def _from_code(code: int) -> str | None:
    # Esri's own codes (102100) and EPSG's do not collide where both are defined.
    for authority in ("EPSG", "ESRI"):
        try:
            return to_wkt(CRS.from_authority(authority, code))
        except CRSError:
            continue
    return None


def _figures(bounds: Bounds) -> str:
    return "(" + ", ".join(f"{value:.12g}" for value in bounds) + ")"
