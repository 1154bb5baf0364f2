"""The site: all endpoints behind one desk, one journal and one answer to whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match

from raster_analysis.rest.access import Policy
from raster_analysis.rest.body import read_out
from raster_analysis.rest.dialect import Dialect
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
    dialects: Mapping[str, Dialect] = MappingProxyType({}),
) -> Starlette:
    """Return the application. Its whole route table is `app.state.endpoints`: there is no other route.

    Below each path in `dialects` that dialect tells of what is not there at all.
    """
    every = (*_own_endpoints(desk.pages.urls), *endpoints)

    def tell(request: Request, error: Exception) -> Response:
        dialect = next((spoken for root, spoken in dialects.items() if _is_below(root, request)), None)
        return _refuse_in(dialect, desk, request, error) if dialect else _refuse(desk, request, error)

    async def refuse(request: Request, error: Exception) -> Response:
        response = tell(request, error)
        # A form was posted to what is not there. Clients do that (contract 4.4), and send their next request on the
        # same connection: it must not be closed under it without a word.
        if not isinstance(error, HTTPException) or not await read_out(request):
            response.headers["connection"] = "close"
        return response

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


def _refuse_in(dialect: Dialect, desk: Desk, request: Request, error: Exception) -> Response:
    response = desk.refuse(request, None, _without_status(error), dialect=dialect)
    if response.status_code == 405:
        response.headers["allow"] = ", ".join(_allowed(request))
    return response


def _refuse(desk: Desk, request: Request, error: Exception) -> Response:
    if not request.url.path.startswith(_WITH_ENVELOPES):
        status = error.status_code if isinstance(error, HTTPException) else 500
        return PlainTextResponse("not found\n" if status == 404 else "error\n", status)
    # The form of a POST is not read for a route that is not there: browsers say what they want in a header.
    wanted = "html" if "text/html" in request.headers.get("accept", "") else "json"
    return desk.refuse(request, {"f": wanted, **request.query_params}, _without_status(error))


def _is_below(root: str, request: Request) -> bool:
    path = request.url.path
    return path == root or path.startswith(f"{root}/")


def _allowed(request: Request) -> list[str]:
    """Return the methods of a path, whichever endpoints serve them."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in route.methods})


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
