"""Figures over features or groups of them: counts, sums, extremes, means, deviations, percentiles."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Sequence

from raster_analysis.errors import InputError
from raster_analysis.handle import Handle
from raster_analysis.layers.feature_query import FeatureQuery, Order, Rows, Statistic, SummaryQuery
from raster_analysis.layers.feature_reading import clean_cell, find_layer
from raster_analysis.layers.field import Field, FieldKind, quote_name
from raster_analysis.layers.geopackage import Layer, open_geopackage
from raster_analysis.layers.percentile import PERCENTILES, add_percentiles
from raster_analysis.layers.selection import Selection, expression_of, require_field, select
from raster_analysis.layers.where import EVERYTHING, names_of, parse_having
from raster_analysis.layers.where_fragment import Bound, Fragment, Kind, Value

MOST_STATISTICS = 50
_NAME = re.compile(r"\w{1,64}")
_SAMPLE = 1000
_SPREADS = ("stddev", "var")


class _Figure:
    """One statistic as SQL."""

    def __init__(self, statistic: Statistic, field: Field, middle: Value) -> None:
        self.name = statistic.name or f"{statistic.kind}_{field.name}"
        self.kind, self.source = statistic.kind, field
        value = expression_of(field)
        self.parts: tuple[str | Bound, ...]
        if statistic.kind in _SPREADS:
            self.parts = _spread(value, middle, root=statistic.kind == "stddev")
        elif statistic.kind in PERCENTILES:
            self.parts = _percentile(value, statistic, whole=field.kind not in (FieldKind.REAL, FieldKind.SINGLE))
        else:
            self.parts = (f"{statistic.kind}({value})",)

    @property
    def field(self) -> Field:
        """Return the figure as a field of the answer."""
        kind = FieldKind.REAL
        if self.kind == "count":
            kind = FieldKind.INTEGER
        elif self.kind in ("min", "max", "percentile_disc"):
            kind = FieldKind.LONG if self.source.kind is FieldKind.ID else self.source.kind
        return Field(self.name, self.name, kind, self.source.length)

    @property
    def fragment(self) -> Fragment:
        """Return the figure as conditions on groups see it."""
        kind = Kind.TEXT if self.field.kind is FieldKind.TEXT else Kind.NUMBER
        return Fragment(kind, self.parts)


def summarize(handle: Handle, number: int, query: FeatureQuery, summary: SummaryQuery) -> Rows:
    """Return a row a group, or one row, of the features that a query chooses.

    Raises:
        InputError: a field is missing or no number, a name cannot be used, or the query does not fit the layer.
    """
    layer = find_layer(handle, number)
    if not summary.statistics or len(summary.statistics) > MOST_STATISTICS:
        raise InputError(f"{len(summary.statistics)} statistics are asked for; give 1 to {MOST_STATISTICS}")
    with open_geopackage(handle) as connection:
        add_percentiles(connection)
        selection = select(connection, layer, query)
        figures = [_figure(connection, selection, each) for each in summary.statistics]
        groups = [require_field(layer, name) for name in summary.groups]
        _check_names([*(field.name for field in groups), *(figure.name for figure in figures)])
        rows = _run(connection, selection, query, (groups, figures, summary.having))
    fields = (*groups, *(figure.field for figure in figures))
    more = query.limit is not None and len(rows) > query.limit
    kept = rows[: query.limit] if more else rows
    cells = [tuple(clean_cell(value, field.kind) for value, field in zip(row, fields, strict=True)) for row in kept]
    return Rows(fields, cells, more)


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise InputError(f"two columns of the answer would be called {name!r}; name the statistics apart")
        seen.add(name.casefold())


def _figure(connection: sqlite3.Connection, selection: Selection, statistic: Statistic) -> _Figure:
    field = require_field(selection.layer, statistic.field)
    if statistic.name and not _NAME.fullmatch(statistic.name):
        raise InputError(f"{statistic.name[:80]!r} cannot name a statistic; take up to 64 letters, digits and _")
    if statistic.kind not in ("count", "min", "max") and not field.kind.is_number:
        raise InputError(f"{statistic.kind} of {field.name!r} cannot be computed: it holds {field.kind}, no numbers")
    middle: Value = 0
    if statistic.kind in _SPREADS:
        # Squares of what lies around values of that size lose no digits; a look at some of them is enough.
        some = f"SELECT {expression_of(field)} AS value {selection.sql} LIMIT {_SAMPLE}"
        middle = connection.execute(f"SELECT avg(value) FROM ({some})", selection.values).fetchone()[0] or 0  # noqa: S608
    return _Figure(statistic, field, middle)


def _percentile(value: str, statistic: Statistic, *, whole: bool) -> tuple[str | Bound, ...]:
    parts = (f"{statistic.kind}({value}, ", Bound(statistic.share), f", {int(statistic.descending)})")
    return ("CAST(", *parts, " AS INTEGER)") if whole and statistic.kind == "percentile_disc" else parts


def _spread(value: str, middle: Value, *, root: bool) -> tuple[str | Bound, ...]:
    """Return the sample variance, or its root; none for fewer than two values."""
    away = (f"({value} - ", Bound(middle), ")")
    squares = ("sum(", *away, " * ", *away, ")")
    sums = ("sum(", *away, ")")
    count = f"count({value})"
    variance = ("max(0.0, (", *squares, " - ", *sums, " * ", *sums, f" / {count}) / ({count} - 1))")
    return (f"CASE WHEN {count} > 1 THEN ", *(("sqrt(", *variance, ")") if root else variance), " END")


def _run(
    connection: sqlite3.Connection,
    selection: Selection,
    query: FeatureQuery,
    wanted: tuple[Sequence[Field], Sequence[_Figure], str],
) -> list[Sequence[object]]:
    groups, figures, having = wanted
    columns: list[str] = [expression_of(field) for field in groups]
    values: list[Value] = []
    for figure in figures:
        columns.append(f"{figure.fragment.sql} AS {quote_name(figure.name)}")
        values.extend(figure.fragment.values)
    sql = f"SELECT {', '.join(columns)} {selection.sql}"
    values.extend(selection.values)
    if groups:
        sql += f" GROUP BY {', '.join(field.quoted for field in groups)}"
    condition = parse_having(having, _names(selection.layer, figures))
    if condition is not EVERYTHING:
        if not groups:
            raise InputError("a condition on groups (having) needs fields to group by")
        sql += f" HAVING {condition.sql}"
        values.extend(condition.values)
    sql += _order(query.order, groups, figures)
    limit = -1 if query.limit is None else query.limit + 1
    return connection.execute(f"{sql} LIMIT ? OFFSET ?", (*values, limit, query.offset)).fetchall()


def _names(layer: Layer, figures: Iterable[_Figure]) -> dict[str, Fragment]:
    return {**names_of(layer.fields), **{figure.name: figure.fragment for figure in figures}}


def _order(order: Iterable[Order], groups: Sequence[Field], figures: Sequence[_Figure]) -> str:
    names = [field.name.casefold() for field in groups] + [figure.name.casefold() for figure in figures]
    parts = []
    for each in order:
        if each.field.casefold() not in names:
            raise InputError(f"groups can be sorted by {', '.join(names)}, not by {each.field[:60]!r}")
        parts.append(f"{names.index(each.field.casefold()) + 1}{' DESC' if each.descending else ''}")
    parts += [str(place + 1) for place in range(len(groups)) if str(place + 1) not in parts]
    return f" ORDER BY {', '.join(parts)}" if parts else ""
