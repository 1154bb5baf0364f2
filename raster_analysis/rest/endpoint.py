"""Endpoints: what a route is before and after its own work: fields, format, caller, answer, errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from raster_analysis.errors import InputChanged, TokenRequired
from raster_analysis.portal.quota import Room
from raster_analysis.portal.uploads import Uploads
from raster_analysis.portal.users import User
from raster_analysis.rest.access import Credentials, Identities, Policy, admit, credentials_of
from raster_analysis.rest.body import read_out
from raster_analysis.rest.dialect import ARCGIS, Dialect
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.fields import BodyLimits, Fields
from raster_analysis.rest.formats import DOCUMENTS, Answer, Format
from raster_analysis.rest.multipart import UploadedFile
from raster_analysis.rest.pages import Pages, Visit
from raster_analysis.rest.urls import safe_target

_SIGN_INS = 2
"""Threads that check passwords; users.py hashes no more at once."""
_WAITS = 16
"""Threads that wait for jobs on behalf of clients (guess)."""
_READINGS = 16
"""Threads that wait for reader processes, of which there are a few (guess)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted request, as the work behind a route sees it."""

    path: Mapping[str, str]
    fields: Mapping[str, str]
    files: Mapping[str, UploadedFile]
    visitor: User | None
    format: Format
    request: Request
    credentials: Credentials

    @property
    def user(self) -> User:
        """Return the caller of a route that lets in users only."""
        if self.visitor is None:
            raise TokenRequired("Token Required")
        return self.visitor


@dataclass(frozen=True, slots=True)
class Waiting:
    """An answer that takes seconds: the rest of the work, which waits in a line of its own."""

    finish: Callable[[], Answer | Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A route with its access policy. The work is synchronous and runs in a thread."""

    path: str
    work: Callable[[Call], Answer | Response | Waiting]
    policy: Policy
    changes: bool = False
    """Whether the request changes something: a browser session must post it with a CSRF token."""
    limit: int | None = None
    """Largest body with files in bytes, for users, when it is not that of an ordinary form."""
    default_format: Format = Format.HTML
    formats: Collection[Format] = DOCUMENTS
    signs_in: bool = False
    """Whether passwords are checked here."""
    reads: bool = False
    """Whether the work waits for a reader process, which may take seconds."""
    methods: tuple[str, ...] = field(default=("GET", "POST"))
    """Clients post to read-only resources too (contract 1.13)."""
    dialect: Dialect = ARCGIS


