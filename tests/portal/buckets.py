"""A real S3 service on loopback, and one that fails in the way it is told."""

from __future__ import annotations

import logging
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from moto.server import ThreadedMotoServer


@contextmanager
def serve_bucket(name: str) -> Iterator[str]:
    """Serve S3 with one bucket as long as the context lasts; gives the endpoint."""
    # It would print a line a request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    request(f"{url}/moto-api/reset", "POST")
    request(f"{url}/{name}", "PUT")
    try:
        yield url
    finally:
        server.stop()


def request(url: str, method: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method=method)) as answer:
        body: bytes = answer.read()
    return body


class FailingServer(ThreadingHTTPServer):
    """Answers every request with one status, or not at all for status 0; counts them."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Failing)
        self.status = status
        self.requests = 0
        self.is_closing = Event()
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.is_closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Failing(BaseHTTPRequestHandler):
    server: FailingServer

    def answer(self) -> None:
        self.server.requests += 1
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if not self.server.status:
            self.server.is_closing.wait(30)
            return
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 (the names that the base class asks for)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
