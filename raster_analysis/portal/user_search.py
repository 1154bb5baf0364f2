"""Search over users: the query language of items, asked of names and roles."""

from __future__ import annotations

import fnmatch

from raster_analysis.errors import InputError
from raster_analysis.portal.database import fold
from raster_analysis.portal.query import All, AnyOf, Node, Not, Term, parse_query
from raster_analysis.portal.users import User

_NAMES = (None, "username", "fullname", "email")
# One organisation, and nobody is disabled: clients send these with every query.
_ALWAYS = ("accountid", "orgid", "disabled", "access")


def search_users(users: list[User], query: str) -> list[User]:
    """Return the users that a query finds, in their order; an empty one finds all."""
    wanted = parse_query(query)
    return [user for user in users if _fits(wanted, user)]


def _fits(node: Node, user: User) -> bool:
    match node:
        case Term():
            return _fits_term(node, user)
        case Not(part):
            return not _fits(part, user)
        case All(parts):
            return all(_fits(part, user) for part in parts)
        case AnyOf(parts):
            return any(_fits(part, user) for part in parts)


def _fits_term(term: Term, user: User) -> bool:
    if term.field in _ALWAYS:
        return True
    if term.field == "role":
        return user.role.value in (term.value.lower(), term.value.lower().removeprefix("org_"))
    if term.field not in _NAMES:
        raise InputError(f"query: users have no field {term.field!r}; the fields are username, fullname and role")
    # Brackets mean something to fnmatch, and are in no user's name.
    pattern = fold(term.value).replace("[", "").replace("]", "")
    return fnmatch.fnmatchcase(fold(user.name), f"*{pattern}*")
