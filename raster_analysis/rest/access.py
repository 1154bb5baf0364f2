"""Who calls: tokens in requests, and what each route asks of its caller."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from starlette.requests import Request

from raster_analysis.errors import InvalidToken, NotPermitted, TokenRequired
from raster_analysis.portal.users import User, require_publisher
from raster_analysis.rest.envelope import Refusal

SESSION_COOKIE = "raster_analysis_session"
"""Set by the sign-in page only and read for HTML pages only: no API answer depends on a cookie."""


class Policy(StrEnum):
    """What a route asks of its caller. Every route names one; a test walks them all without a token."""

    OPEN = "open"
    """No user is looked for; a stale token does no harm."""
    ANYONE = "anyone"
    """The answer depends on the user, if there is one; a bad token is refused."""
    USER = "user"
    PUBLISHER = "publisher"
    """A user who may add content and run tools; a viewer may not."""
    ADMINISTRATOR = "administrator"


class Identities(Protocol):
    """Who a token stands for."""

    def user_of(self, value: str) -> User:
        """Return the user of a token; raises InvalidToken for any other text."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request carries to say who sends it."""

    token: str | None = None
    session: str | None = None
    """The token in the cookie of a signed-in browser; only for HTML."""

    @property
    def csrf_token(self) -> str:
        """Return what a form of this session must carry, so that other sites cannot post it."""
        return hashlib.sha256(f"csrf:{self.session}".encode()).hexdigest() if self.session else ""

    def check_csrf(self, given: str) -> None:
        """Refuse a change that a browser session did not ask for through one of our forms."""
        if not hmac.compare_digest(self.csrf_token.encode(), given.encode()):
            raise Refusal(403, "This form is out of date. Go back, reload the page and send it again.")


def credentials_of(request: Request, fields: Mapping[str, str], *, html: bool) -> Credentials:
    """Find the token: both headers first, then query or form field `token`; for HTML pages then the session."""
    for header in ("x-esri-authorization", "authorization"):
        scheme, _, value = request.headers.get(header, "").partition(" ")
        if scheme.lower() == "bearer" and value.strip():
            return Credentials(token=value.strip())
    # GDAL and QGIS know no headers of ours; form fields are what the oldest clients send.
    if fields.get("token"):
        return Credentials(token=fields["token"])
    return Credentials(session=request.cookies.get(SESSION_COOKIE) if html else None)


def admit(policy: Policy, credentials: Credentials, identities: Identities) -> User | None:
    """Return the user that a policy lets in; raises InvalidToken, TokenRequired or NotPermitted."""
    # Clients read the metadata with tokens that have run out, to find out where to get new ones.
    if policy is Policy.OPEN and not credentials.session:
        return None
    user = _find(credentials, identities)
    if policy in (Policy.OPEN, Policy.ANYONE):
        return user
    if user is None:
        raise TokenRequired("Token Required")
    if policy is Policy.PUBLISHER:
        require_publisher(user)
    if policy is Policy.ADMINISTRATOR and not user.is_administrator:
        raise NotPermitted("This is for administrators only.")
    return user


def _find(credentials: Credentials, identities: Identities) -> User | None:
    if credentials.token is not None:
        return identities.user_of(credentials.token)
    if credentials.session is None:
        return None
    try:
        return identities.user_of(credentials.session)
    except InvalidToken:
        # A session that ran out leaves a visitor, not an error page.
        return None
