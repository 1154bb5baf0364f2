"""Requests that are there to hurt, against a server process of its own."""

from __future__ import annotations

import json
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import psutil
import pytest
from live_server import LiveServer, until

ADD = "/portal/sharing/rest/content/users/ann/addItem"
BOUNDARY = b"edge"
FILE_HEAD = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="x.bin"\r\n\r\n'


@pytest.fixture(scope="module")
def limited(make_server: Callable[..., LiveServer]) -> LiveServer:
    """A server that takes files of 200 MB, and forms of 1 MB."""
    server = make_server(
        "limited", environment={"RASTER_ANALYSIS_UPLOAD_LIMIT": "200MB", "RASTER_ANALYSIS_FORM_LIMIT": "1MB"}
    )
    server.start()
    return server


@pytest.fixture(autouse=True)
def nothing_is_left(limited: LiveServer) -> Iterator[None]:
    yield
    until(lambda: not list((limited.data / "uploads").iterdir()))
    assert httpx.get(f"{limited.url}/livez").text == "ok\n"


def head(server: LiveServer, *lines: str, path: str = ADD) -> bytes:
    """Return the head of a request to add an item, as its user."""
    own = ("Content-Type: multipart/form-data; boundary=edge", f"X-Esri-Authorization: Bearer {server.tokens['ann']}")
    own += ("Connection: close",)
    return "\r\n".join((f"POST {path}?f=json&type=PDF HTTP/1.1", "Host: a", *own, *lines, "", "")).encode()


def send(server: LiveServer, start: bytes, pieces: Iterator[bytes] | None = None) -> tuple[bytes, int]:
    """Return the answer, and how many bytes of the body the server let us send."""
    sent = 0
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as connection:
        with suppress(OSError):
            connection.sendall(start)
            for piece in pieces or ():
                connection.sendall(piece)
                sent += len(piece)
        answer = b""
        with suppress(OSError):
            while piece := connection.recv(65536):
                answer += piece
    return answer, sent


def error_of(answer: bytes) -> dict[str, object]:
    """Return the error of an answer; its HTTP status is 200 whatever happened."""
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200 "), first[:200]
    error: dict[str, object] = json.loads(body)["error"]
    return error


def test_A09_a_content_length_of_ten_gigabytes_is_refused_before_the_body(limited: LiveServer) -> None:
    began = time.monotonic()
    answer, _ = send(limited, head(limited, "Content-Length: 10000000000"))
    assert error_of(answer)["code"] == 413
    assert "larger than the 200,000,000 bytes" in str(error_of(answer)["message"])
    assert b"connection: close" in answer.lower()
    assert time.monotonic() - began < 5


def test_A09_a_body_shorter_than_its_content_length_adds_nothing(limited: LiveServer) -> None:
    start = head(limited, "Content-Length: 1000000") + FILE_HEAD + bytes(900_000)
    with closing(socket.create_connection(("127.0.0.1", limited.port), timeout=60)) as connection:
        connection.sendall(start)
        until(lambda: any((limited.data / "uploads").iterdir()))
    until(lambda: not any((limited.data / "uploads").iterdir()))
    listed = httpx.get(
        f"{limited.url}/portal/sharing/rest/content/users/ann?f=json",
        headers={"X-Esri-Authorization": f"Bearer {limited.tokens['ann']}"},
    )
    assert [item for item in listed.json()["items"] if item["name"] == "x.bin"] == []


def test_A09_an_endless_body_in_chunks_is_ended(limited: LiveServer) -> None:
    def endless() -> Iterator[bytes]:
        yield _chunk(FILE_HEAD)
        piece = _chunk(bytes(1_000_000))
        while True:
            yield piece

    answer, sent = send(limited, head(limited, "Transfer-Encoding: chunked"), endless())
    assert sent < 250_000_000
    if answer:  # the connection may break before it is read: who sends for ever does not read
        assert error_of(answer)["code"] in (400, 413)


def test_A09_a_hundred_thousand_parts_are_refused_early(limited: LiveServer) -> None:
    part = b'--edge\r\nContent-Disposition: form-data; name="p"\r\n\r\nx\r\n'
    body = part * 100_000 + b"--edge--\r\n"
    began = time.monotonic()
    answer, _ = send(limited, head(limited, f"Content-Length: {len(body)}"), iter([body]))
    assert error_of(answer) == {"code": 400, "message": "The form has more than 220 parts.", "details": []}
    assert time.monotonic() - began < 5


