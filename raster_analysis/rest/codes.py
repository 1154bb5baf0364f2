"""Codes: stand for a token for a minute, and are worth it once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from threading import Lock

from raster_analysis.portal.tokens import Token

LIFETIME_S = 60.0


class Codes:
    """The codes that were given out and not yet used."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._lock = Lock()
        self._kept: dict[str, tuple[float, Token]] = {}

    def keep(self, token: Token) -> str:
        """Return a code for a token."""
        code = secrets.token_urlsafe(32)
        with self._lock:
            self._drop_old()
            self._kept[code] = (self._now_s() + LIFETIME_S, token)
        return code

    def take(self, code: str) -> Token | None:
        """Return the token of a code and forget the code; None for one that is unknown, used or old."""
        with self._lock:
            self._drop_old()
            kept = self._kept.pop(code, None)
        return kept[1] if kept else None

    def _drop_old(self) -> None:
        now = self._now_s()
        self._kept = {code: kept for code, kept in self._kept.items() if kept[0] > now}
