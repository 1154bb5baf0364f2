"""Fragments: pieces of SQL of ours, with the values of users beside them and never in them."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from raster_analysis.layers.field import Field, FieldKind

Value = str | int | float

MOMENT = "%Y-%m-%dT%H:%M:%fZ"
"""How moments are compared: as texts of this form, whatever precision a file keeps them in."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LARGEST_INTEGER = 2**63


class Kind(StrEnum):
    """What a fragment gives."""

    NUMBER = "a number"
    TEXT = "a text"
    MOMENT = "a date"
    TRUTH = "a condition"


@dataclass(frozen=True, slots=True)
class Bound:
    """A value that is bound to a parameter."""

    value: Value


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL."""

    kind: Kind
    parts: tuple[str | Bound, ...]

    @property
    def sql(self) -> str:
        """Return the SQL with a placeholder for each value."""
        return "".join(part if isinstance(part, str) else "?" for part in self.parts)

    @property
    def values(self) -> tuple[Value, ...]:
        """Return the values of the placeholders, in their order."""
        return tuple(part.value for part in self.parts if isinstance(part, Bound))

    @property
    def literal(self) -> str:
        """Return the SQL with the values written out, for programs that bind none."""
        return "".join(part if isinstance(part, str) else _write(part.value) for part in self.parts)

    @property
    def constant(self) -> Value | None:
        """Return the value when the fragment is nothing else."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only.value if isinstance(only, Bound) else None


def compose(kind: Kind, *parts: str | Fragment) -> Fragment:
    """Return a fragment of SQL of ours and of other fragments."""
    found: list[str | Bound] = []
    for part in parts:
        found.extend([part] if isinstance(part, str) else part.parts)
    return Fragment(kind, tuple(found))


def join(kind: Kind, separator: str, fragments: Iterable[Fragment]) -> Fragment:
    """Return fragments with SQL of ours between them, in parentheses."""
    found: list[str | Bound] = ["("]
    for number, fragment in enumerate(fragments):
        found += [separator] if number else []
        found.extend(fragment.parts)
    return Fragment(kind, (*found, ")"))


def bind(value: Value) -> Fragment:
    """Return a value as a fragment; whole numbers that SQLite cannot hold become floating ones."""
    if isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        value = float(value)
    return Fragment(Kind.TEXT if isinstance(value, str) else Kind.NUMBER, (Bound(value),))


def column_of(field: Field) -> Fragment:
    """Return a field's value; moments in the form in which they are compared."""
    if field.kind.is_moment:
        return Fragment(Kind.MOMENT, (f"strftime('{MOMENT}', {field.quoted})",))
    return Fragment(Kind.TEXT if field.kind is FieldKind.TEXT else Kind.NUMBER, (field.quoted,))


def moment_of(text: str) -> str | None:
    """Return a date, or a date and a time in UTC, in the form in which moments are compared."""
    if not text[:1].isdigit():
        return None
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds") + "Z"


def number_of(text: str) -> int | float | None:
    """Return the number that a text spells, None for other texts and for what no float can hold."""
    if not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdigit() and len(text) < 25:
        return int(text)
    value = float(text)
    return value if math.isfinite(value) else None


def like_kind(fragment: Fragment, kind: Kind) -> Fragment:
    """Return a text that spells a number or a date as one where that is what it stands beside."""
    value = fragment.constant
    if fragment.kind is kind or not isinstance(value, str):
        return fragment
    if kind is Kind.NUMBER:
        number = number_of(value)
        return fragment if number is None else bind(number)
    if kind is Kind.MOMENT:
        moment = moment_of(value)
        return fragment if moment is None else Fragment(Kind.MOMENT, (Bound(moment),))
    return fragment


def _write(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)
