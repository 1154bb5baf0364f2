"""Functions of `where` clauses: those of standardized queries that SQLite computes as everybody else does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from raster_analysis.layers.where_fragment import MOMENT, Fragment, Kind, compose, join


@dataclass(frozen=True, slots=True)
class Function:
    """One function: what it takes, what it gives, and how SQLite says it."""

    takes: tuple[Kind, ...]
    gives: Kind | None
    """None: what its argument is."""
    sql: str
    optional: int = 0
    """How many of the last arguments may be left out."""

    def call(self, arguments: list[Fragment]) -> Fragment:
        """Return the call; the arguments were checked."""
        kind = self.gives or arguments[0].kind
        return compose(kind, self.sql, join(kind, ", ", arguments))


_N, _T = Kind.NUMBER, Kind.TEXT

FUNCTIONS: Mapping[str, Function] = {
    "ABS": Function((_N,), _N, "abs"),
    "CHAR_LENGTH": Function((_T,), _N, "length"),
    "CHARACTER_LENGTH": Function((_T,), _N, "length"),
    "LOWER": Function((_T,), _T, "lower"),
    "ROUND": Function((_N, _N), _N, "round", optional=1),
    "SUBSTRING": Function((_T, _N, _N), _T, "substr", optional=1),
    "TRIM": Function((_T,), _T, "trim"),
    "UPPER": Function((_T,), _T, "upper"),
}
"""What a clause may call, by name."""

AGGREGATES: Mapping[str, Function] = {
    "AVG": Function((_N,), _N, "avg"),
    "COUNT": Function((_N,), _N, "count"),
    "MAX": Function((_N,), None, "max"),
    "MIN": Function((_N,), None, "min"),
    "SUM": Function((_N,), _N, "sum"),
}
"""What a clause about groups may call besides."""

PARTS_OF_MOMENTS = {"YEAR": "%Y", "MONTH": "%m", "DAY": "%d", "HOUR": "%H", "MINUTE": "%M", "SECOND": "%S"}
"""What `EXTRACT` finds in a moment."""

_TYPES: Mapping[str, tuple[Kind, str]] = {
    **dict.fromkeys(("INTEGER", "INT", "SMALLINT", "BIGINT"), (_N, "INTEGER")),
    **dict.fromkeys(("FLOAT", "REAL", "DOUBLE", "NUMERIC", "DECIMAL"), (_N, "REAL")),
    **dict.fromkeys(("VARCHAR", "CHAR", "CHARACTER", "TEXT"), (_T, "TEXT")),
    **dict.fromkeys(("DATE", "TIMESTAMP"), (Kind.MOMENT, "")),
}
TYPES = tuple(_TYPES)
"""What `CAST` makes of a value."""


def cast(value: Fragment, type_name: str) -> Fragment:
    """Return a value as another type; `type_name` is one of `TYPES`."""
    kind, sql = _TYPES[type_name]
    if kind is Kind.MOMENT:
        form = "%Y-%m-%dT00:00:00.000Z" if type_name == "DATE" else MOMENT
        return compose(kind, f"strftime('{form}', ", value, ")")
    return compose(kind, "CAST(", value, f" AS {sql})")


def extract(part: str, moment: Fragment) -> Fragment:
    """Return a part of a moment; `part` is one of `PARTS_OF_MOMENTS`."""
    return compose(_N, f"CAST(strftime('{PARTS_OF_MOMENTS[part]}', ", moment, ") AS INTEGER)")


def now(word: str) -> Fragment:
    """Return this moment, or the day's first for `CURRENT_DATE`."""
    form = "%Y-%m-%dT00:00:00.000Z" if word == "CURRENT_DATE" else MOMENT
    return Fragment(Kind.MOMENT, (f"strftime('{form}', 'now')",))
