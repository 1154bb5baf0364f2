"""Search over items: a query becomes a condition whose values are all bound, never written into SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, not_, or_, true

from raster_analysis.errors import InputError
from raster_analysis.portal.database import fold, items
from raster_analysis.portal.item import Item
from raster_analysis.portal.items import Items
from raster_analysis.portal.query import All, AnyOf, Node, Not, Term, parse_query
from raster_analysis.portal.users import User

LARGEST_PAGE = 100

_ORDERS: Mapping[str, ColumnElement[object]] = MappingProxyType(
    {
        "title": items.c.title_key,
        "owner": items.c.owner,
        "type": items.c.type,
        "created": items.c.created_ms,
        "uploaded": items.c.created_ms,
        "modified": items.c.modified_ms,
        "size": items.c.size,
    }
)


@dataclass(frozen=True, slots=True)
class Search:
    """A question to the portal."""

    query: str
    start: int = 1
    """One-based number of the first result wanted; below 1 gives none."""
    num: int = 10
    sort_field: str = ""
    sort_order: Literal["asc", "desc"] = "asc"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of what was found."""

    search: Search
    total: int
    items: tuple[Item, ...]

    @property
    def next_start(self) -> int:
        """Return where the next page begins, -1 when there is none."""
        following = self.search.start + len(self.items)
        return following if self.items and following <= self.total else -1


def search_items(items_: Items, search: Search, user: User | None) -> SearchResult:
    """Return what a user may see of what a search finds; raises InputError for a query that cannot be read."""
    condition = condition_of(parse_query(search.query))
    # A start below 1 gives nothing: a client that got nextStart -1 asks for it all the same (contract 4.3).
    first = max(search.start, 1) - 1
    count = min(max(search.num, 0), LARGEST_PAGE) if search.start >= 1 else 0
    page = items_.select(user, condition, page=slice(first, first + count), order=_order(search))
    return SearchResult(search, page.total, page.items)


def condition_of(node: Node) -> ColumnElement[bool]:
    """Return the condition on the items table that a query's tree stands for."""
    match node:
        case Term():
            return _condition_of_term(node)
        case Not(part):
            return not_(condition_of(part))
        case All(parts):
            return and_(true(), *(condition_of(part) for part in parts))
        case AnyOf(parts):
            return or_(*(condition_of(part) for part in parts))


def _order(search: Search) -> ColumnElement[object]:
    # Unknown fields (avgRating, relevance) are what clients send by default; newest first serves them.
    column = _ORDERS.get(search.sort_field.lower())
    if column is None:
        return items.c.modified_ms.desc()
    return column.desc() if search.sort_order == "desc" else column.asc()


def _condition_of_term(term: Term) -> ColumnElement[bool]:
    if term.field is None:
        return _contains(items.c.words_key, fold(term.value))
    field = _FIELDS.get(term.field)
    if field is None:
        known = ", ".join(sorted(_FIELDS))
        raise InputError(f"query: there is no field {term.field[:40]!r}; the fields are {known}")
    return field(term.value)


def _contains(column: ColumnElement[str], value: str) -> ColumnElement[bool]:
    return column.like(f"%{_pattern(value)}%", escape="\\")


def _pattern(value: str) -> str:
    for special in ("\\", "%", "_"):
        value = value.replace(special, f"\\{special}")
    # The one wildcard of the query language.
    return value.replace("*", "%")


def _equals_folded(column: ColumnElement[str]) -> Callable[[str], ColumnElement[bool]]:
    return lambda value: func.lower(column) == value.lower()


_FIELDS: Mapping[str, Callable[[str], ColumnElement[bool]]] = MappingProxyType(
    {
        "id": lambda value: items.c.id == value.lower(),
        "title": lambda value: _contains(items.c.title_key, fold(value)),
        "type": _equals_folded(items.c.type),
        "owner": _equals_folded(items.c.owner),
        "access": _equals_folded(items.c.access),
        "name": lambda value: items.c.name.like(_pattern(value), escape="\\"),
        "tags": lambda value: _contains(items.c.tags_key, f"\n{fold(value)}\n"),
        "typekeywords": lambda value: _contains(items.c.type_keywords, value),
        "snippet": lambda value: _contains(items.c.snippet, value),
        "description": lambda value: _contains(items.c.description, value),
        # One organisation only: clients add its id to every query.
        "accountid": lambda _value: true(),
        "orgid": lambda _value: true(),
    }
)
