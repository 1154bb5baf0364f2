"""Tickets: stand for one image request of one user for a few minutes, in a URL that needs no header.

The client that asked for `f=json` fetches the image without its token (contract 7.2). A ticket holds no right: who it
names is asked about again when it is used, and it opens this one image of this one service only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raster_analysis.rest.envelope import Refusal

LIFETIME_S = 300
_LONGEST = 6000
"""Characters; longer URLs are cut by clients and proxies."""


@dataclass(frozen=True, slots=True)
class ImageTicket:
    """Who asked for which image."""

    user: str | None
    path: str
    """Of the service, so that a ticket opens no other one."""
    fields: Mapping[str, str]


class TicketOffice:
    """Writes and reads tickets; nothing is kept, and none outlives the server."""

    def __init__(self, key: bytes, now_s: Callable[[], float]) -> None:
        self._key = key
        self._now_s = now_s

    def write(self, ticket: ImageTicket) -> str:
        """Return a ticket's text; raises Refusal when the request is too long for a URL."""
        until = int(self._now_s()) + LIFETIME_S
        body = json.dumps([until, ticket.user, ticket.path, dict(ticket.fields)], separators=(",", ":")).encode()
        text = base64.urlsafe_b64encode(self._sign(body) + body).rstrip(b"=").decode()
        if len(text) > _LONGEST:
            raise Refusal(400, "This request is too long for a URL to its image; ask with f=image instead of f=json.")
        return text

    def read(self, text: str, path: str) -> ImageTicket:
        """Return the ticket that was written for a service; raises Refusal when it is old, changed or another's."""
        until, user, of_path, fields = self._open(text)
        if until < self._now_s() or of_path != path:
            raise _worthless()
        return ImageTicket(user, of_path, fields)

    def _open(self, text: str) -> tuple[int, str | None, str, dict[str, str]]:
        try:
            data = base64.urlsafe_b64decode(text[:_LONGEST] + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            raise _worthless() from None
        signature, body = data[:32], data[32:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise _worthless()
        # Signed by us, so that it is what `write` made.
        until, user, path, fields = json.loads(body)
        return until, user, path, fields

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"image ticket:" + body, hashlib.sha256)


def _worthless() -> Refusal:
    return Refusal(400, "This link to an image is out of date; ask for the image again.")
