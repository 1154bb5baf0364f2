"""Fields: the attributes of a layer's features, by the names that clients see and the columns that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FieldKind(StrEnum):
    """What a field holds."""

    ID = "id"
    BOOLEAN = "boolean"
    SMALL = "small"
    """A whole number of 16 bits."""
    INTEGER = "integer"
    """A whole number of 32 bits."""
    LONG = "long"
    SINGLE = "single"
    REAL = "real"
    TEXT = "text"
    DATE = "date"
    DATETIME = "datetime"

    @property
    def is_number(self) -> bool:
        """Tell whether one can compute with it."""
        return self not in (FieldKind.TEXT, FieldKind.DATE, FieldKind.DATETIME)

    @property
    def is_moment(self) -> bool:
        """Tell whether it is a point in time."""
        return self in (FieldKind.DATE, FieldKind.DATETIME)


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `name` is unique in its layer whatever the case of its letters."""

    name: str
    column: str
    kind: FieldKind
    length: int | None = None
    """Most characters of a text, where the file says so."""

    @property
    def quoted(self) -> str:
        """Return the column as SQL writes it."""
        return quote_name(self.column)


def quote_name(name: str) -> str:
    """Return a name as SQL writes it; for names that were read from a file, never for a user's text."""
    return '"' + name.replace('"', '""') + '"'


def find_field(fields: Iterable[Field], name: str) -> Field | None:
    """Return the field of that name, whatever the case of its letters."""
    wanted = name.casefold()
    return next((field for field in fields if field.name.casefold() == wanted), None)
