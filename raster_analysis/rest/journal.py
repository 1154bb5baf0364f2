"""The outermost layer: one line in the access log for each request, without secrets, and headers for every answer."""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_log = logging.getLogger("raster_analysis.access")

_TEXT_LIMIT = 500
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SECRET_NAME = re.compile(r"token|password|secret|code|oauth_state", re.IGNORECASE)
_SECRET_INSIDE = re.compile(r"(token\W{1,4})[\w.~+/=-]+", re.IGNORECASE)
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(slots=True)
class Journal:
    """ASGI middleware. It also makes `/path/` and `/path` the same, as clients expect."""

    app: ASGIApp
    answers: Counter[int] = field(default_factory=Counter)
    """Answers given so far by HTTP status."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, headers and log line included."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(Headers(scope=scope).get("x-request-id", ""))
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        # In `finally`: a client that goes away in the middle is in the log too, with status 0.
        try:
            await self.app({**scope, "path": scope["path"].rstrip("/") or "/"}, receive, note)
        finally:
            self.answers[status] += 1
            _write(scope, status, request_id, elapsed_ms=(time.perf_counter() - started) * 1000)


def redact_query(query: str) -> str:
    """Return a query for the log: without tokens, passwords and codes, at most 500 characters."""
    pairs = parse_qsl(query[: 4 * _TEXT_LIMIT], keep_blank_values=True)
    shown = (f"{name}={_redact_value(name, value)}" for name, value in pairs)
    return "&".join(shown)[:_TEXT_LIMIT]


def _redact_value(name: str, value: str) -> str:
    return "..." if _SECRET_NAME.search(name) else _SECRET_INSIDE.sub(r"\1...", value)


def _request_id(given: str) -> str:
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _write(scope: Scope, status: int, request_id: str, *, elapsed_ms: float) -> None:
    entry = {
        "request": request_id,
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "path": scope["path"][:_TEXT_LIMIT],
        "query": redact_query(scope["query_string"].decode("latin-1")),
        "status": status,
        "ms": round(elapsed_ms, 1),
    }
    # JSON in ASCII: line breaks and escape characters of a request cannot forge a line.
    access_log.info("%s", json.dumps(entry))
