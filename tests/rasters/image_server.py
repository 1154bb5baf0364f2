"""A small image server for tests: real HTTP on loopback, real TIFFs, and faults on request."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import rasterio
from affine import Affine
from rasterio.io import MemoryFile
from rasterio.windows import Window

SERVICE = "/arcgis/rest/services/scene/ImageServer"
TYPES = {"uint8": "U8", "uint16": "U16", "float32": "F32"}
Fault = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Answers a request for pixels in some other way than well."""


class ImageServer(ThreadingHTTPServer):
    """Serves one raster; `faults` are used up one by one, each by one request for pixels."""

    daemon_threads = True

    def __init__(self, path: Path, **document: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.path = path
        self.document = document
        self.faults: list[Fault] = []
        self.seen: list[dict[str, str]] = []
        self.token = ""

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return self.host + SERVICE

    def describe(self) -> dict[str, Any]:
        with rasterio.open(self.path) as dataset:
            west, south, east, north = dataset.bounds
            reference = {"wkid": dataset.crs.to_epsg(), "latestWkid": dataset.crs.to_epsg()}
            document = {
                "name": "scene", "bandCount": dataset.count, "pixelType": TYPES[dataset.dtypes[0]],
                "pixelSizeX": dataset.res[0], "pixelSizeY": dataset.res[1], "spatialReference": reference,
                "extent": {"xmin": west, "ymin": south, "xmax": east, "ymax": north, "spatialReference": reference},
                "maxImageWidth": 40, "maxImageHeight": 30, "capabilities": "Image,Metadata",
            }  # fmt: skip
        return document | self.document

    def export(self, query: dict[str, str]) -> bytes:
        bounds = tuple(map(float, query["bbox"].split(",")))
        width, height = map(int, query["size"].split(","))
        with rasterio.open(self.path) as dataset:
            (west, north), (east, south) = (~dataset.transform @ corner for corner in (bounds[0::3], bounds[2:0:-1]))
            asked = np.array([west, north, east - west, south - north])
            assert np.allclose(asked, np.rint(asked)), "not on the service's own cells"
            assert (round(asked[2]), round(asked[3])) == (width, height)
            window = Window(round(west), round(north), width, height)
            place = dataset.transform @ Affine.translation(window.col_off, window.row_off)
            profile = {**dataset.profile, "width": width, "height": height, "transform": place}
            with MemoryFile() as memory:
                with memory.open(**profile) as sink:
                    sink.write(dataset.read(window=window))
                return bytes(memory.read())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: ImageServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.seen.append({"path": parts.path, **query})
        if self.server.token and query.get("token") != self.server.token:
            self.answer(json.dumps({"error": {"code": 498, "message": "Invalid Token."}}).encode(), "application/json")
        elif parts.path == SERVICE:
            self.answer(json.dumps(self.server.describe()).encode(), "application/json")
        elif parts.path == f"{SERVICE}/exportImage":
            body = self.server.export(query)
            if self.server.faults:
                self.server.faults.pop(0)(self, body)
            else:
                self.answer(body, "image/tiff")
        else:
            self.send_error(404)

    def answer(self, body: bytes, kind: str, status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def status(code: int) -> Fault:
    return lambda handler, _body: handler.answer(b"busy", "text/plain", code)  # type: ignore[attr-defined]


def html(handler: Any, _body: bytes) -> None:
    handler.answer(b"<!DOCTYPE html><html>Sign in</html>", "text/html")


def refusal(handler: Any, _body: bytes) -> None:
    handler.answer(b'{"error": {"code": 400, "message": "Image size is too large"}}', "application/json")


def short(handler: Any, body: bytes) -> None:
    handler.answer(body[: len(body) // 2], "image/tiff", length=len(body))


def cut(handler: Any, body: bytes) -> None:
    """A TIFF that ends early, in an answer that is complete."""
    handler.answer(body[: len(body) - len(body) // 3], "image/tiff")


def endless(handler: Any, body: bytes) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    for _ in range(100):
        handler.wfile.write(body + bytes(200_000))


def silent(handler: Any, _body: bytes) -> None:
    handler.server.released.wait(5)
    handler.close_connection = True


def trickle(handler: Any, body: bytes) -> None:
    """A byte at a time, never idle for long."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.close_connection = True
    for byte in body[:500]:
        handler.wfile.write(bytes([byte]))
        if handler.server.released.wait(0.02):
            break


def slow_headers(handler: Any, _body: bytes) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(500):
        handler.wfile.write(b"x")
        if handler.server.released.wait(0.02):
            break


def partial(handler: Any, body: bytes) -> None:
    handler.answer(body, "image/tiff", 206)


def elsewhere(location: str) -> Fault:
    def redirect(handler: Any, _body: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return redirect


def other_size(handler: Any, body: bytes) -> None:
    with MemoryFile(body) as memory, memory.open() as source, MemoryFile() as made:
        profile = {**source.profile, "width": source.width + 1}
        with made.open(**profile) as sink:
            sink.write(np.zeros((source.count, source.height, source.width + 1), source.dtypes[0]))
        handler.answer(io.BytesIO(made.read()).getvalue(), "image/tiff")


@contextmanager
def serving(path: Path, **document: Any) -> Iterator[ImageServer]:
    """Run a server of one raster."""
    server = ImageServer(path, **document)
    server.released = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()
