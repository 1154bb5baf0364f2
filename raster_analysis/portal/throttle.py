"""Failed sign-ins slow down the one who guesses, and nobody else."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from raster_analysis.errors import TooManyLogins
from raster_analysis.portal.database import fold
from raster_analysis.portal.moment import Clock, now_ms

FAILURES = 10
WINDOW_MS = 60_000
_REMEMBERED = 10_000
"""Pairs kept in memory; the oldest are forgotten first (guess)."""
_LONGEST_NAME = 64
"""No user has a longer name; strangers send names of megabytes."""


class Throttle:
    """Counts failures by client address and user name together, so that guessing locks out no other client."""

    def __init__(self, *, clock: Clock = now_ms) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failures: OrderedDict[tuple[str, str], list[int]] = OrderedDict()

    def check(self, client: str, name: str) -> None:
        """Raise TooManyLogins when this client failed too often for this name within a minute."""
        with self._lock:
            recent = self._recent(_key(client, name))
        if len(recent) >= FAILURES:
            raise TooManyLogins(f"Too many failed sign-ins; wait {WINDOW_MS // 1000} seconds and try again.")

    def count_failure(self, client: str, name: str) -> None:
        """Note one failed sign-in."""
        key = _key(client, name)
        with self._lock:
            self._failures[key] = [*self._recent(key), self._clock()]
            self._failures.move_to_end(key)
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)

    def _recent(self, key: tuple[str, str]) -> list[int]:
        since = self._clock() - WINDOW_MS
        return [moment for moment in self._failures.get(key, []) if moment > since]


def _key(client: str, name: str) -> tuple[str, str]:
    # As users are looked up: every spelling of a name is a guess at the same user.
    return client, fold(name[:_LONGEST_NAME])
