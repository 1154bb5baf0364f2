"""The portal's query language: text to a tree. What the tree means in the tables is in `search`.

query   = or
or      = and ("OR" and)*
and     = not (["AND"] not)*
not     = ("NOT" | "-")* atom
atom    = "(" or ")" | [field ":"] value
value   = "phrase in quotes" | word
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from raster_analysis.errors import InputError

# Limits are guesses, far above what clients send; they bound the SQL that a query becomes.
LONGEST_QUERY = 4096
MOST_TERMS = 200
DEEPEST = 32

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\)) |
        (?P<minus>-(?=\S)) |
        (?P<field>[A-Za-z]+): |
        "(?P<phrase>[^"]*)" |
        (?P<word>[^\s()":]+:?)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Term:
    """A value looked for, in one field or (None) in the words of an item."""

    field: str | None
    value: str


@dataclass(frozen=True, slots=True)
class Not:
    """What must not be."""

    part: Node


@dataclass(frozen=True, slots=True)
class All:
    """What must all be; nothing in it is true of every item."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Of what at least one must be."""

    parts: tuple[Node, ...]


Node = Term | Not | All | AnyOf


def parse_query(text: str) -> Node:
    """Return the tree of a query; an empty one asks for everything. Raises InputError for anything else."""
    if len(text) > LONGEST_QUERY:
        raise InputError(f"the query has {len(text)} characters; {LONGEST_QUERY} are allowed")
    tokens = list(_tokens(text))
    if not tokens:
        return All(())
    parser = _Parser(tokens)
    tree = parser.any_of(0)
    parser.finish()
    return tree


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokens(text: str) -> Iterator[_Token]:
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InputError(f"query: cannot read {text[position : position + 20].strip()!r}; is a quote missing?")
        kind = match.lastgroup
        # Upper case only: "sand and gravel" is three words.
        if kind == "word" and match["word"] in ("AND", "OR", "NOT"):
            kind = match["word"]
        yield _Token(kind, match[match.lastgroup], position)
        position = match.end()


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._terms = 0

    def any_of(self, depth: int) -> Node:
        parts = [self._all(depth)]
        while self._take("OR"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def finish(self) -> None:
        if self._next < len(self._tokens):
            raise self._fault("a closing parenthesis has no opening one")

    def _all(self, depth: int) -> Node:
        parts = [self._not(depth)]
        while self._take("AND") or self._peek() not in (None, "OR", "close"):
            parts.append(self._not(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _not(self, depth: int) -> Node:
        negations = 0
        while self._take("NOT") or self._take("minus"):
            negations += 1
        atom = self._atom(depth)
        return Not(atom) if negations % 2 else atom

    def _atom(self, depth: int) -> Node:
        if self._take("open"):
            return self._group(depth + 1)
        field = self._take("field")
        value = self._take("phrase") or self._take("word")
        if value is None:
            raise self._fault(f"{field.text}: needs a value" if field else "a word, a field or a phrase is missing")
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise InputError(f"the query has more than {MOST_TERMS} terms")
        return Term(field.text.lower() if field else None, value.text)

    def _group(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise InputError(f"the query is nested deeper than {DEEPEST} parentheses")
        part = self.any_of(depth)
        if not self._take("close"):
            raise self._fault("a closing parenthesis is missing")
        return part

    def _peek(self) -> str | None:
        return self._tokens[self._next].kind if self._next < len(self._tokens) else None

    def _take(self, kind: str) -> _Token | None:
        if self._peek() != kind:
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def _fault(self, what: str) -> InputError:
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            return InputError(f"query: {what}, before {token.text[:40]!r} at character {token.position + 1}")
        return InputError(f"query: {what}, at the end")
