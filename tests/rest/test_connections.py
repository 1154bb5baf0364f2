"""A real uvicorn server with short waits, and raw sockets that misbehave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import pairwise
from threading import Thread

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from raster_analysis.rest.connections import Connections, Waits, protocol_class

GOOD = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
MOST = 20


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request; `/large` with more than any buffer holds, `/unread` without reading the body."""
    if scope["type"] == "lifespan":
        return
    if scope["method"] == "POST" and scope["path"] != "/unread":
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["path"].encode())]})
    for _ in range(400 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serve(connections: Connections) -> Iterator[int]:
    config = uvicorn.Config(
        app, http=protocol_class(connections), lifespan="off", log_config=None, access_log=False, port=0
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # whoever comes before the server is ready waits
        thread = Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            server.force_exit = True
            thread.join()


@pytest.fixture(scope="module")
def connections() -> Connections:
    return Connections(MOST, Waits(head_s=0.4, unread_s=0.4))


@pytest.fixture(scope="module")
def port(connections: Connections) -> Iterator[int]:
    with serve(connections) as port:
        yield port


@pytest.fixture
def connect(port: int) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def open_one() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=10))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def ask(port: int, request: bytes) -> bytes:
    """Return the whole answer to some bytes, and say that there are no more."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        with suppress(OSError):  # the server may have closed it by now
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def is_answered(connection: socket.socket) -> bool:
    """Read one answer; tell whether it is good and whole."""
    received = b""
    while not received.endswith(b"0\r\n\r\n") and (piece := connection.recv(65536)):
        received += piece
    return received.startswith(b"HTTP/1.1 200 ")


def read_all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionError:
        pass
    return received


def seconds_until_closed(connection: socket.socket) -> float:
    began = time.monotonic()
    read_all(connection)
    return time.monotonic() - began


def test_A10_a_connection_that_says_nothing_is_closed(connect: Callable[[], socket.socket]) -> None:
    assert 0.3 < seconds_until_closed(connect()) < 3


def test_A10_a_head_that_comes_slowly_is_given_up(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    began = time.monotonic()
    closed = False
    while not closed and time.monotonic() - began < 5:
        try:
            connection.sendall(b"G")
            connection.settimeout(0.05)
            closed = connection.recv(1) == b""
        except TimeoutError:
            continue
        except ConnectionError:
            closed = True
    assert closed
    assert time.monotonic() - began < 3


def test_A10_the_head_of_a_second_request_has_its_time_too(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(GOOD)
    assert is_answered(connection)
    connection.sendall(b"GET /y HT")
    assert seconds_until_closed(connection) < 3


def test_a_connection_is_kept_for_the_next_request(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    for _ in range(3):
        connection.sendall(GOOD)
        assert is_answered(connection)
    connection.settimeout(0.8)
    with pytest.raises(TimeoutError):  # longer than the wait for a head
        connection.recv(1)


def test_A10_a_request_that_is_not_read_to_its_end_ends_its_connection(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")


def test_A10_a_client_that_does_not_read_is_given_up(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    time_s = time.monotonic() + 5
    received = 0
    connection.settimeout(5)
    connection.recv(1)
    # Nothing is read until the server has lost its patience.
    while time.monotonic() < time_s - 3.5:
        pass
    received = len(read_all(connection))
    assert received < 400 * 100_000


def test_A10_one_connection_too_many_costs_the_oldest_silent_one(
    connect: Callable[[], socket.socket], connections: Connections
) -> None:
    asking = connect()
    asking.sendall(GOOD)
    assert is_answered(asking)
    silent = [connect() for _ in range(3 * MOST)]
    newest = connect()
    newest.sendall(GOOD)
    assert is_answered(newest)
    asking.sendall(GOOD)
    assert is_answered(asking), "who asked before is kept"
    assert seconds_until_closed(silent[0]) < 3
    assert len(connections.silent) + len(connections.idle) <= MOST + 1


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /x HTTP/1.1\nHost: a\n\n",
        b"GET /x HTTP/1.1\r\nHost: a\nX-Other: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n two\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX-Long: one\r\n\ttwo\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\n Content-Length: 5\r\n\r\nabcde",
        b"GET /x HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
        GOOD[:-2] + b"X: " + b"x" * 1024**2 + b"\r\n\r\n",
    ],
)
def test_A11_a_request_that_two_readers_read_apart_is_refused(port: int, request_: bytes) -> None:
    answer = ask(port, request_)
    assert not answer or answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert answer.count(b"HTTP/1.1 ") <= 1, "nothing of it is taken for a second request"


def test_A11_what_follows_a_refused_request_is_not_read(port: int) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    for first in (
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        % len(hidden),
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX0\r\n\r\n",
    ):
        assert b"/hidden" not in ask(port, first + hidden)


def test_A11_the_second_of_two_requests_in_one_piece_is_looked_at_as_well(port: int) -> None:
    answer = ask(port, GOOD + b"GET /hidden HTTP/1.1\nHost: a\n\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"/hidden" not in answer
    assert ask(port, GOOD + GOOD).count(b"HTTP/1.1 200 ") == 2


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 90), max_size=4))
def test_where_a_request_is_cut_makes_no_difference(port: int, cuts: list[int]) -> None:
    request_ = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab\ncd\r\n0\r\n\r\n"
    edges = [0, *sorted(cuts), len(request_)]
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, stop in pairwise(edges):
            connection.sendall(request_[start:stop])
        assert is_answered(connection)
