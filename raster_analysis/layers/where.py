"""`where` clauses: the part of SQL-92 that clients of feature services use, read by a grammar that knows nothing else.

What comes out is SQL of ours, in which every name is a column of the layer and every value of the user is a bound
parameter. What the grammar does not know is refused with the place where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from raster_analysis.errors import InputError
from raster_analysis.layers.field import Field
from raster_analysis.layers.where_fragment import (
    Fragment,
    Kind,
    bind,
    column_of,
    compose,
    join,
    like_kind,
    moment_of,
    number_of,
)
from raster_analysis.layers.where_functions import (
    AGGREGATES,
    FUNCTIONS,
    PARTS_OF_MOMENTS,
    TYPES,
    Function,
    cast,
    extract,
    now,
)
from raster_analysis.layers.where_tokens import Token, TokenKind, tokenize

MOST_OPERATORS = 500
"""Comparisons, functions and signs of one clause; SQLite itself ends at a thousand."""
MOST_LISTED = 10_000
"""Values in the lists of one clause."""
DEEPEST = 40
"""Parentheses and signs inside one another."""

Names = Mapping[str, Fragment]
"""What a clause may name, as people see it; the case of letters does not count."""

EVERYTHING = Fragment(Kind.TRUTH, ("1=1",))
"""What clients write for no condition."""
_COMPARISONS = ("=", "<>", "!=", "<", "<=", ">", ">=")


def names_of(fields: Iterable[Field]) -> Names:
    """Return the names that a clause about features may use."""
    return {field.name: column_of(field) for field in fields}


def parse_where(text: str, names: Names) -> Fragment:
    """Return the condition of a `where` clause; an empty one holds everywhere.

    Raises:
        InputError: the clause is no condition, names what the layer has not, or is too large.
    """
    if text.strip() in ("", "1=1"):
        return EVERYTHING
    return _Clause(text, names, "where", FUNCTIONS).read()


def parse_having(text: str, names: Names) -> Fragment:
    """Return the condition of a `having` clause, which may compute over groups."""
    if not text.strip():
        return EVERYTHING
    return _Clause(text, names, "having", {**FUNCTIONS, **AGGREGATES}).read()


class _Clause:
    """One clause while it is read, from left to right."""

    def __init__(self, text: str, names: Names, label: str, functions: Mapping[str, Function]) -> None:
        self._names = {name.casefold(): fragment for name, fragment in names.items()}
        self._known, self._label, self._functions = ", ".join(list(names)[:30]), label, functions
        self._tokens = tokenize(text, label)
        self._position = self._operators = self._listed = self._depth = 0

    def read(self) -> Fragment:
        """Return the condition."""
        found = self._expect(self._either(), Kind.TRUTH)
        if self._here.kind is not TokenKind.END:
            raise self._error("the end, AND or OR")
        return found

    def _either(self) -> Fragment:
        return self._chain("OR", self._both)

    def _both(self) -> Fragment:
        return self._chain("AND", self._negation)

    def _chain(self, word: str, part: Callable[[], Fragment]) -> Fragment:
        first = part()
        if self._here.word != word:
            return first
        found = [self._expect(first, Kind.TRUTH)]
        while self._take(word):
            found.append(self._expect(part(), Kind.TRUTH))
        return join(Kind.TRUTH, f" {word} ", found)

    def _negation(self) -> Fragment:
        if not self._take("NOT"):
            return self._comparison()
        return self._inside(lambda: compose(Kind.TRUTH, "(NOT ", self._expect(self._negation(), Kind.TRUTH), ")"))

    def _comparison(self) -> Fragment:
        left = self._sum()
        word = self._here.word
        if word in _COMPARISONS:
            self._next()
            self._count_operator()
            return self._compare(left, word, self._sum())
        if self._take("IS"):
            self._count_operator()
            not_ = "NOT " if self._take("NOT") else ""
            self._require("NULL")
            return compose(Kind.TRUTH, "(", self._scalar(left), f" IS {not_}NULL)")
        not_ = "NOT " if self._take("NOT") else ""
        reader = {"LIKE": self._like, "IN": self._in, "BETWEEN": self._between}.get(self._here.word)
        if reader is None:
            if not_:
                raise self._error("LIKE, IN or BETWEEN")
            return left
        self._next()
        self._count_operator()
        return reader(left, not_)

    def _compare(self, left: Fragment, sign: str, right: Fragment) -> Fragment:
        right = like_kind(self._scalar(right), self._scalar(left).kind)
        left = like_kind(left, right.kind)
        if left.kind is not right.kind:
            raise InputError(f"{self._label} compares {left.kind} with {right.kind}")
        return compose(Kind.TRUTH, "(", left, f" {'<>' if sign == '!=' else sign} ", right, ")")

    def _like(self, left: Fragment, not_: str) -> Fragment:
        parts = [self._expect(left, Kind.TEXT), self._expect(self._sum(), Kind.TEXT)]
        escape: tuple[str | Fragment, ...] = ()
        if self._take("ESCAPE"):
            token = self._next()
            if token.kind is not TokenKind.TEXT or len(token.text) != 1:
                raise self._error("one character in quotes", token)
            escape = (" ESCAPE ", bind(token.text))
        return compose(Kind.TRUTH, "(", parts[0], f" {not_}LIKE ", parts[1], *escape, ")")

    def _in(self, left: Fragment, not_: str) -> Fragment:
        kind = self._scalar(left).kind
        self._require("(")
        found: list[Fragment] = []
        while not found or self._take(","):
            self._listed += 1
            if self._listed > MOST_LISTED:
                raise InputError(f"{self._label} lists more than {MOST_LISTED:,} values")
            found.append(self._expect(like_kind(self._sum(), kind), kind))
        self._require(")")
        return compose(Kind.TRUTH, "(", left, f" {not_}IN ", join(kind, ", ", found), ")")

    def _between(self, left: Fragment, not_: str) -> Fragment:
        kind = self._scalar(left).kind
        low = self._expect(like_kind(self._sum(), kind), kind)
        self._require("AND")
        high = self._expect(like_kind(self._sum(), kind), kind)
        return compose(Kind.TRUTH, "(", left, f" {not_}BETWEEN ", low, " AND ", high, ")")

    def _sum(self) -> Fragment:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> Fragment:
        return self._arithmetic(("*", "/", "%"), self._signed)

    def _arithmetic(self, signs: tuple[str, ...], part: Callable[[], Fragment]) -> Fragment:
        left = part()
        while self._here.word in signs:
            sign = self._next().word
            self._count_operator()
            left, right = self._expect(left, Kind.NUMBER), self._expect(part(), Kind.NUMBER)
            left = compose(Kind.NUMBER, "(", left, f" {sign} ", right, ")")
        return left

    def _signed(self) -> Fragment:
        if self._take("+"):
            return self._inside(lambda: self._expect(self._signed(), Kind.NUMBER))
        if not self._take("-"):
            return self._primary()
        value = self._inside(lambda: self._expect(self._signed(), Kind.NUMBER))
        number = value.constant
        return bind(-number) if isinstance(number, (int, float)) else compose(Kind.NUMBER, "(- ", value, ")")

    def _primary(self) -> Fragment:
        token = self._next()
        if token.kind is TokenKind.NUMBER:
            return self._number(token)
        if token.kind is TokenKind.TEXT:
            return bind(token.text)
        if token.kind is TokenKind.NAME:
            return self._named(token)
        if token.word == "(":
            found = self._inside(self._either)
            self._require(")")
            return found
        if token.kind is TokenKind.WORD:
            return self._word(token)
        raise self._error("a field, a number or a text in quotes", token)

    def _number(self, token: Token) -> Fragment:
        number = number_of(token.text)
        if number is None:
            raise self._error("a number that a computer can hold", token)
        return bind(number)

    def _word(self, token: Token) -> Fragment:
        word = token.word
        if word in ("DATE", "TIMESTAMP") and self._here.kind is TokenKind.TEXT:
            return self._moment(self._next())
        if word in ("CURRENT_DATE", "CURRENT_TIMESTAMP"):
            return now(word)
        return self._call(token) if self._here.word == "(" else self._named(token)

    def _moment(self, token: Token) -> Fragment:
        moment = like_kind(bind(token.text), Kind.MOMENT)
        if moment_of(token.text) is None:
            raise self._error("a date such as '2026-05-31' or '2026-05-31 12:00:00'", token)
        return moment

    def _named(self, token: Token) -> Fragment:
        found = self._names.get(token.text.casefold())
        if found is None:
            raise InputError(f"{self._label}: {token.text[:60]!r} is no field of the layer; it has {self._known}")
        return found

    def _call(self, token: Token) -> Fragment:
        self._count_operator()
        self._require("(")
        special = {"CAST": self._cast, "EXTRACT": self._extract}.get(token.word)
        found = self._inside(special or (lambda: self._plain_call(token)))
        self._require(")")
        return found

    def _plain_call(self, token: Token) -> Fragment:
        function = self._functions.get(token.word)
        if function is None:
            known = ", ".join([*self._functions, "CAST", "EXTRACT"])
            raise InputError(f"{self._label}: {token.text[:60]!r} is no function here; these are: {known}")
        found: list[Fragment] = []
        for place, kind in enumerate(function.takes):
            if place and not self._separated(token.word, place):
                break
            found.append(self._argument(token.word, kind))
        if len(found) < len(function.takes) - function.optional:
            raise self._error(f"{len(function.takes)} arguments of {token.word}")
        return function.call(found)

    def _separated(self, function: str, place: int) -> bool:
        """Take what stands between two arguments, if there is another one."""
        words = {1: "FROM", 2: "FOR"} if function == "SUBSTRING" else {}
        return self._take(",") or (place in words and self._take(words[place]))

    def _argument(self, function: str, kind: Kind) -> Fragment:
        if function == "COUNT":
            return Fragment(Kind.NUMBER, ("*",)) if self._take("*") else self._scalar(self._sum())
        if function in ("MIN", "MAX"):
            return self._scalar(self._sum())
        return self._expect(like_kind(self._sum(), kind), kind)

    def _cast(self) -> Fragment:
        value = self._scalar(self._sum())
        self._require("AS")
        token = self._next()
        if token.word not in TYPES:
            raise self._error(f"one of the types {', '.join(TYPES)}", token)
        self._take("PRECISION")
        if self._take("("):
            while self._here.kind is TokenKind.NUMBER or self._here.word == ",":
                self._next()
            self._require(")")
        return cast(value, token.word)

    def _extract(self) -> Fragment:
        token = self._next()
        if token.word not in PARTS_OF_MOMENTS:
            raise self._error(f"one of {', '.join(PARTS_OF_MOMENTS)}", token)
        self._require("FROM")
        return extract(token.word, self._expect(like_kind(self._sum(), Kind.MOMENT), Kind.MOMENT))

    @property
    def _here(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._here
        if token.kind is not TokenKind.END:
            self._position += 1
        return token

    def _take(self, word: str) -> bool:
        if self._here.word != word:
            return False
        self._position += 1
        return True

    def _require(self, word: str) -> None:
        if not self._take(word):
            raise self._error(word)

    def _expect(self, fragment: Fragment, kind: Kind) -> Fragment:
        if fragment.kind is not kind:
            raise InputError(f"{self._label} has {fragment.kind} where {kind} is wanted: {self._before()!r}")
        return fragment

    def _scalar(self, fragment: Fragment) -> Fragment:
        if fragment.kind is Kind.TRUTH:
            raise InputError(f"{self._label} has a condition where a value is wanted: {self._before()!r}")
        return fragment

    def _inside(self, read: Callable[[], Fragment]) -> Fragment:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InputError(f"{self._label} goes deeper than {DEEPEST} parentheses; write it flatter")
        found = read()
        self._depth -= 1
        return found

    def _count_operator(self) -> None:
        self._operators += 1
        if self._operators > MOST_OPERATORS:
            raise InputError(f"{self._label} has more than {MOST_OPERATORS} comparisons and signs; use IN for lists")

    def _before(self) -> str:
        return " ".join(token.text for token in self._tokens[max(0, self._position - 4) : self._position])[-80:]

    def _error(self, wanted: str, token: Token | None = None) -> InputError:
        token = token or self._here
        found = repr(token.text[:40]) if token.kind is not TokenKind.END else "the end"
        return InputError(f"{self._label}: want {wanted} at character {token.place}, not {found}")
