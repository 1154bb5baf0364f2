"""The site: all endpoints behind one desk, one journal and one answer to whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response

from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Desk, Endpoint
from raster_analysis.rest.envelope import Refusal, refusal_of
from raster_analysis.rest.urls import SERVICES, STATIC, Urls

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]

_WITH_ENVELOPES = ("/arcgis", "/portal/sharing", "/portal/home", "/sharing")
"""Below these clients read errors; what they only try elsewhere is plainly not found (contract 3.1)."""
_STATIC = Path(__file__).parent / "static"


def make_site(
    desk: Desk,
    endpoints: Sequence[Endpoint],
    *,
    lifespan: Lifespan | None = None,
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """Return the application. Its whole route table is `app.state.endpoints`: there is no other route."""
    every = (*_own_endpoints(desk.pages.urls), *endpoints)

    async def refuse(request: Request, error: Exception) -> Response:
        if not request.url.path.startswith(_WITH_ENVELOPES):
            status = error.status_code if isinstance(error, HTTPException) else 500
            return PlainTextResponse("not found\n" if status == 404 else "error\n", status)
        return desk.refuse(request, request.query_params, _without_status(error))

    app = Starlette(
        routes=[desk.route(endpoint) for endpoint in every],
        exception_handlers={HTTPException: refuse, Exception: refuse},
        lifespan=lifespan,
        middleware=middleware,
    )
    # Starlette would build the redirect from the Host header.
    app.router.redirect_slashes = False
    app.state.endpoints = every
    return app


def _own_endpoints(urls: Urls) -> list[Endpoint]:
    def enter(_call: Call) -> Response:
        return RedirectResponse(urls.path + SERVICES, 302)

    return [
        Endpoint("/", enter, Policy.OPEN),
        Endpoint(f"{STATIC}/{{name}}", _static_file, Policy.OPEN, methods=("GET",)),
    ]


def _static_file(call: Call) -> Response:
    # Looked up among the names that are there, so that no path is ever put together from a request.
    known = {path.name: path for path in _STATIC.iterdir()}
    if call.path["name"] not in known:
        raise Refusal(404, "There is no such file.")
    return FileResponse(known[call.path["name"]], headers={"cache-control": "max-age=3600"})


def _without_status(error: Exception) -> Refusal:
    if not isinstance(error, HTTPException):
        return refusal_of(error)
    words = {404: "There is no such resource.", 405: "This method is not allowed here."}
    return Refusal(error.status_code, words.get(error.status_code, error.detail))
