"""Reading features of a GeoPackage: rows, counts, ids, bounds."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS

from raster_analysis.errors import InputError
from raster_analysis.handle import Handle
from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.feature_query import Cell, FeatureQuery, Rows, Shapes
from raster_analysis.layers.field import Field, FieldKind, quote_name
from raster_analysis.layers.geometry_blob import HEAD_BYTES, bounds_of_heads, decode
from raster_analysis.layers.geopackage import Bounds, Layer, describe_geopackage, open_geopackage
from raster_analysis.layers.nearby import find_ids
from raster_analysis.layers.reference import crs_of, project
from raster_analysis.layers.selection import Selection, chosen_fields, expression_of, order_of, select

MOST_IDS = 5_000_000
_NO_LIMIT = -1


def find_layer(handle: Handle, number: int) -> Layer:
    """Return a layer or table of a file by its number, from 0; raises InputError when there is none."""
    layers = describe_geopackage(handle)
    if not 0 <= number < len(layers):
        raise InputError(f"{handle.title!r} has no layer {number}; it has {len(layers)}")
    return layers[number]


def read_rows(handle: Handle, number: int, query: FeatureQuery) -> Rows:
    """Return the features that a query wants; raises InputError when it does not fit the layer."""
    layer = find_layer(handle, number)
    with open_geopackage(handle) as connection:
        selection = select(connection, layer, query)
        if query.distinct:
            return _read_distinct(connection, selection, query)
        fields = chosen_fields(layer, query.fields)
        wants_shapes = query.shapes is not None and layer.geometry_column is not None
        columns = [expression_of(field) for field in fields]
        columns += [quote_name(str(layer.geometry_column))] if wants_shapes else []
        order = order_of(layer, query.order)
        rows = _read(connection, _skip(selection, query), f"SELECT {', '.join(columns)}", order)
    more = query.limit is not None and len(rows) > query.limit
    rows = rows[: query.limit] if more else rows
    cells = [_cells(row[: len(fields)], fields) for row in rows]
    if not wants_shapes or query.shapes is None:
        return Rows(fields, cells, more)
    shapes, centroids = _dress(layer, decode([row[-1] for row in rows]), query.shapes)
    return Rows(fields, cells, more, shapes, centroids)


def count_features(handle: Handle, number: int, query: FeatureQuery) -> int:
    """Return how many features a query chooses, or how many different rows."""
    layer = find_layer(handle, number)
    with open_geopackage(handle) as connection:
        if query.place is not None and query == FeatureQuery(place=query.place, shapes=query.shapes):
            return len(find_ids(connection, layer, query.place))
        selection = select(connection, layer, query)
        if query.distinct:
            columns = ", ".join(expression_of(field) for field in _distinct_fields(layer, query))
            sql = f"SELECT count(*) FROM (SELECT DISTINCT {columns} {selection.sql})"  # noqa: S608
        elif selection.is_all:
            return layer.count
        else:
            sql = f"SELECT count(*) {selection.sql}"
        return int(connection.execute(sql, selection.values).fetchone()[0])


def find_feature_ids(handle: Handle, number: int, query: FeatureQuery) -> list[int]:
    """Return the ids of the features that a query chooses, in its order."""
    layer = find_layer(handle, number)
    with open_geopackage(handle) as connection:
        selection = select(connection, layer, query)
        if selection.is_all and query == FeatureQuery(shapes=query.shapes, fields=query.fields, where=query.where):
            indexed = _indexed_ids(connection, layer)
            if len(indexed) == layer.count:
                return indexed
        limit = min(query.limit or MOST_IDS, MOST_IDS)
        sql = f"SELECT {layer.id_field.quoted} AS id {selection.sql} ORDER BY {order_of(layer, query.order)}"
        return _list_ids(connection, f"{sql} LIMIT ? OFFSET ?", (*selection.values, limit, query.offset))


def _indexed_ids(connection: sqlite3.Connection, layer: Layer) -> list[int]:
    """Return the ids in the spatial index, which is a tenth of the file; features without a shape are not in it."""
    if not layer.has_index:
        return []
    table = quote_name(f"rtree_{layer.table}_{layer.geometry_column}_rowid")
    return _list_ids(connection, f"SELECT rowid AS id FROM {table} ORDER BY rowid", ())  # noqa: S608


def _list_ids(connection: sqlite3.Connection, sql: str, values: Sequence[Cell]) -> list[int]:
    # One text instead of a million rows: several times faster.
    text = connection.execute(f"SELECT json_group_array(id) FROM ({sql})", values).fetchone()[0]  # noqa: S608
    found: list[int] = json.loads(text)
    return found


def measure_bounds(handle: Handle, number: int, query: FeatureQuery) -> Bounds | None:
    """Return the bounds of what a query chooses, in the reference that it names; None when there is nothing."""
    layer = find_layer(handle, number)
    with open_geopackage(handle) as connection:
        selection = select(connection, layer, query)
        own = layer.bounds if selection.is_all else _measure(connection, selection)
    reference = query.shapes.reference if query.shapes else None
    if own is None or reference is None or not layer.crs_wkt:
        return own
    box = shapely.segmentize(shapely.box(*own), max(own[2] - own[0], own[3] - own[1], 1e-9) / 32)
    moved = project(np.array([box], dtype=object), CRS.from_wkt(layer.crs_wkt), crs_of(reference))[0]
    return None if moved is None else moved.bounds


def _read(
    connection: sqlite3.Connection, wanted: tuple[Selection, int, int], columns: str, order: str
) -> list[Sequence[Cell]]:
    selection, limit, offset = wanted
    sql = f"{columns} {selection.sql} ORDER BY {order} LIMIT ? OFFSET ?"
    return connection.execute(sql, (*selection.values, limit, offset)).fetchall()


def _skip(selection: Selection, query: FeatureQuery) -> tuple[Selection, int, int]:
    """Return selection, limit and offset; one more than the limit, which tells whether there are more."""
    limit = _NO_LIMIT if query.limit is None else query.limit + 1
    return selection, limit, query.offset


def _read_distinct(connection: sqlite3.Connection, selection: Selection, query: FeatureQuery) -> Rows:
    layer = selection.layer
    fields = _distinct_fields(layer, query)
    columns = ", ".join(expression_of(field) for field in fields)
    places = {field.name: str(place) for place, field in enumerate(fields, 1)}
    order = []
    for each in query.order:
        name = chosen_fields(layer, [each.field])[-1].name
        if name not in places:
            raise InputError(f"different values can be sorted by those that are asked for only, not by {name!r}")
        order.append(places[name] + (" DESC" if each.descending else ""))
    wanted = [*order, *(place for place in places.values() if place not in order)]
    rows = _read(connection, _skip(selection, query), f"SELECT DISTINCT {columns}", ", ".join(wanted))
    more = query.limit is not None and len(rows) > query.limit
    return Rows(fields, [_cells(row, fields) for row in (rows[: query.limit] if more else rows)], more)


def _distinct_fields(layer: Layer, query: FeatureQuery) -> tuple[Field, ...]:
    fields = chosen_fields(layer, query.fields)
    named = {name.casefold() for name in query.fields or ()}
    # The id, which makes every row differ, counts only where it is named.
    kept = [field for field in fields if field.kind is not FieldKind.ID or field.name.casefold() in named]
    return tuple(kept)


def _cells(row: Sequence[Cell], fields: Sequence[Field]) -> tuple[Cell, ...]:
    return tuple(clean_cell(value, field.kind) for value, field in zip(row, fields, strict=True))


def clean_cell(value: object, kind: FieldKind) -> Cell:
    """Return a value as JSON can hold it, whatever a program wrote into the column."""
    if value is None or isinstance(value, bytes):
        return None
    if kind is FieldKind.TEXT:
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def _dress(
    layer: Layer, shapes: npt.NDArray[np.object_], wanted: Shapes
) -> tuple[npt.NDArray[np.object_] | None, npt.NDArray[np.object_] | None]:
    """Return shapes and centroids as they are wanted."""
    if wanted.reference is not None and layer.crs_wkt:
        shapes = project(shapes, CRS.from_wkt(layer.crs_wkt), crs_of(wanted.reference))
    centroids = np.asarray(shapely.centroid(shapes), dtype=object) if wanted.centroid else None
    if wanted.tolerance > 0:
        shapes = np.asarray(shapely.simplify(shapes, wanted.tolerance), dtype=object)
    return (shapes if wanted.outline else None), centroids


def _measure(connection: sqlite3.Connection, selection: Selection) -> Bounds | None:
    layer = selection.layer
    if layer.geometry_column is None:
        return None
    geometry = quote_name(layer.geometry_column)
    heads = connection.execute(f"SELECT substr({geometry}, 1, {HEAD_BYTES}) {selection.sql}", selection.values)
    boxes = bounds_of_heads([row[0] for row in heads])
    if boxes is None:
        blobs = connection.execute(f"SELECT {geometry} {selection.sql}", selection.values)
        boxes = shapely.bounds(decode([row[0] for row in blobs]))
        boxes = boxes[np.isfinite(boxes).all(axis=1)]
    if not len(boxes):
        return None
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def reference_of(layer: Layer) -> SpatialReference | None:
    """Return the layer's own reference."""
    if layer.crs_code is not None:
        return SpatialReference(wkid=layer.crs_code)
    return SpatialReference(wkt=layer.crs_wkt) if layer.crs_wkt else None
