"""Tokens of a `where` clause: whatever is none of them ends the reading, comments and semicolons first of all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from raster_analysis.errors import InputError

LONGEST = 100_000
"""Characters of a clause; clients send lists of a thousand ids in one."""


class TokenKind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    TEXT = "text"
    NAME = "name"
    """A field, whatever words SQL has: `"order"`."""
    WORD = "word"
    """A field, a function or a keyword."""
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `text` is what it means: quotes are gone, words are as they were written."""

    kind: TokenKind
    text: str
    place: int
    """Of its first character, from 1."""

    @property
    def word(self) -> str:
        """Return the keyword or sign that this may be, in capitals; empty for numbers, texts and names."""
        return self.text.upper() if self.kind in (TokenKind.WORD, TokenKind.SIGN) else ""


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?(?![\w.]))
        | (?:[nN](?='))?'(?P<text>(?:[^']|'')*)'
        | "(?P<name>(?:[^"]|"")+)"
        | (?P<word>[^\W\d]\w*)
        | (?P<sign><>|<=|>=|!=|[=<>()+*/%,]|-(?!-))
        | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


def tokenize(text: str, label: str) -> list[Token]:
    """Return the tokens of a clause, the last of which is its end.

    Raises:
        InputError: the clause is too long or holds something that is no token; `label` says which clause.
    """
    if len(text) > LONGEST:
        raise InputError(f"{label} has {len(text):,} characters; at most {LONGEST:,} are read")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{label} holds a character that is none (NUL or half of a pair)")
    tokens: list[Token] = []
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            raise InputError(f"{label} cannot be read at character {position + 1}: {text[position : position + 20]!r}")
        token = _token(match)
        tokens.append(token)
        if token.kind is TokenKind.END:
            return tokens
        position = match.end()


def _token(match: re.Match[str]) -> Token:
    name = str(match.lastgroup)
    text = match[name]
    if name == "text":
        text = text.replace("''", "'")
    if name == "name":
        text = text.replace('""', '"')
    return Token(TokenKind(name), text, match.start(name) + 1)
