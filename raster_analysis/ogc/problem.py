"""Problems: what is told of a request that failed, with a real HTTP status and a type that programs know (RFC 7807)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from raster_analysis.errors import AccessError, ParameterError
from raster_analysis.rest.envelope import Refusal, refusal_of

PROBLEM_TYPE = "application/problem+json"
_EXCEPTIONS = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"
NO_SUCH_PROCESS = f"{_EXCEPTIONS}/no-such-process"
NO_SUCH_JOB = f"{_EXCEPTIONS}/no-such-job"
NOT_READY = f"{_EXCEPTIONS}/result-not-ready"
INVALID_PARAMETER = "InvalidParameterValue"
FAILED = "NoApplicableCode"
"""The last two are codes of OGC's older services, which this standard goes on using for what it has no URI for."""

_STATUS = {498: 401, 499: 401}
"""Codes of the ArcGIS dialect that HTTP does not know."""
_TITLES = {
    400: "Bad request",
    401: "Sign in first",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Request too slow",
    409: "Conflict",
    410: "Gone",
    413: "Request too large",
    415: "Unsupported media type",
    422: "The job failed",
    429: "Too many requests",
    500: "Internal server error",
    503: "Not available now",
}


class Problem(Refusal):
    """A request that is refused for a reason with a name of its own."""

    def __init__(self, status: int, message: str, *, type: str = "about:blank", details: Sequence[str] = ()) -> None:
        self.type = type
        super().__init__(status, message, details)


def invalid(message: str, details: Sequence[str] = ()) -> Problem:
    """Return the problem of a value that cannot be used."""
    return Problem(400, message, type=INVALID_PARAMETER, details=details)


def problem_of(error: Exception) -> Problem:
    """Return how an error is told to the client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, ParameterError):
        return invalid("; ".join(error.faults), error.faults)
    if isinstance(error, AccessError):
        return Problem(404, str(error))
    refusal = refusal_of(error)
    return Problem(_STATUS.get(refusal.code, refusal.code), refusal.message, details=refusal.details)


def problem_document(problem: Problem) -> dict[str, JsonValue]:
    """Return a problem as programs read it."""
    document: dict[str, JsonValue] = {
        "type": problem.type,
        "title": _TITLES.get(problem.code, "Request refused"),
        "status": problem.code,
        "detail": problem.message,
    }
    return document | {"details": list(problem.details)} if problem.details else document
