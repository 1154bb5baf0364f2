"""Tokens: 256 random bits that stand for a user until they expire. Only their sha256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import delete, select

from raster_analysis.errors import InvalidToken
from raster_analysis.portal.database import Database, tokens
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.users import User, Users

GRACE_MS = 10 * 60 * 1000
"""Clients go on using a token until 5 minutes after the announced expiry (contract 3.3)."""
LONGEST_LIFETIME_S = 14 * 24 * 3600
TRUST_MS = 5_000
"""How long a token that was looked up is believed: polls then cost no query (measured: 1 ms each under load).

What another process revokes is refused that much later; what this one revokes, at once.
"""
_LONGEST_TEXT = 200
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Token:
    """A fresh token. Its value is shown once and cannot be found out again."""

    value: str = field(repr=False)
    user: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class _Known:
    user: User
    until_ms: int


class Tokens:
    """The tokens of a portal's users."""

    def __init__(self, database: Database, users: Users, *, clock: Clock = now_ms) -> None:
        self._database = database
        self._users = users
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._looking = Lock()

    def issue(self, user: str, lifetime_s: int) -> Token:
        """Return a new token for a user; lifetimes are cut at two weeks."""
        now = self._clock()
        lifetime_s = min(max(lifetime_s, 1), LONGEST_LIFETIME_S)
        # In hex: a token that begins with a hyphen is taken for an option by shells' commands.
        token = Token(secrets.token_hex(32), self._users.get(user).name, now + lifetime_s * 1000)
        with self._database.write() as connection:
            # Housekeeping where it costs least: without it the table would grow for ever.
            connection.execute(delete(tokens).where(tokens.c.expires_ms + GRACE_MS < now))
            connection.execute(
                tokens.insert().values(sha256=_digest(token.value), user=token.user, expires_ms=token.expires_ms)
            )
        return token

    def user_of(self, value: str) -> User:
        """Return the user a token stands for; raises InvalidToken when it is unknown, expired or revoked."""
        digest, now = _digest(value), self._clock()
        known = self._known.get(digest)
        if known is not None and known.until_ms >= now:
            return known.user
        # One looks, the others wait for what it finds: hundreds of polls with one token arrive at once.
        with self._looking:
            known = self._known.get(digest)
            if known is None or known.until_ms < now:
                name, expires_ms = self._find(value)
                known = _Known(self._users.get(name), min(now + TRUST_MS, expires_ms + GRACE_MS))
                self._remember(digest, known)
        return known.user

    def expires_ms(self, value: str) -> int:
        """Return when a token expires."""
        return self._find(value)[1]

    def revoke(self, value: str) -> None:
        """Make a token worthless at once."""
        with self._database.write() as connection:
            connection.execute(delete(tokens).where(tokens.c.sha256 == _digest(value)))
        self._known.pop(_digest(value), None)

    def revoke_all(self, user: str) -> None:
        """Make every token of a user worthless at once."""
        with self._database.write() as connection:
            connection.execute(delete(tokens).where(tokens.c.user == user))
        self._known.clear()

    def _remember(self, digest: str, known: _Known) -> None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = known

    def _find(self, value: str) -> tuple[str, int]:
        wanted = select(tokens.c.user, tokens.c.expires_ms).where(
            tokens.c.sha256 == _digest(value), tokens.c.expires_ms + GRACE_MS >= self._clock()
        )
        with self._database.read() as connection:
            row = connection.execute(wanted).first() if len(value) <= _LONGEST_TEXT else None
        if row is None:
            raise InvalidToken("Invalid Token.")
        return str(row.user), int(row.expires_ms)


def _digest(value: str) -> str:
    # The index look-up compares digests, so its timing tells nothing about the token.
    return hashlib.sha256(value.encode()).hexdigest()
