"""The OGC dialect: JSON bodies, negotiated formats, real HTTP statuses, problems for errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dlpk.strict_json import JsonFault, parse
from raster_analysis.errors import InvalidToken, RasterAnalysisError, TokenRequired
from raster_analysis.ogc.negotiation import Accepted
from raster_analysis.ogc.problem import PROBLEM_TYPE, Problem, invalid, problem_document, problem_of
from raster_analysis.portal.uploads import Uploads
from raster_analysis.rest.body import Body
from raster_analysis.rest.dialect import Dialect
from raster_analysis.rest.envelope import Refusal, envelope
from raster_analysis.rest.fields import BodyLimits, Fields
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.rest.pages import Pages, Visit

JSON = "application/json"
HTML = "text/html"
GEOJSON = "application/geo+json"
_READING = ("GET", "HEAD")


class Ogc:
    """Fulfils `rest.dialect.Dialect`."""

    @asynccontextmanager
    async def read(self, request: Request, limits: BodyLimits, _uploads: Uploads) -> AsyncIterator[Fields]:
        """Read the query; a body has to be JSON and is left to `body_of`."""
        query = _query(request)
        if request.method not in (*_READING, "DELETE"):
            request.state.document = await _read_json(request, limits.text)
        yield Fields(query)

    def choose(
        self, request: Request, fields: Mapping[str, str], default: Format, *, offered: Collection[Format]
    ) -> Format:
        """Follow `f` first, then Accept; whoever changes something gets JSON, and needs a token to do so."""
        if request.method not in _READING:
            return Format.JSON
        given = fields.get("f", "").strip().lower()
        if given:
            return _named(given, frozenset(offered))
        if Format.HTML not in offered:
            return default
        types = [GEOJSON] if Format.GEOJSON in offered else []
        best = Accepted.of(request.headers.get("accept", "")).best(JSON, *types, HTML)
        if best is None and Format.OTHER in offered:
            return default
        if best is None:
            raise Problem(406, f"This is given as {JSON} or {HTML} only.")
        return Format.HTML if best == HTML else default

    def write(self, answer: Answer, _wanted: Format) -> Response:
        """Return JSON with the answer's own status and media type."""
        # A lone surrogate in user text must not end the request.
        text = json.dumps(answer.document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        return Response(text, answer.status, dict(answer.headers), answer.media_type)

    def refuse(
        self, error: Exception, request: Request, fields: Mapping[str, str] | None, *, visit: Visit, pages: Pages
    ) -> Response:
        """Return a problem, or a page about it for people; they are led to the sign-in page where one is needed."""
        problem = problem_of(error)
        if not _wants_page(request, fields):
            return self._problem(problem, error, request)
        if isinstance(error, TokenRequired):
            return RedirectResponse(pages.sign_in_url(request.url.path), 303)
        told = envelope(problem.code, problem.message, problem.details)
        page = pages.show(Answer(told, "error.html"), visit)
        page.status_code = problem.code
        return page

    def _problem(self, problem: Problem, error: Exception, request: Request) -> Response:
        accepted = Accepted.of(request.headers.get("accept", ""))
        # Version 1.0 of the standard calls it plain JSON, and clients that ask for just that get it.
        media_type = JSON if accepted.names(JSON) and not accepted.weight(PROBLEM_TYPE) else PROBLEM_TYPE
        response = self.write(
            Answer(problem_document(problem), status=problem.code, media_type=media_type), Format.JSON
        )
        if problem.code == 401:
            why = ' error="invalid_token"' if isinstance(error, InvalidToken) else ""
            response.headers["www-authenticate"] = f"Bearer{why}"
        return response


OGC: Dialect = Ogc()


def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request carries; raises Problem for anything else."""
    document = getattr(request.state, "document", None)
    if isinstance(document, Problem):
        raise document
    if not isinstance(document, dict):
        raise invalid('The body is not a JSON object; send one such as {"inputs": {...}}.')
    return document


def _query(request: Request) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if values.setdefault(name, value) != value:
            raise invalid(f"Parameter {name[:100]!r} is given twice with different values.")
    return values


async def _read_json(request: Request, limit: int) -> JsonValue | Problem:
    """Return the body, or what is wrong with it: that is told once it is known who asks."""
    body = Body(request, limit)
    try:
        data = b"".join([piece async for piece in body.pieces()])
    except (Refusal, RasterAnalysisError):
        await body.drain()
        request.state.is_unread = not body.is_over
        raise
    request.state.is_unread = False
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        return Problem(415, f"Content type {kind[:100]!r} is not supported; send {JSON}.")
    try:
        return parse(data)
    except JsonFault as fault:
        return invalid(f"The body cannot be read: {fault.message}")


def _named(given: str, offered: AbstractSet[Format]) -> Format:
    # GDAL and older clients write media types here.
    known = {JSON: "json", GEOJSON: "geojson", HTML: "html"}.get(given, given)
    if known == Format.JSON and Format.GEOJSON in offered:
        return Format.GEOJSON
    named = offered - {Format.OTHER}
    wanted = next((each for each in named if each == known), None)
    if wanted is None:
        names = " or f=".join(sorted(named))
        raise invalid(f"Format {given[:40]!r} is not supported; use f={names}.")
    return wanted


def _wants_page(request: Request, fields: Mapping[str, str] | None) -> bool:
    if request.method not in _READING:
        return False
    given = (request.query_params if fields is None else fields).get("f", "").strip().lower()
    if request.query_params.get("f"):
        return given in ("html", HTML)
    return Accepted.of(request.headers.get("accept", "")).best(JSON, GEOJSON, PROBLEM_TYPE, HTML) == HTML
