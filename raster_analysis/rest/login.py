"""Signing in to the browsable pages.

The session is a short-lived token in a cookie that scripts cannot read and other sites cannot send.
It opens HTML pages only: an API request (`f=json`) is never authenticated by it.
"""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from raster_analysis.errors import LoginError
from raster_analysis.rest.access import SESSION_COOKIE, Policy
from raster_analysis.rest.doors import Doors
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.urls import LOGIN, LOGOUT, SERVICES, Urls, safe_target

SESSION_S = 2 * 3600
"""Lifetime of a session (guess: half a working day is too long on a shared machine)."""


class Login:
    """Serves the sign-in page."""

    def __init__(self, doors: Doors, urls: Urls) -> None:
        self._doors = doors
        self._urls = urls

    def endpoints(self) -> list[Endpoint]:
        """Return the routes for signing in and out."""
        return [
            Endpoint(LOGIN, self.login, Policy.OPEN, signs_in=True),
            Endpoint(LOGOUT, self.logout, Policy.OPEN, changes=True, methods=("POST",)),
        ]

    def login(self, call: Call) -> Answer | Response:
        """Show the form; take name and password and start a session."""
        target = safe_target(call.fields.get("next", ""), self._urls)
        # What a query holds fills no field and signs nobody in.
        if call.request.method != "POST":
            return _form(target)
        _check_same_site(call)
        name = call.fields.get("username", "")
        client = call.request.client.host if call.request.client else ""
        try:
            token = self._doors.sign_in(name, call.fields.get("password", ""), client=client, lifetime_s=SESSION_S)
        except LoginError:
            return _form(target, name, "The user name or the password is wrong, or there were too many attempts.")
        response = RedirectResponse(target, 303)
        response.set_cookie(
            SESSION_COOKIE,
            token.value,
            max_age=SESSION_S,
            path=self._urls.path or "/",
            secure=self._urls.base.startswith("https://"),
            httponly=True,
            samesite="strict",
        )
        return response

    def logout(self, call: Call) -> Response:
        """End the session."""
        if call.credentials.session:
            self._doors.sign_out(call.credentials.session)
        response = RedirectResponse(self._urls.path + SERVICES, 303)
        response.delete_cookie(SESSION_COOKIE, path=self._urls.path or "/", httponly=True, samesite="strict")
        return response


def _check_same_site(call: Call) -> None:
    """Refuse a sign-in that another site's page sends, which would leave the user in a stranger's account."""
    if call.request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Refusal(403, "Sign in on this site's own page.")


def _form(target: str, name: str = "", fault: str = "") -> Answer:
    return Answer({}, "login.html", {"next": target, "username": name, "fault": fault})
