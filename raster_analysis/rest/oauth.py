"""Signing in the way ArcGIS clients do by default: OAuth pages that a program reads (contract 3.2).

The token goes to the redirect address only, and that is always an address of this server.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from urllib.parse import quote, urlencode, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response

from raster_analysis.errors import LoginError
from raster_analysis.portal.tokens import Token
from raster_analysis.rest.access import Policy
from raster_analysis.rest.codes import Codes
from raster_analysis.rest.context import at_root
from raster_analysis.rest.doors import Doors
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.form import whole_number
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.rest.urls import SHARING, Urls

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""Instead of an address: the code is shown in the page's title."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"https": 443, "http": 80}
_SHORTEST_MIN = 10
"""Clients renew a token five minutes early; one that is younger than that would be renewed for ever."""
_DEFAULT_MIN = 120
_SIGN_IN = f"{SHARING}/oauth2/signin"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asked for at `authorize`; it travels through the page, signed."""

    redirect_uri: str
    state: str
    wants_code: bool
    minutes: int


class OAuth:
    """Serves `authorize`, `signin` and `token`."""

    def __init__(self, doors: Doors, urls: Urls, now_s: Callable[[], float]) -> None:
        self._doors = doors
        self._urls = urls
        self._now_s = now_s
        self._codes = Codes(now_s)
        # Of this process alone: a page that was open over a restart is simply asked for again.
        self._key = secrets.token_bytes(32)

    def endpoints(self) -> list[Endpoint]:
        """Return the routes; the path of `signin` has no `/rest`."""
        root = f"{SHARING}/rest/oauth2"
        routes = [
            Endpoint(f"{root}/authorize", self.authorize, Policy.OPEN),
            Endpoint(_SIGN_IN, self.sign_in, Policy.OPEN, signs_in=True, methods=("POST",)),
            Endpoint(f"{root}/token", self.token, Policy.OPEN, default_format=Format.JSON),
            Endpoint(f"{root}/revokeToken", self.revoke, Policy.OPEN, default_format=Format.JSON, methods=("POST",)),
            Endpoint(f"{root}/signout", self.sign_out, Policy.OPEN, default_format=Format.JSON),
        ]
        return [*routes, *at_root(routes)]

    def authorize(self, call: Call) -> Response:
        """Show the sign-in page, for people and for programs."""
        wish = Wish(
            redirect_uri=call.fields.get("redirect_uri", ""),
            state=call.fields.get("state", "")[:500],
            wants_code=call.fields.get("response_type", "token") == "code",
            minutes=max(whole_number(call.fields, "expiration", _DEFAULT_MIN), _SHORTEST_MIN),
        )
        if not self._is_ours(wish.redirect_uri):
            # Not the words "Invalid redirect_uri": clients look for them (contract 3.2).
            raise Refusal(400, f"redirect_uri {wish.redirect_uri[:200]!r} is not an address of this server.")
        return self._page({"oauth_state": self._seal(wish)})

    def sign_in(self, call: Call) -> Response:
        """Take name and password and lead back with a token or a code; show the page again when they are wrong."""
        sealed = call.fields.get("oauth_state", "")
        wish = self._unseal(sealed)
        name, password = call.fields.get("username", ""), call.fields.get("password", "")
        client = call.request.client.host if call.request.client else ""
        try:
            token = self._doors.sign_in(name, password, client=client, lifetime_s=wish.minutes * 60)
        except LoginError:
            return self._page({"messages": ["Invalid username or password."], "oauth_state": sealed})
        if not wish.wants_code:
            return RedirectResponse(f"{wish.redirect_uri}#{self._fragment(token, wish.state)}", 302)
        code = self._codes.keep(token)
        if wish.redirect_uri == OUT_OF_BAND:
            return HTMLResponse(f"<html><head><title>SUCCESS code={code}</title></head><body>{code}</body></html>\n")
        return RedirectResponse(f"{wish.redirect_uri}?{urlencode({'code': code, 'state': wish.state})}", 302)

    def token(self, call: Call) -> Answer:
        """Give the token for a code, once."""
        kind = call.fields.get("grant_type", "")
        token = self._codes.take(call.fields.get("code", "")) if kind == "authorization_code" else None
        if token is None:
            raise Refusal(400, "The code is unknown, used or too old; sign in again.")
        return Answer({"access_token": token.value, "expires_in": self._left_s(token), "username": token.user})

    def revoke(self, call: Call) -> Answer:
        """Make a token worthless; who has it may do so. An unknown one is worthless already, which is success too."""
        self._doors.sign_out(call.fields.get("auth_token") or call.credentials.token or "")
        return Answer({"success": True})

    def sign_out(self, call: Call) -> Answer | Response:
        """Make the token of the request worthless and lead back, to an address of this server only."""
        if call.credentials.token:
            self._doors.sign_out(call.credentials.token)
        target = call.fields.get("redirect_uri", "")
        if target and target != OUT_OF_BAND and self._is_ours(target):
            return RedirectResponse(target, 302)
        return Answer({"success": True})

    def _fragment(self, token: Token, state: str) -> str:
        values = {
            "access_token": token.value,
            "expires_in": self._left_s(token),
            "username": token.user,
            "ssl": "true",
            "state": state,
        }
        return urlencode(values, quote_via=quote)

    def _left_s(self, token: Token) -> int:
        return int(token.expires_ms / 1000 - self._now_s())

    def _is_ours(self, redirect_uri: str) -> bool:
        """Tell whether a token may be sent there: to this server, under whichever loopback name it was reached."""
        if redirect_uri == OUT_OF_BAND:
            return True
        try:
            given, base = urlsplit(redirect_uri), urlsplit(self._urls.base)
            same_port = (given.port or _PORTS.get(given.scheme)) == (base.port or _PORTS.get(base.scheme))
        except ValueError:
            return False
        hosts = _LOOPBACK if base.hostname in _LOOPBACK else {base.hostname}
        plain = not (given.username or given.password or given.fragment or "\\" in redirect_uri)
        return plain and same_port and given.scheme == base.scheme and given.hostname in hosts

    def _seal(self, wish: Wish) -> str:
        text = base64.urlsafe_b64encode(json.dumps(asdict(wish)).encode()).decode()
        return f"{text}.{self._sign(text)}"

    def _unseal(self, sealed: str) -> Wish:
        text, _, signature = sealed.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(text).encode()):
            raise Refusal(400, "This sign-in page is out of date; begin again.")
        return Wish(**json.loads(base64.urlsafe_b64decode(text)))

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _page(self, info: dict[str, object]) -> HTMLResponse:
        """Return the page; its second line, the first with braces, holds the one JSON object that programs read."""
        messages = info.get("messages", [])
        fault = "".join(f"<p>{html.escape(text)}</p>" for text in messages) if isinstance(messages, list) else ""
        return HTMLResponse(
            '<!doctype html><html lang="en"><head><title>Sign in</title><script>\n'
            f"var oAuthInfo = {json.dumps(info)};\n"
            "</script></head><body><h1>Sign in</h1>"
            f'{fault}<form method="post" action="{self._urls.path}{_SIGN_IN}">'
            f'<input type="hidden" name="oauth_state" value="{html.escape(str(info["oauth_state"]))}">'
            '<p><label>User name <input name="username" autocomplete="username" required></label></p>'
            '<p><label>Password <input name="password" type="password" required></label></p>'
            "<button>Sign in</button></form></body></html>\n"
        )
