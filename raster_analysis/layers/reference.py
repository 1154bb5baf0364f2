"""Coordinate reference systems of layers, where GDAL is not loaded: found by code or text, and ways between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry.base import BaseGeometry

from raster_analysis.errors import InputError
from raster_analysis.inputs import SpatialReference

_WEB_MERCATOR = 3857
_WEB_MERCATOR_CODES = (102100, 102113, 900913)
_LONGITUDE_LATITUDE = 4326
_PARTS_OF_EDGES = 32
"""Straight edges become curves in another system; this many parts follow them."""

Points = npt.NDArray[np.float64]


def crs_of(reference: SpatialReference) -> CRS:
    """Return the system that a reference names; raises InputError for one that is not known."""
    code = reference.latest_wkid or reference.wkid
    found = _of_code(code) if code else _of_text(reference.wkt or "")
    if found.is_vertical and not found.is_compound:
        raise InputError(f"spatial reference {found.name[:80]!r} is one of heights; give one of places")
    return found


@lru_cache(maxsize=64)
def _of_code(code: int) -> CRS:
    if code in _WEB_MERCATOR_CODES:
        return CRS.from_epsg(_WEB_MERCATOR)
    for authority in ("EPSG", "ESRI"):
        try:
            return CRS.from_authority(authority, code)
        except CRSError:
            continue
    raise InputError(f"spatial reference {code} is not known; give a wkid of EPSG or Esri, or a wkt")


@lru_cache(maxsize=64)
def _of_text(text: str) -> CRS:
    try:
        # Only texts that describe a system: from_user_input would take names of files and PROJ pipelines too.
        return CRS.from_wkt(text)
    except CRSError:
        raise InputError(f"spatial reference {text[:80]!r} is no usable wkt") from None


@lru_cache(maxsize=64)
def _way(source: str, target: str) -> Transformer:
    here, there = CRS.from_wkt(source), CRS.from_wkt(target)
    try:
        return Transformer.from_crs(here, there, always_xy=True)
    except ProjError:
        raise InputError(f"no way is known from spatial reference {here.name[:80]!r} to {there.name[:80]!r}") from None


def project(shapes: npt.NDArray[np.object_], source: CRS, target: CRS) -> npt.NDArray[np.object_]:
    """Return shapes in another system; None where a shape has no counterpart there."""
    if source == target:
        return shapes
    moved = np.asarray(shapely.transform(shapes, _mover(source, target)), dtype=object)
    lost = ~np.isfinite(shapely.bounds(moved)).all(axis=1) & ~shapely.is_missing(moved)
    moved[lost] = None
    return moved


def project_one(shape: BaseGeometry, source: CRS, target: CRS) -> BaseGeometry:
    """Return a shape in another system, its edges as the curves they are there; raises InputError without one."""
    if source == target or shape.is_empty:
        return shape
    xmin, ymin, xmax, ymax = shape.bounds
    longest = max(xmax - xmin, ymax - ymin)
    fine = shapely.segmentize(shape, longest / _PARTS_OF_EDGES) if longest else shape
    try:
        moved: BaseGeometry = shapely.transform(fine, _mover(source, target))
    except ProjError:
        moved = shapely.Point(np.inf, np.inf)
    if not np.isfinite(moved.bounds).all():
        raise InputError(f"the geometry has no place in {target.name!r}, the layer's spatial reference")
    return moved


def grow(shape: BaseGeometry, crs: CRS, distance_m: float) -> BaseGeometry:
    """Return a shape with all that lies within a distance on the ground."""
    degrees = _of_code(_LONGITUDE_LATITUDE)
    middle = project_one(shape.centroid, crs, degrees).centroid
    flat = CRS.from_proj4(f"+proj=aeqd +lat_0={middle.y:.9f} +lon_0={middle.x:.9f} +datum=WGS84 +units=m")
    grown = project_one(shape, crs, flat).buffer(distance_m)
    return project_one(_within_the_map(project_one(grown, flat, degrees), middle.x), degrees, crs)


def _within_the_map(shape: BaseGeometry, middle: float) -> BaseGeometry:
    """Return a shape of degrees in two parts when it reaches over the 180th meridian; its middle is known."""
    bent = shapely.transform(shape, lambda points: _near(points, middle))
    west, _, east, _ = bent.bounds
    if west >= -180 and east <= 180:
        return bent
    turns = (bent, shapely.transform(bent, lambda points: points + np.array([360.0 if west < -180 else -360.0, 0])))
    world = shapely.box(-180, -90, 180, 90)
    return shapely.union_all([shapely.make_valid(turn).intersection(world) for turn in turns])


def _near(points: Points, middle: float) -> Points:
    """Return degrees whose longitudes are less than half a turn from one of them."""
    turns = np.round((points[:, 0] - middle) / 360)
    return np.column_stack([points[:, 0] - 360 * turns, points[:, 1]])


def _mover(source: CRS, target: CRS) -> Callable[[Points], Points]:
    way = _way(source.to_wkt(), target.to_wkt())

    def move(points: Points) -> Points:
        return np.column_stack(way.transform(points[:, 0], points[:, 1]))

    return move
