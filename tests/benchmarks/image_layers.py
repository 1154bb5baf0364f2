"""Image services of a large raster: what a document, pictures, tiles, values and statistics take, one client at a time.

    python tests/benchmarks/image_layers.py [--size 50000] [--folder DIR] [--rounds 20] [--markdown]

Writes a classified COG of `size` x `size` pixels block by block (kept in `folder` for the next time), starts a server
over plain HTTP with one reader, and asks over one connection. "First" is the first answer of its kind after the start.
Pictures are of different places each round, so that nothing can be kept from the one before.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from affine import Affine
from numpy.lib.stride_tricks import sliding_window_view

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
sys.path.insert(0, str(Path(__file__).parents[1] / "rest"))
from imagery import CLASSES, UTM, publish
from live_server import LiveServer, add_users

from raster_analysis.grid import Grid, Window
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.rasters.reference import from_name
from raster_analysis.rasters.source import GdalRasters

BLOCK_PX = 4096
CELL_M = 0.5
LEFT, TOP = 500_000.0, 4_000_000.0
GRAIN_PX = 32


def make_block(generator: np.random.Generator) -> np.ndarray:
    """Draw patches with ragged edges: smoothed noise at two scales, cut into classes."""
    coarse = generator.random((BLOCK_PX // GRAIN_PX + 4, BLOCK_PX // GRAIN_PX + 4))
    smooth = sliding_window_view(coarse, (3, 3)).mean(axis=(2, 3))
    field = np.kron(smooth, np.ones((GRAIN_PX, GRAIN_PX)))[:BLOCK_PX, :BLOCK_PX]
    rough = np.kron(generator.random((BLOCK_PX // 4, BLOCK_PX // 4)), np.ones((4, 4)))
    return np.array([0, 1, 2, 7], np.uint8)[np.digitize(field + 0.15 * rough, (0.48, 0.575, 0.67))]


def blocks(size: int) -> Iterator[tuple[Window, np.ndarray]]:
    generator = np.random.default_rng(7)
    drawn = [make_block(generator) for _ in range(8)]
    for number, window in enumerate(Window(0, 0, size, size).split(BLOCK_PX, BLOCK_PX)):
        turned = np.rot90(drawn[number % 8], number // 8 % 4)
        yield window, np.ascontiguousarray(turned[: window.height, : window.width])


def make_raster(folder: Path, size: int) -> Path:
    path = folder / f"cover_{size}.tif"
    if not path.exists():
        grid = Grid(from_name(UTM), Affine(CELL_M, 0, LEFT, 0, -CELL_M, TOP), size, size)
        GdalRasters().write_classified(path, grid, blocks(size), legend=CLASSES, nodata=0, dtype="uint8")
    return path


def start(folder: Path, raster: Path) -> LiveServer:
    server = LiveServer(folder, environment={"RASTER_ANALYSIS_READERS": "1"})
    server.tokens = add_users(server.data, server.url)
    portal = Portal(Settings(server.data, server.url))
    publish(portal, portal.users.get("ann"), "cover", raster)
    portal.close()
    server.start()
    return server


class Asker:
    """Asks over one connection and keeps the times."""

    def __init__(self, server: LiveServer, size: int) -> None:
        self._http = httpx.Client(timeout=60)
        self._service = f"{server.url}/arcgis/rest/services/Hosted/cover/ImageServer"
        self._token = server.tokens["ann"]
        self._size_m = size * CELL_M
        self._random = np.random.default_rng(1)

    def ask(self, path: str, **fields: Any) -> httpx.Response:
        answer = self._http.get(f"{self._service}{path}", params={"token": self._token, **fields})
        is_error = answer.headers["content-type"] == "application/json" and "error" in answer.json()
        assert not is_error, answer.text
        return answer

    def window(self, side_m: float) -> str:
        x = LEFT + self._random.random() * (self._size_m - side_m)
        y = TOP - self._random.random() * (self._size_m - side_m)
        return f"{x},{y - side_m},{x + side_m},{y}"

    def tile(self, level: int) -> httpx.Response:
        half = 20037508.342789244
        side = 2 * half / 2**level
        # The middle of the raster and some tiles around it.
        x, y = -9_684_795 + self._size_m / 2, 4_320_552 - self._size_m / 2
        row, col = int((half - y) // side), int((x + half) // side)
        spread = max(1, int(self._size_m / side / 3))
        down, right = self._random.integers(-spread, spread + 1, 2)
        return self.ask(f"/tile/{level}/{row + down}/{col + right}")

    def point(self) -> str:
        x, y = self._random.random(2) * self._size_m
        return f"{LEFT + x},{TOP - y}"

    def picture(self, side_m: float, **fields: Any) -> httpx.Response:
        whole = side_m >= self._size_m
        bounds = f"{LEFT},{TOP - self._size_m},{LEFT + self._size_m},{TOP}" if whole else self.window(side_m)
        return self.ask(
            "/exportImage", **{"f": "image", "bbox": bounds, "bboxSR": 32616, "size": "1000,1000", **fields}
        )

    def questions(self) -> dict[str, Any]:
        whole, part = self._size_m, self._size_m / 10
        return {
            "document": lambda: self.ask("", f="json"),
            "whole raster, 1000 x 1000, png": lambda: self.picture(whole, format="png"),
            "window at native resolution, 1000 x 1000, png": lambda: self.picture(1000 * CELL_M, format="png"),
            "tenth of the side, 1000 x 1000, png": lambda: self.picture(part, format="png"),
            "the same, png32": lambda: self.picture(part, format="png32"),
            "the same, jpg": lambda: self.picture(part, format="jpg"),
            "the same, tiff": lambda: self.picture(part, format="tiff"),
            "the same, lerc": lambda: self.picture(part, format="lerc"),
            "the same in Web Mercator, png": lambda: self.picture(part, format="png", imageSR=102100),
            "tile, level 13": lambda: self.tile(13),
            "tile, level 17": lambda: self.tile(17),
            "identify": lambda: self.ask("/identify", f="json", geometry=self.point()),
            "statistics": lambda: self.ask("/statistics", f="json"),
            "histograms": lambda: self.ask("/histograms", f="json"),
        }


def measure(asker: Asker, rounds: int) -> list[tuple[str, float, float, float, int]]:
    """Return for each question its first time, median and worst after it (ms), and bytes."""
    rows = []
    for name, question in asker.questions().items():
        took = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            answer = question()
            took.append((time.perf_counter() - began) * 1000)
        rows.append((name, took[0], statistics.median(took[1:]), max(took[1:]), len(answer.content)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "image_layers")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    raster = make_raster(arguments.folder, arguments.size)
    print(f"{raster.stat().st_size / 2**20:.0f} MiB, written in {time.perf_counter() - began:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        server = start(Path(folder), raster)
        try:
            print("| question | first, ms | median, ms | worst, ms | bytes |\n|---|--:|--:|--:|--:|")
            for name, first, median, worst, size in measure(Asker(server, arguments.size), arguments.rounds):
                print(f"| {name} | {first:.0f} | {median:.1f} | {worst:.0f} | {size:,} |")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