def test_A09_fields_that_are_large_together_are_refused(limited: LiveServer) -> None:
    part = b'--edge\r\nContent-Disposition: form-data; name="p%d"\r\n\r\n' + b"x" * 600_000 + b"\r\n"
    body = part % 1 + part % 2 + b"--edge--\r\n"
    answer, _ = send(limited, head(limited, f"Content-Length: {len(body)}"), iter([body]))
    assert "fields of the form are larger than the 1,000,000 bytes" in str(error_of(answer)["message"])


@pytest.mark.parametrize("where", ["request", "part"])
def test_A09_a_header_of_a_megabyte_is_refused(limited: LiveServer, where: str) -> None:
    long = "X-Long: " + "x" * 1024**2
    if where == "request":
        answer, _ = send(limited, head(limited, long, "Content-Length: 0"))
        assert not answer or answer.startswith(b"HTTP/1.1 400 ")
        return
    body = b"--edge\r\n" + long.encode() + b"\r\n\r\nx\r\n--edge--\r\n"
    answer, _ = send(limited, head(limited, f"Content-Length: {len(body)}"), iter([body]))
    assert error_of(answer)["code"] == 400


@pytest.mark.parametrize(
    ("boundary", "body"),
    [
        ("x" * 5000, b"--" + b"x" * 5000 + b"--\r\n"),
        ("", b"----\r\n"),
        ("edge", b"no boundary at all"),
        ("edge", FILE_HEAD + b"it never ends"),
        ("edge", FILE_HEAD + b"\r\n--edg" * 200_000),
        ("edge", FILE_HEAD + b"\r\n--edge\r" * 150_000),
        ("edge", b"--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n"),
        ("edge", b"--edge\r\n\r\nx\r\n--edge--\r\n"),
    ],
)
def test_A09_boundaries_that_mislead_are_refused_quickly(limited: LiveServer, boundary: str, body: bytes) -> None:
    start = head(limited, f"Content-Length: {len(body)}").replace(b"boundary=edge", f"boundary={boundary}".encode())
    began = time.monotonic()
    answer, _ = send(limited, start, iter([body]))
    assert error_of(answer)["code"] == 400
    assert time.monotonic() - began < 5


def test_a_large_upload_is_written_once_and_needs_little_memory(limited: LiveServer) -> None:
    size = 120_000_000
    piece = secrets.token_bytes(1_000_000)
    tail = b"\r\n--edge--\r\n"
    process = psutil.Process(limited.process.pid if limited.process else 0)
    before, peaks, written, over = process.memory_info().rss, [0], [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peaks[0] = max(peaks[0], process.memory_info().rss)
            written[0] = max(written[0], blocks_of(limited.data))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        lines = f"Content-Length: {len(FILE_HEAD) + size + len(tail)}"
        pieces = iter([FILE_HEAD, *[piece] * (size // len(piece)), tail])
        answer, _ = send(limited, head(limited, lines), pieces)
    finally:
        over.set()
        watcher.join()
    item = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert item["success"] is True
    assert peaks[0] - before < 30_000_000, f"{(peaks[0] - before) / 1e6:.0f} MB"
    assert written[0] < 1.2 * size, "never twice on the disk"
    stored = next((limited.data / "items" / item["id"]).iterdir())
    assert stored.stat().st_size == size


def test_A10_polls_are_quick_while_thousands_of_connections_say_nothing(limited: LiveServer) -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    silent: list[socket.socket] = []
    worst = 0.0
    poll = f"{limited.url}/arcgis/rest/services/System/RasterAnalysisTools/GPServer/jobs?f=json"
    headers = {"X-Esri-Authorization": f"Bearer {limited.tokens['ann']}"}
    try:
        for number in range(min(5000, soft - 300)):
            silent.append(socket.create_connection(("127.0.0.1", limited.port), timeout=10))
            if number % 100 == 0:
                silent[-1].sendall(b"GET / HT")  # slow heads among them
        with httpx.Client(headers=headers) as client:
            for _ in range(20):
                began = time.monotonic()
                assert "jobs" in client.get(poll).json()
                worst = max(worst, time.monotonic() - began)
        began = time.monotonic()
        assert "jobs" in httpx.get(poll, headers=headers).json(), "a new connection is taken as well"
        worst = max(worst, time.monotonic() - began)
    finally:
        for each in silent:
            each.close()
    assert worst < 1


def blocks_of(folder: Path) -> int:
    """Return what the files of a folder take on the disk, each inode once."""
    seen: dict[int, int] = {}
    for path in [*folder.glob("uploads/*"), *folder.glob("items/*/*")]:
        with suppress(FileNotFoundError):
            stat = path.stat()
            seen[stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
