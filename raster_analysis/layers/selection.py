"""Selections: a query's conditions as SQL, every value of which is a bound parameter."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raster_analysis.errors import InputError
from raster_analysis.layers.feature_query import FeatureQuery, Order
from raster_analysis.layers.field import Field, FieldKind, find_field, quote_name
from raster_analysis.layers.geopackage import Layer
from raster_analysis.layers.nearby import find_ids
from raster_analysis.layers.where import EVERYTHING, names_of, parse_where
from raster_analysis.layers.where_fragment import Value

_MOMENT_MS = "CAST(round((julianday({column}) - 2440587.5) * 86400000.0) AS INTEGER)"


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of one table that a query chooses."""

    layer: Layer
    conditions: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()

    @property
    def is_all(self) -> bool:
        """Tell whether every row is chosen."""
        return not self.conditions

    @property
    def sql(self) -> str:
        """Return the part of a statement from FROM to WHERE."""
        where = f" WHERE {' AND '.join(self.conditions)}" if self.conditions else ""
        return f"FROM {quote_name(self.layer.table)}{where}"

    def also(self, condition: str, *values: Value) -> Selection:
        """Return the rows that meet one more condition."""
        return Selection(self.layer, (*self.conditions, condition), (*self.values, *values))


def select(connection: sqlite3.Connection, layer: Layer, query: FeatureQuery) -> Selection:
    """Return the rows that a query chooses, whatever it wants of them.

    Raises:
        InputError: the query does not fit the layer.
    """
    selection = Selection(layer)
    condition = parse_where(query.where, names_of(layer.fields))
    if condition is not EVERYTHING:
        selection = selection.also(condition.sql, *condition.values)
    if query.ids is not None:
        selection = _among(selection, query.ids)
    if query.place is not None:
        selection = _among(selection, find_ids(connection, layer, query.place).tolist())
    return selection


def chosen_fields(layer: Layer, names: Sequence[str] | None) -> tuple[Field, ...]:
    """Return fields by name, the id first and each once; raises InputError for one that the layer has not."""
    if names is None:
        return layer.fields
    wanted = {layer.id_field: None, **{require_field(layer, name): None for name in names}}
    return tuple(wanted)


def require_field(layer: Layer, name: str) -> Field:
    """Return a field; raises InputError when the layer has none of that name."""
    field = find_field(layer.fields, name)
    if field is None:
        known = ", ".join(field.name for field in layer.fields[:30])
        raise InputError(f"{name[:60]!r} is no field of the layer; it has {known}")
    return field


def order_of(layer: Layer, order: Iterable[Order]) -> str:
    """Return what comes after ORDER BY; the id decides between equals."""
    parts = [f"{require_field(layer, each.field).quoted}{' DESC' if each.descending else ''}" for each in order]
    return ", ".join([*parts, layer.id_field.quoted])


def expression_of(field: Field) -> str:
    """Return a field's value as answers hold it: moments as milliseconds since 1970."""
    if field.kind.is_moment:
        return _MOMENT_MS.format(column=field.quoted)
    if field.kind is FieldKind.TEXT:
        return field.quoted
    # SQLite keeps texts and bytes in columns of numbers too, when a program wrote them there.
    return f"CASE WHEN typeof({field.quoted}) IN ('integer', 'real') THEN {field.quoted} END"


def _among(selection: Selection, ids: Sequence[int]) -> Selection:
    listed = "[" + ",".join(map(str, ids)) + "]"
    column = selection.layer.id_field.quoted
    return selection.also(f"{column} IN (SELECT value FROM json_each(?))", listed)  # noqa: S608
