"""Doors: how users come in with a password and go out again."""

from __future__ import annotations

from dataclasses import dataclass

from raster_analysis.errors import BadCredentials
from raster_analysis.portal.throttle import Throttle
from raster_analysis.portal.tokens import Token, Tokens
from raster_analysis.portal.users import Users


@dataclass(frozen=True, slots=True)
class Doors:
    """Issues tokens for passwords, and slows down who guesses."""

    users: Users
    tokens: Tokens
    throttle: Throttle

    def sign_in(self, name: str, password: str, *, client: str, lifetime_s: int) -> Token:
        """Return a new token; raises BadCredentials, or TooManyLogins after many failures from one client."""
        self.throttle.check(client, name)
        try:
            user = self.users.verify(name, password)
        except BadCredentials:
            self.throttle.count_failure(client, name)
            raise
        return self.tokens.issue(user.name, lifetime_s)

    def sign_out(self, token: str) -> None:
        """Make a token worthless."""
        self.tokens.revoke(token)
