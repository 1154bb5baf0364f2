"""Moments and intervals of time, as RFC 3339 writes them and the OGC standards join them."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from raster_analysis.ogc.problem import invalid

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2}))?")
_OPEN = ("", "..")


@dataclass(frozen=True, slots=True)
class Interval:
    """From a moment to another, both included; None: open."""

    start: dt.datetime | None = None
    end: dt.datetime | None = None

    def contains(self, moment: dt.datetime) -> bool:
        """Tell whether a moment lies inside."""
        return (self.start is None or self.start <= moment) and (self.end is None or moment <= self.end)


ALWAYS = Interval()


def spell(moment: dt.datetime) -> str:
    """Return a moment as text in UTC."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def spell_ms(moment_ms: int) -> str:
    """Return a moment in milliseconds since 1970 as text."""
    return spell(dt.datetime.fromtimestamp(moment_ms / 1000, dt.UTC))


def read_interval(text: str | None) -> Interval:
    """Return what `datetime` asks for: a moment, `a/b`, `a/..` or `../b`; raises Problem."""
    if text is None:
        return ALWAYS
    start, slash, end = text.partition("/")
    if not slash:
        return Interval(_moment(start), _moment(start, last=True))
    interval = Interval(None if start in _OPEN else _moment(start), None if end in _OPEN else _moment(end, last=True))
    if interval == ALWAYS or (interval.start and interval.end and interval.start > interval.end):
        raise _wrong(text)
    return interval


def _moment(text: str, *, last: bool = False) -> dt.datetime:
    """Return a moment; of a date its first, or its `last`."""
    if not _MOMENT.fullmatch(text):
        raise _wrong(text)
    try:
        moment = dt.datetime.fromisoformat(text.upper())
    except ValueError:
        raise _wrong(text) from None
    if len(text) > len("2026-01-01"):
        return moment
    day = moment.replace(tzinfo=dt.UTC)
    return day.replace(hour=23, minute=59, second=59, microsecond=999999) if last else day


def _wrong(text: str) -> Exception:
    return invalid(
        f"Parameter datetime = {text[:60]!r}: want a moment such as 2026-01-31T12:00:00Z, a date, or an interval "
        "such as 2026-01-01/2026-01-31, where '..' is an open end."
    )
