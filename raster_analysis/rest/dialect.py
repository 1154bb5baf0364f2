"""A dialect: how one family of clients writes requests, reads documents and is told of errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from raster_analysis.errors import TokenRequired
from raster_analysis.portal.uploads import Uploads
from raster_analysis.rest.envelope import envelope, refusal_of
from raster_analysis.rest.fields import BodyLimits, Fields, read_fields
from raster_analysis.rest.formats import Answer, Format, choose_format, json_response
from raster_analysis.rest.pages import Pages, Visit


class Dialect(Protocol):
    """What differs between the families; policies, limits, pages and threads are the desk's for all of them."""

    def read(self, request: Request, limits: BodyLimits, uploads: Uploads) -> AbstractAsyncContextManager[Fields]:
        """Return the fields of a request; its files live as long as the context. Raises Refusal."""

    def choose(
        self, request: Request, fields: Mapping[str, str], default: Format, *, offered: Collection[Format]
    ) -> Format:
        """Return the format of the answer; raises Refusal for one that is not offered."""

    def write(self, answer: Answer, wanted: Format) -> Response:
        """Return a document for a program."""

    def refuse(
        self, error: Exception, request: Request, fields: Mapping[str, str] | None, *, visit: Visit, pages: Pages
    ) -> Response:
        """Return the answer to a request that failed; `fields` are None when they could not be read."""


class ArcGIS:
    """Forms and queries, `f` for the format, errors as envelopes under HTTP 200 (contract 2.3)."""

    def read(self, request: Request, limits: BodyLimits, uploads: Uploads) -> AbstractAsyncContextManager[Fields]:
        """Read query and form as one mapping."""
        return read_fields(request, limits, uploads)

    def choose(
        self, _request: Request, fields: Mapping[str, str], default: Format, *, offered: Collection[Format]
    ) -> Format:
        """Follow `f` alone: clients send any Accept."""
        return choose_format(fields, default, offered=offered)

    def write(self, answer: Answer, wanted: Format) -> Response:
        """Return JSON, indented for `pjson`."""
        return json_response(answer.document, pretty=wanted is Format.PJSON)

    def refuse(
        self, error: Exception, request: Request, fields: Mapping[str, str] | None, *, visit: Visit, pages: Pages
    ) -> Response:
        """Return an envelope, a page, or the way to the sign-in page."""
        refusal = refusal_of(error)
        document = envelope(refusal.code, refusal.message, refusal.details)
        wanted = (_fields_of_unreadable(request) if fields is None else fields).get("f", "html").lower()
        if wanted not in ("", "html"):
            return json_response(document, pretty=wanted == "pjson")
        if isinstance(error, TokenRequired):
            return RedirectResponse(pages.sign_in_url(request.url.path), 303)
        return pages.show(Answer(document, "error.html"), visit)


ARCGIS: Dialect = ArcGIS()


def _fields_of_unreadable(request: Request) -> Mapping[str, str]:
    """Return what is known of a request whose form, and with it the format, could not be read."""
    wanted = "html" if "text/html" in request.headers.get("accept", "") else "json"
    return {"f": wanted, **request.query_params}
