"""The error envelope: HTTP 200 with `{"error": {...}}`, the way ArcGIS clients understand errors (contract 2.3)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

from pydantic import JsonValue

from raster_analysis.errors import (
    BudgetError,
    InputError,
    InvalidToken,
    JobError,
    LoginError,
    NotPermitted,
    ParameterError,
    RasterAnalysisError,
    TokenRequired,
    TooManyLogins,
)

logger = logging.getLogger(__name__)

Document = dict[str, JsonValue]

_CODES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidToken, 498),
    (TokenRequired, 499),
    (TooManyLogins, 429),
    (NotPermitted, 403),
    (LoginError, 400),
    (InputError, 400),
    (JobError, 400),
    # Less was to be asked for: an image of too many bytes, a query of too many seconds.
    (BudgetError, 400),
    (RasterAnalysisError, 500),
)
"""The code of each error, the first that fits (contract 2.3)."""


class Refusal(Exception):
    """A request that is answered with an error envelope."""

    def __init__(self, code: int, message: str, details: Sequence[str] = ()) -> None:
        self.code = code
        self.message = message
        self.details = tuple(details)
        super().__init__(message)


def envelope(code: int, message: str, details: Sequence[str] = ()) -> Document:
    """Return the document that clients read as an error."""
    return {"error": {"code": code, "message": message, "details": list(details)}}


def refusal_of(error: Exception) -> Refusal:
    """Return how an error is told to the client; faults of ours are logged and told by an id only."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ParameterError):
        return Refusal(400, "Unable to complete operation.", error.faults)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Refusal(code, str(error))
    # What nobody foresaw may hold paths or data of others: the text stays in the log.
    error_id = secrets.token_hex(8)
    logger.error("error %s", error_id, exc_info=error)
    return Refusal(500, "The server met an error of its own.", [f"Quote {error_id} to the administrator."])
