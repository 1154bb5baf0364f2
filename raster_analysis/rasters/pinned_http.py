"""HTTP to servers on a list: the address that was checked is the one that is connected to.

`http.client`, because a connection to a chosen address is one method there; what pools, proxies and follows
redirects on its own would have to be held back from doing so.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urljoin

from raster_analysis.errors import InputError, RasterError
from raster_analysis.rasters.service_hosts import ServiceHosts, ServiceUrl, read_url

T = TypeVar("T")

_AGAIN = {429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 3
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for."""

    connect_s: float = 10.0
    idle_s: float = 30.0
    """Without a byte."""
    total_s: float = 300.0
    """One answer, whatever its pace."""
    tries: int = 4
    pause_s: float = 1.0
    """Before the second try; twice as long before each further one."""


PATIENCE = Patience()


class _TryAgain(Exception):
    """The server or the way to it had a moment of weakness."""


@dataclass(frozen=True, slots=True)
class PinnedClient:
    """Gets documents and files from the servers of a list."""

    hosts: ServiceHosts
    patience: Patience = PATIENCE
    check: Callable[[], None] = lambda: None
    """Called while waiting; raises when the job was asked to stop."""

    def get(self, url: ServiceUrl, query: dict[str, str], limit: int) -> bytes:
        """Return the body of an answer of at most `limit` bytes.

        Raises:
            RasterError: the server cannot be reached, is too slow, or gives something else.
        """
        return self._retry(url, lambda: b"".join(self._stream(url, query, limit)))

    def save(self, url: ServiceUrl, query: dict[str, str], path: Path, *, limit: int) -> None:
        """Write the body of an answer to a file."""

        def write() -> None:
            with path.open("wb") as file:
                for chunk in self._stream(url, query, limit):
                    file.write(chunk)

        self._retry(url, write)

    def _retry(self, url: ServiceUrl, act: Callable[[], T]) -> T:
        for attempt in range(self.patience.tries):
            try:
                return act()
            except _TryAgain as error:
                why = error
            if attempt + 1 < self.patience.tries:
                self._pause(self.patience.pause_s * 2**attempt)
        raise RasterError(f"image service {url.text!r} {why} ({self.patience.tries} tries)")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.2))

    def _stream(self, url: ServiceUrl, query: dict[str, str], limit: int) -> Iterator[bytes]:
        deadline = time.monotonic() + self.patience.total_s
        target = replace(url, query=urlencode(query))
        for _ in range(_MOST_REDIRECTS + 1):
            with self._answer(target, deadline) as answer:
                if answer.status not in _REDIRECTS:
                    _check_status(answer, url)
                    yield from self._read(answer, url, limit=limit, deadline=deadline)
                    return
                target = self._redirected(target, answer.getheader("Location") or "")
        raise RasterError(f"image service {url.text!r} redirects more than {_MOST_REDIRECTS} times")

    def _redirected(self, url: ServiceUrl, location: str) -> ServiceUrl:
        try:
            target = read_url(urljoin(f"{url.text}?{url.query}", location))
        except (InputError, ValueError):
            raise RasterError(f"image service {url.text!r} redirects to what is no usable URL") from None
        if not self.hosts.allow(target):
            raise RasterError(f"image service {url.text!r} redirects to a server that is not allowed here")
        return target

    @contextmanager
    def _answer(self, url: ServiceUrl, deadline: float) -> Iterator[http.client.HTTPResponse]:
        self.check()
        with _weakness(), closing(self._connect(url)) as connection, _ended_at(deadline, connection.sock):
            connection.request("GET", f"{url.path}?{url.query}", headers={"Accept": "*/*", "Connection": "close"})
            with closing(connection.getresponse()) as answer:
                yield answer

    def _connect(self, url: ServiceUrl) -> http.client.HTTPConnection:
        address = self._address(url)
        raw = socket.create_connection((address, url.port), self.patience.connect_s)
        try:
            raw.settimeout(self.patience.idle_s)
            secure = url.scheme == "https"
            # The certificate is that of the name, whichever of its addresses answers.
            sock = ssl.create_default_context().wrap_socket(raw, server_hostname=url.host) if secure else raw
        except BaseException:
            raw.close()
            raise
        default = 443 if secure else 80
        host = f"[{url.host}]" if ":" in url.host else url.host
        connection = http.client.HTTPConnection(host, None if url.port == default else url.port)
        connection.sock = sock
        return connection

    def _address(self, url: ServiceUrl) -> str:
        """Return an address of the server, when all that its name stands for may be connected to."""
        if not self.hosts.allow(url):
            raise RasterError(f"image service {url.text!r} is on a server that is not allowed here")
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # All, not any: who answers with one public and one private address is not to choose between them.
        if not addresses or not all(self.hosts.allow_address(url, address) for address in addresses):
            raise RasterError(f"image service {url.text!r} has an address that may not be connected to from here")
        return addresses[0]

    def _read(
        self, answer: http.client.HTTPResponse, url: ServiceUrl, *, limit: int, deadline: float
    ) -> Iterator[bytes]:
        received, promised = 0, answer.length
        while chunk := answer.read1(_CHUNK_BYTES):
            self.check()
            received += len(chunk)
            if received > limit:
                raise RasterError(f"image service {url.text!r} sends more than the {limit:,} bytes that were asked for")
            yield chunk
        if time.monotonic() > deadline:
            raise _TryAgain(f"sent {received:,} bytes in {self.patience.total_s:g} s and was given up")
        if promised is not None and received != promised:
            raise _TryAgain(f"sent {received:,} of {promised:,} bytes")


@contextmanager
def _ended_at(deadline: float, sock: socket.socket) -> Iterator[None]:
    """End a connection at a time, whatever is going on: a byte a second would never be idle."""

    def end() -> None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@contextmanager
def _weakness() -> Iterator[None]:
    """Turn what may pass into an error that is tried again; certificates do not mend themselves."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise RasterError(f"the image service's certificate is not trusted: {error.verify_message}") from None
    except TimeoutError:
        raise _TryAgain("did not answer in time") from None
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(f"cannot be reached: {type(error).__name__}") from None


def _check_status(answer: http.client.HTTPResponse, url: ServiceUrl) -> None:
    if answer.status in _AGAIN:
        raise _TryAgain(f"answers with HTTP status {answer.status}")
    if answer.status != http.client.OK:
        raise RasterError(f"image service {url.text!r} answers with HTTP status {answer.status}")