def reading(endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Return the same endpoints as those whose work waits for reader processes."""
    return [replace(endpoint, reads=True) for endpoint in endpoints]


@dataclass(frozen=True, slots=True)
class Desk:
    """Serves endpoints: everything they have in common."""

    identities: Identities
    pages: Pages
    form_limit: int
    uploads: Uploads
    """Where files of requests go."""
    sign_ins: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_SIGN_INS))
    """A line of their own: fifty sign-ins would take every thread for seconds, and polls would stand still."""

    room: Callable[[str], Room | None] = lambda _: None
    """What a user's quota leaves."""

    waits: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_WAITS))
    readings: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_READINGS))
    """As `sign_ins`: forty slow queries would take every thread."""

    def route(self, endpoint: Endpoint) -> Route:
        """Return the route that serves an endpoint."""

        async def serve(request: Request) -> Response:
            try:
                return await self._serve(endpoint, request)
            except Exception as error:  # noqa: BLE001 (the outermost layer: nothing may become a 5xx)
                response = self.refuse(request, None, error, dialect=endpoint.dialect)
                if await _is_unread(request):
                    # What is still to come must not be taken for the next request.
                    response.headers["connection"] = "close"
                return response

        return Route(endpoint.path, serve, methods=list(endpoint.methods))

    async def _serve(self, endpoint: Endpoint, request: Request) -> Response:
        limits = await self._limits(endpoint, request)
        async with endpoint.dialect.read(request, limits, self.uploads) as fields:
            answer = await run_sync(self._answer, endpoint, request, fields, limiter=self._line(endpoint))
        return answer if isinstance(answer, Response) else await run_sync(answer, limiter=self.waits)

    def _line(self, endpoint: Endpoint) -> CapacityLimiter | None:
        """Return where the work of an endpoint waits for a thread, None for where most of them do."""
        if endpoint.signs_in:
            return self.sign_ins
        return self.readings if endpoint.reads else None

    async def _limits(self, endpoint: Endpoint, request: Request) -> BodyLimits:
        """Return how much to read: gigabytes only from those who said before the body who they are.

        Raises InvalidToken for a bad token in a header or in the query, and NotPermitted.
        """
        # The cookie counts for a browser's form; its CSRF token is checked once the form is read.
        credentials = credentials_of(request, request.query_params, html=True)
        if endpoint.limit is None or credentials == Credentials():
            return BodyLimits(self.form_limit, self.form_limit)
        visitor = await run_in_threadpool(admit, endpoint.policy, credentials, self.identities)
        if visitor is None:
            return BodyLimits(self.form_limit, self.form_limit)
        room = await run_in_threadpool(self.room, visitor.name)
        return BodyLimits(self.form_limit, endpoint.limit, room)

    def _answer(self, endpoint: Endpoint, request: Request, fields: Fields) -> Response | Callable[[], Response]:
        """Return the answer, or what is to be called in the line of those who wait."""
        visit = Visit(request.url.path)
        try:
            call = self._admit(endpoint, request, fields)
            visit = _visit(endpoint, call)
            answer = _work(endpoint, call)
            if isinstance(answer, Waiting):
                return partial(self._finish, endpoint, call, answer)
            return self._show(endpoint, call, answer)
        except Exception as error:  # noqa: BLE001
            known = {"f": endpoint.default_format, **fields.texts}
            return self.refuse(request, known, error, visit=visit, dialect=endpoint.dialect)

    def _admit(self, endpoint: Endpoint, request: Request, fields: Fields) -> Call:
        wanted = endpoint.dialect.choose(request, fields.texts, endpoint.default_format, offered=endpoint.formats)
        credentials = credentials_of(request, fields.texts, html=wanted is Format.HTML)
        visitor = admit(endpoint.policy, credentials, self.identities)
        if endpoint.changes and credentials.session:
            _check_browser(request, credentials, fields.texts)
        return Call(request.path_params, fields.texts, fields.files, visitor, wanted, request, credentials)

    def _finish(self, endpoint: Endpoint, call: Call, waiting: Waiting) -> Response:
        try:
            return self._show(endpoint, call, waiting.finish())
        except Exception as error:  # noqa: BLE001
            visit = _visit(endpoint, call)
            return self.refuse(call.request, call.fields, error, visit=visit, dialect=endpoint.dialect)

    def _show(self, endpoint: Endpoint, call: Call, answer: Answer | Response) -> Response:
        if isinstance(answer, Response):
            return answer
        if call.format is not Format.HTML:
            return endpoint.dialect.write(answer, call.format)
        # A person who pressed a button is led on to a page; programs read the answer.
        if endpoint.changes and call.fields.get("next"):
            return RedirectResponse(safe_target(call.fields["next"], self.pages.urls), 303)
        return self.pages.show(answer, _visit(endpoint, call))

    def refuse(
        self,
        request: Request,
        fields: Mapping[str, str] | None,
        error: Exception,
        *,
        visit: Visit | None = None,
        dialect: Dialect = ARCGIS,
    ) -> Response:
        """Return the answer to a request that failed, in the format it asked for."""
        return dialect.refuse(error, request, fields, visit=visit or Visit(request.url.path), pages=self.pages)


def _work(endpoint: Endpoint, call: Call) -> Answer | Response | Waiting:
    try:
        return endpoint.work(call)
    except InputChanged:
        # A layer got other data between its row and its file: the second look finds the new file.
        if not endpoint.reads:
            raise
        return endpoint.work(call)


async def _is_unread(request: Request) -> bool:
    """Tell whether more is to come of a request that was refused, perhaps before anybody began to read it."""
    unread: bool | None = getattr(request.state, "is_unread", None)
    return not await read_out(request) if unread is None else unread


def _check_browser(request: Request, credentials: Credentials, fields: Mapping[str, str]) -> None:
    if request.method != "POST":
        raise Refusal(405, "Use the form on the page for this.")
    credentials.check_csrf(fields.get("csrf", ""))


def _visit(endpoint: Endpoint, call: Call) -> Visit:
    name = call.visitor.name if call.visitor else None
    return Visit(call.request.url.path, name, call.credentials.csrf_token, endpoint.policy is Policy.OPEN)
