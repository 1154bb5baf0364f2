"""The body of a request, piece by piece: bounded in size, and in the time that it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from starlette.requests import Request

from raster_analysis.rest.envelope import Refusal

_PAUSE_S = 30.0
"""Longest wait for the next piece."""
_START_S = 60.0
"""What a body may take whatever its size."""
_BYTES_A_SECOND = 1000
"""Slower than this on the whole is nobody's line but an attack's (guess)."""
_DRAINED_BYTES = 16 * 1024**2
"""Clients that send in parts send 5-7 MB before they read an answer (contract 4.1)."""
_DRAIN_PAUSE_S = 1.0


async def read_out(request: Request) -> bool:
    """Forget the body of a request that nobody reads; return whether its end came, so that its connection stays."""
    body = Body(request, 0)
    await body.drain()
    return body.is_over


class Body:
    """What is still to come of a request."""

    def __init__(self, request: Request, limit: int, fault: str = "") -> None:
        self._request = request
        self._limit = limit
        self._fault = fault
        """What is said beyond the limit, when it is not that of every request."""
        self._received = 0
        self._is_over = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give the body until its end; raises Refusal beyond the limit, whatever Content-Length says, or when slow."""
        # Known beforehand: nothing of it is read.
        if int(self._request.headers.get("content-length") or 0) > self._limit:
            raise self._too_large()
        deadline_s = time.monotonic() + _START_S
        while not self._is_over:
            left_s = deadline_s + self._received / _BYTES_A_SECOND - time.monotonic()
            piece = await self._next(min(left_s, _PAUSE_S))
            if self._received > self._limit:
                raise self._too_large()
            yield piece

    async def drain(self) -> None:
        """Read on for a moment and forget it: an answer to a client that still sends is lost with its connection."""
        drained_to = self._received + _DRAINED_BYTES
        try:
            while not self._is_over and self._received < drained_to:
                await self._next(_DRAIN_PAUSE_S)
        except Refusal:
            return

    @property
    def is_over(self) -> bool:
        """Tell whether nothing is to come any more."""
        return self._is_over

    async def _next(self, wait_s: float) -> bytes:
        try:
            async with asyncio.timeout(max(wait_s, 0)):
                message = await self._request.receive()
        except TimeoutError:
            raise Refusal(408, "The request's body came too slowly; send it again.") from None
        if message["type"] == "http.disconnect":
            self._is_over = True
            raise Refusal(400, "The connection was closed in the middle of the request.")
        self._is_over = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        self._received += len(piece)
        return piece

    def _too_large(self) -> Refusal:
        if self._fault:
            return Refusal(400, self._fault)
        # Code 413 in an envelope: a real HTTP 413 would be sent again five times (contract 2.4).
        return Refusal(
            413,
            f"The request is larger than the {self._limit:,} bytes allowed here; "
            "for uploads, send the token in a header.",
        )
