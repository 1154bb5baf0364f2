"""Where features lie: the spatial index finds who may be meant, the shapes themselves decide."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from raster_analysis.errors import InputError
from raster_analysis.layers.feature_query import Place, Relation
from raster_analysis.layers.field import quote_name
from raster_analysis.layers.geometry_blob import decode
from raster_analysis.layers.geopackage import Layer
from raster_analysis.layers.reference import crs_of, grow, project, project_one

_AT_ONCE = 20_000

Ids = npt.NDArray[np.int64]
_Predicate = Callable[[BaseGeometry, npt.NDArray[np.object_]], npt.NDArray[np.bool_]]

_PREDICATES: Mapping[Relation, _Predicate] = {
    Relation.INTERSECTS: shapely.intersects,
    Relation.ENVELOPES_INTERSECT: lambda box, shapes: shapely.intersects(box, shapely.envelope(shapes)),
    Relation.CONTAINS: shapely.contains,
    Relation.WITHIN: shapely.within,
    Relation.TOUCHES: shapely.touches,
    Relation.OVERLAPS: shapely.overlaps,
    Relation.CROSSES: shapely.crosses,
}
_INSIDE_IS_ENOUGH = (Relation.INTERSECTS, Relation.ENVELOPES_INTERSECT, Relation.CONTAINS)
"""What holds for whatever lies within a rectangle that is asked about."""


def find_ids(connection: sqlite3.Connection, layer: Layer, place: Place) -> Ids:
    """Return the ids of the features at a place, in order; raises InputError for a place that is none."""
    if layer.geometry_column is None:
        raise InputError(f"{layer.title!r} is a table without geometry; leave the geometry out")
    shape = _shape(layer, place)
    if shape.is_empty:
        return np.empty(0, np.int64)
    sure, unsure = _candidates(connection, layer, shape, place.relation)
    hits = [sure]
    shapely.prepare(shape)
    for start in range(0, len(unsure), _AT_ONCE):
        ids = unsure[start : start + _AT_ONCE]
        hits.append(ids[_test(connection, layer, ids, (shape, place.relation))])
    return np.sort(np.concatenate(hits))


def _shape(layer: Layer, place: Place) -> BaseGeometry:
    """Return the shape in the layer's reference."""
    shape = shapely.from_wkt(place.wkt)
    if not shapely.is_valid(shape):
        shape = shapely.make_valid(shape)
    own = CRS.from_wkt(layer.crs_wkt) if layer.crs_wkt else None
    given = crs_of(place.reference) if place.reference else own
    if own is not None and given is not None:
        shape = grow(shape, given, place.distance_m) if place.distance_m else shape
        shape = project_one(_around(layer, shape, own, given), given, own)
    elif place.distance_m:
        raise InputError(f"{layer.title!r} has no spatial reference, so that no distance can be measured")
    return shapely.envelope(shape) if place.relation is Relation.ENVELOPES_INTERSECT else shape


def _around(layer: Layer, shape: BaseGeometry, own: CRS, given: CRS) -> BaseGeometry:
    """Return the part of a shape that lies around a layer: the whole world has no shape in most systems."""
    if layer.bounds is None or own == given:
        return shape
    xmin, ymin, xmax, ymax = layer.bounds
    longest = max(xmax - xmin, ymax - ymin)
    box = shapely.segmentize(shapely.box(*layer.bounds), longest / 32) if longest else shapely.Point(xmin, ymin)
    seen = project(np.array([box], dtype=object), own, given)[0]
    if seen is None:
        return shape
    west, south, east, north = seen.bounds
    margin = 0.1 * max(east - west, north - south) or 1.0
    part: BaseGeometry = shape.intersection(shapely.box(west - margin, south - margin, east + margin, north + margin))
    return part


def _candidates(
    connection: sqlite3.Connection, layer: Layer, shape: BaseGeometry, relation: Relation
) -> tuple[Ids, Ids]:
    """Return the ids of those that are surely meant, and of those whose shapes must be looked at."""
    if not layer.has_index:
        every = connection.execute(f"SELECT {layer.id_field.quoted} FROM {quote_name(layer.table)}")  # noqa: S608
        return np.empty(0, np.int64), _ids(every)
    xmin, ymin, xmax, ymax = shape.bounds
    sql = f"SELECT id FROM {layer.index} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"  # noqa: S608
    found = _ids(connection.execute(sql, (xmin, xmax, ymin, ymax)))
    is_box = bool(shapely.equals(shape, shapely.box(xmin, ymin, xmax, ymax)))
    if not is_box or relation not in _INSIDE_IS_ENOUGH:
        return np.empty(0, np.int64), found
    # The index rounds boxes outwards, so that what it says is inside is inside.
    sql = f"SELECT id FROM {layer.index} WHERE minx >= ? AND maxx <= ? AND miny >= ? AND maxy <= ?"  # noqa: S608
    inside = _ids(connection.execute(sql, (xmin, xmax, ymin, ymax)))
    return inside, np.setdiff1d(found, inside, assume_unique=True)


def _test(
    connection: sqlite3.Connection, layer: Layer, ids: Ids, wanted: tuple[BaseGeometry, Relation]
) -> npt.NDArray[np.bool_]:
    shape, relation = wanted
    geometry = quote_name(str(layer.geometry_column))
    sql = (
        f"SELECT {geometry} FROM {quote_name(layer.table)} JOIN json_each(?) AS wanted "  # noqa: S608
        f"ON {quote_name(layer.table)}.{layer.id_field.quoted} = wanted.value ORDER BY wanted.key"
    )
    blobs = [row[0] for row in connection.execute(sql, (_json(ids),))]
    shapes = decode(blobs)
    return np.asarray(_PREDICATES[relation](shape, shapes)) & ~shapely.is_missing(shapes)


def _ids(cursor: sqlite3.Cursor) -> Ids:
    return np.fromiter((row[0] for row in cursor), np.int64)


def _json(ids: Ids) -> str:
    return "[" + ",".join(map(str, ids.tolist())) + "]"
