"""JSON as it should have been: bounded, finite, no key twice, and a reason a person can act on.

The standard parser accepts NaN, 1e999, duplicate keys and lone surrogates, and names causes in its own words.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 64
# No number of a definition needs more; Python itself refuses 4,300.
MAX_DIGITS = 40


@dataclass(eq=False)
class JsonFault(Exception):
    """Why a text is refused, with the place when it is known (line and column count from 1)."""

    code: str
    message: str
    hint: str = ""
    line: int = 0
    column: int = 0


def parse(data: bytes) -> JsonValue:
    """Read JSON from UTF-8 bytes, with or without a byte order mark.

    Raises:
        JsonFault: The text is too large, too deep, not UTF-8, not JSON, or holds what JSON must not.
    """
    if len(data) > MAX_BYTES:
        raise JsonFault("emd.size", f"the file has {len(data)} bytes; {MAX_BYTES} are allowed.")
    text = _decode(data)
    value = _load(text)
    _check_depth_and_text(value)
    return value


def _decode(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:4]:
        raise JsonFault("emd.encoding", "the file is UTF-16 or UTF-32.", "Save it as UTF-8.")
    # Editors on Windows write it; a third of the files seen come from there.
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        column = fault.start - data.rfind(b"\n", 0, fault.start)
        message = f"byte 0x{data[fault.start]:02x} is not UTF-8."
        raise JsonFault("emd.encoding", message, "Save the file as UTF-8.", line, column) from None


def _load(text: str) -> JsonValue:
    try:
        value: JsonValue = json.loads(
            text,
            object_pairs_hook=lambda pairs: _unique(pairs, text),
            parse_constant=lambda word: _refuse_constant(word, text),
            parse_float=lambda number: _finite(number, text),
            parse_int=lambda number: _whole(number, text),
        )
    except json.JSONDecodeError as fault:
        raise _explain(text, fault) from None
    except RecursionError:
        raise JsonFault("emd.depth", f"the nesting is deeper than {MAX_DEPTH} levels.") from None
    return value


def _unique(pairs: list[tuple[str, Any]], text: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    key = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    # Hooks are not told where they are, so the place is searched for.
    places = [match.start() for match in re.finditer(re.escape(json.dumps(key)) + r"\s*:", text)]
    line, column = _place(text, places[1]) if len(places) > 1 else (0, 0)
    message = f"the key {key!r} occurs twice in one object."
    raise JsonFault("emd.duplicate_key", message, "Keep one of them.", line, column)


def _refuse_constant(word: str, text: str) -> None:
    raise _number_fault(word, text, f"{word} is not a JSON number.")


def _finite(number: str, text: str) -> float:
    # The standard parser turns 1e999 into infinity without a word.
    value = float(number)
    if math.isinf(value):
        raise _number_fault(number, text, f"{number[:MAX_DIGITS]} is too large for a number.")
    return value


def _whole(number: str, text: str) -> int:
    if len(number) > MAX_DIGITS:
        raise _number_fault(number, text, f"a number has {len(number)} digits; {MAX_DIGITS} are allowed.")
    return int(number)


def _number_fault(number: str, text: str, message: str) -> JsonFault:
    line, column = _place(text, text.find(number))
    return JsonFault("emd.number", message, "Write a finite number, or null.", line, column)


def _check_depth_and_text(value: JsonValue) -> None:
    # Level by level: no recursion that deep nesting could exhaust.
    level = [value]
    for depth in range(MAX_DEPTH + 2):
        below: list[JsonValue] = []
        for item in level:
            if isinstance(item, str):
                _check_encodable(item)
            elif isinstance(item, (dict, list)) and depth == MAX_DEPTH:
                raise JsonFault("emd.depth", f"the nesting is deeper than {MAX_DEPTH} levels.")
            elif isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below


def _check_encodable(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        message = f"the text {text[:40]!a} holds half of a surrogate pair."
        raise JsonFault("emd.text", message, "Write the character itself.") from None


def _place(text: str, position: int) -> tuple[int, int]:
    position = max(position, 0)
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


def _explain(text: str, fault: json.JSONDecodeError) -> JsonFault:
    """Say what a person most likely did where the parser stopped."""
    position = min(fault.pos, len(text))
    before = text[:position].rstrip()
    here = text[position : position + 1]
    if not text.strip():
        return JsonFault("emd.json", "the file is empty.", "", 1, 1)
    # Python 3.13 stops at a trailing comma, earlier ones behind it.
    comma = position if here == "," else len(before) - 1
    after = text[comma + 1 :].lstrip()[:1]
    if text[comma : comma + 1] == "," and after and after in "}]":
        return _syntax(text, comma, f"there is a trailing comma before {after!r}.", "Remove the comma.")
    if here == ",":
        return _syntax(text, position, "there is a comma too many.", "Remove the comma.")
    if fault.msg == "Expecting ',' delimiter" and here and here not in "}]":
        line, _ = _place(text, len(before))
        hint = f"A comma is missing at the end of line {line}, after {_tail(before)}."
        return _syntax(text, len(before), f"a comma is missing before {_head(text, position)}.", hint)
    message, hint = _common_cause(fault.msg, here, text[position : position + 5])
    return _syntax(text, position, message, hint)


def _syntax(text: str, position: int, message: str, hint: str) -> JsonFault:
    line, column = _place(text, position)
    return JsonFault("emd.json", f"line {line}, column {column}: {message}", hint, line, column)


def _common_cause(reason: str, here: str, ahead: str) -> tuple[str, str]:
    if not here:
        return "the file ends too early.", "A closing bracket is missing; is the file complete?"
    if here == "'":
        return "a text stands in single quotes.", "JSON wants double quotes."
    if here in "/#":
        return "JSON has no comments.", "Remove the comment."
    if reason.startswith("Invalid \\escape"):
        return "a single backslash stands in a text.", "Write \\\\ or / in paths."
    if reason.startswith("Invalid control character"):
        return "a text is not closed on its line.", "A double quote is missing."
    if ahead.startswith(("True", "False", "None")):
        return f"{ahead.strip(', ')} is Python, not JSON.", "Write true, false or null."
    if reason == "Extra data":
        return "something follows the end of the object.", "Remove it; perhaps a bracket is closed too early."
    return f"{reason[0].lower()}{reason[1:]}.", ""


def _head(text: str, position: int) -> str:
    return repr(text[position : position + 40].split("\n", maxsplit=1)[0].split(":", maxsplit=1)[0].strip())


def _tail(before: str) -> str:
    return repr(before[-60:].rsplit("\n", maxsplit=1)[-1].strip())
