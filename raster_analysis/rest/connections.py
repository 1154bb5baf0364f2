"""Connections: how long a client may take, how many there may be, and which requests two readers could read apart.

uvicorn waits for the head of a request for ever, and h11 takes some spellings that a proxy in front may read otherwise.
"""

from __future__ import annotations

import asyncio
import re
import resource
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_END_OF_HEAD = re.compile(rb"\n\r?\n")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")
_LARGEST_HEAD = 64 * 1024
_OTHER_FILES = 512
"""Descriptors for everything but connections: slots, readers, databases, uploads (guess)."""
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a connection may keep the server waiting."""

    head_s: float = 15.0
    """From the connection, or the first byte of a later request, to the end of its head."""
    unread_s: float = 120.0
    """While a client does not read what it asked for."""


@dataclass(slots=True)
class Connections:
    """The connections of one server that nobody works for at the moment; the oldest make room for new ones."""

    most: int
    waits: Waits = field(default_factory=Waits)
    silent: dict[GuardedProtocol, None] = field(default_factory=dict)
    """Those that never asked for anything, oldest first."""
    idle: dict[GuardedProtocol, None] = field(default_factory=dict)
    """Those that wait for their next request, which was longest ago for the first."""

    def forget(self, connection: GuardedProtocol) -> None:
        """Take a connection off both lists: it is being served, or gone."""
        self.silent.pop(connection, None)
        self.idle.pop(connection, None)

    def choose_oldest(self) -> GuardedProtocol | None:
        """Return the connection that is missed least, None when all are being served."""
        # A closed idle connection may cost a client its next request; a silent one has shown no interest in any.
        return next(iter(self.silent or self.idle), None)


def protocol_class(connections: Connections) -> type[GuardedProtocol]:
    """Return the protocol of a server, for `uvicorn.Config(http=...)`."""
    return type("ServerProtocol", (GuardedProtocol,), {"guard": connections})


def count_affordable() -> int:
    """Return how many connections this process has descriptors for, after taking all that it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > soft:
        wanted = _MOST + _OTHER_FILES
        soft = max(soft, wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(min(_MOST, soft - _OTHER_FILES), soft // 4)


class StrictConnection(h11.Connection):
    """h11, without what RFC 9112 lets a server refuse: one-sided line ends, folded lines, two lengths of one body."""

    def next_event(self) -> Any:
        """Return the next event; raises RemoteProtocolError for a request that may be read in two ways."""
        if self.their_state is h11.IDLE:
            _check_head(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if b"transfer-encoding" in names and (b"content-length" in names or event.http_version < b"1.1"):
                raise h11.RemoteProtocolError("two lengths of one body", error_status_hint=400)
        return event


class GuardedProtocol(H11Protocol):
    """uvicorn's protocol with limits. Made by `protocol_class`, which gives it the list of its server."""

    guard: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictConnection(h11.SERVER, _LARGEST_HEAD)
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; one too many costs the oldest that waits, or itself when none does."""
        super().connection_made(transport)
        if len(self.connections) > self.guard.most:
            oldest = self.guard.choose_oldest() or self
            self.guard.forget(oldest)
            oldest.transport.abort()
        if not transport.is_closing():
            self.guard.silent[self] = None
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self.guard.forget(self)
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; the time for a head runs from its first byte, however many more follow."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_serving() or self.conn.their_state is not h11.IDLE:
            self.guard.forget(self)
            self._stop_head_timer()
        elif self._head_timer is None and self.conn.trailing_data[0]:
            self._await_head()

    def on_response_complete(self) -> None:
        """End a connection whose request was not read to its end; wait for the next request on any other."""
        if self.conn.their_state is h11.SEND_BODY:
            # What is still to come would be waited for, byte by byte, as long as the client likes.
            self.transport.close()
        super().on_response_complete()
        if not self.transport.is_closing() and not self._is_serving():
            self.guard.idle[self] = None

    def pause_writing(self) -> None:
        """Begin to wait for a client that does not read."""
        super().pause_writing()
        self._unread_timer = self.loop.call_later(self.guard.waits.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().resume_writing()

    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        # Aborted and not closed: TLS would wait for the other side's goodbye.
        self._head_timer = self.loop.call_later(self.guard.waits.head_s, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None


def _check_head(received: bytes) -> None:
    end = _END_OF_HEAD.search(received)
    head = received[: end.end()] if end else received
    if _BARE_LINE_FEED.search(head):
        raise h11.RemoteProtocolError("line ends without carriage return", error_status_hint=400)
    if _FOLDED.search(head):
        raise h11.RemoteProtocolError("folded header line", error_status_hint=400)
