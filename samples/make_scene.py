"""Write a synthetic orthophoto of any size, with labels and outlines: `python samples/make_scene.py OUT.tif`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterWindow
from scene import CANOPY, COUNTRY, LandCover, Picture, Scene, Window
from scene.outlines import Outlines, building_outlines, crown_outlines
from scene.scene import CHUNK

_FLUSH_AT = 20_000
CRS = "EPSG:32616"
ORIGIN = (500_000.0, 3_750_000.0)
THEMES = {"country": COUNTRY, "canopy": CANOPY}
BANDS = ("Red", "Green", "Blue", "NearInfrared")
LABEL_COLORS = {
    LandCover.WATER: (40, 80, 200),
    LandCover.ROAD: (90, 90, 90),
    LandCover.BUILDING: (220, 60, 40),
    LandCover.TREE: (20, 120, 30),
    LandCover.FIELD: (230, 210, 90),
    LandCover.OPEN: (150, 220, 130),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What to make: plain data, for it travels to the worker processes."""

    seed: int
    width: int
    height: int
    cell_size: float
    theme: str
    vectors: bool

    @property
    def transform(self) -> Affine:
        """Map from (column, row) to (easting, northing)."""
        return Affine.translation(*ORIGIN) @ Affine.scale(self.cell_size, -self.cell_size)


@dataclass(frozen=True, slots=True)
class Part:
    """One chunk of the finished scene."""

    window: Window
    picture: Picture
    trees: Outlines | None
    buildings: Outlines | None


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    width, height = options.size if len(options.size) == 2 else options.size * 2
    order = Order(options.seed, width, height, options.cell_size, options.theme, options.vectors is not None)
    started = time.monotonic()
    write_scene(order, options.out, labels=options.labels, vectors=options.vectors, workers=options.workers)
    seconds = time.monotonic() - started
    speed = width * height / seconds / 1e6
    print(f"{options.out}: {width} x {height} cells, seed {options.seed}, {seconds:.1f} s, {speed:.1f} MP/s")
    return 0


def write_scene(
    order: Order, out: Path, *, labels: Path | None = None, vectors: Path | None = None, workers: int = 1
) -> None:
    """Write a scene chunk by chunk; memory does not grow with its size."""
    with ExitStack() as stack:
        image = stack.enter_context(_open_image(order, out))
        classes = stack.enter_context(_open_labels(order, labels)) if labels else None
        outlines = stack.enter_context(OutlineFile(vectors)) if vectors else None
        for part in _make_parts(order, workers):
            window = RasterWindow(part.window.col, part.window.row, part.window.width, part.window.height)
            image.write(part.picture.pixels, window=window)
            if classes:
                classes.write(part.picture.labels, 1, window=window)
            if outlines:
                outlines.add("trees", part.trees)
                outlines.add("buildings", part.buildings)


def _make_parts(order: Order, workers: int) -> Iterator[Part]:
    windows = [[_cut(order, row, col) for col in range(0, order.width, CHUNK)] for row in range(0, order.height, CHUNK)]
    if workers <= 1:
        for line in windows:
            yield from (make_part(order, window) for window in line)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # One line of chunks at a time, so that finished parts cannot pile up before the writer.
        for line in windows:
            yield from pool.map(make_part, [order] * len(line), line)


def _cut(order: Order, row: int, col: int) -> Window:
    return Window(row, col, min(CHUNK, order.height - row), min(CHUNK, order.width - col))


def make_part(order: Order, window: Window) -> Part:
    """Make one chunk; runs in a worker process."""
    scene = _scene(order.seed, order.cell_size, order.theme)
    picture = scene.read(window)
    if not order.vectors:
        return Part(window, picture, None, None)
    trees = crown_outlines(scene, window, order.transform)
    return Part(window, picture, trees, building_outlines(scene, window, order.transform))


@cache
def _scene(seed: int, cell_size: float, theme: str) -> Scene:
    return Scene(seed, cell_size, THEMES[theme])


def _open_image(order: Order, path: Path) -> rasterio.io.DatasetWriter:
    image = rasterio.open(path, "w", count=4, photometric="rgb", alpha="no", predictor=2, **_profile(order))
    # GeoTIFF has no lasting way to say "near infrared" but the description of the band.
    image.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)
    for number, name in enumerate(BANDS, start=1):
        image.set_band_description(number, name)
    return image


def _open_labels(order: Order, path: Path) -> rasterio.io.DatasetWriter:
    labels = rasterio.open(path, "w", count=1, nodata=0, **_profile(order))
    labels.write_colormap(1, {int(cover): (*color, 255) for cover, color in LABEL_COLORS.items()})
    labels.update_tags(1, **{f"CLASS_{cover.value}": cover.name.capitalize() for cover in LandCover})
    return labels


def _profile(order: Order) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "width": order.width,
        "height": order.height,
        "dtype": "uint8",
        "crs": CRS,
        "transform": order.transform,
        "tiled": True,
        "blockxsize": CHUNK,
        "blockysize": CHUNK,
        "compress": "deflate",
        "zlevel": 1,
        "interleave": "pixel",
        "bigtiff": "if_safer",
    }


class OutlineFile:
    """A GeoPackage that grows; outlines are gathered first, for every opening of the file costs a commit."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: dict[str, list[Outlines]] = {}
        self._written: set[str] = set()
        path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for layer in self._waiting:
            self._flush(layer)

    def add(self, layer: str, outlines: Outlines | None) -> None:
        """Take the outlines of one part."""
        if outlines is None:
            return
        waiting = self._waiting.setdefault(layer, [])
        waiting.append(outlines)
        if sum(len(shapes) for shapes, _ in waiting) >= _FLUSH_AT:
            self._flush(layer)

    def _flush(self, layer: str) -> None:
        parts, self._waiting[layer] = self._waiting[layer], []
        # A layer without any outline is written too, so that readers always find both.
        if not parts:
            return
        names = list(parts[0][1])
        pyogrio.raw.write(
            self._path,
            shapely.to_wkb(np.concatenate([shapes for shapes, _ in parts])),
            [np.concatenate([fields[name] for _, fields in parts]) for name in names],
            names,
            layer=layer,
            driver="GPKG",
            geometry_type="Polygon",
            crs=CRS,
            append=layer in self._written,
        )
        self._written.add(layer)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="GeoTIFF to write: red, green, blue, near infrared, 8 bits")
    parser.add_argument("--size", type=int, nargs="+", default=[2048], help="cells a side, or width and height")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--cell-size", type=float, default=0.3, help="metres (default: 0.3)")
    parser.add_argument("--theme", choices=sorted(THEMES), default="country")
    parser.add_argument("--labels", type=Path, help="GeoTIFF of land cover classes to write")
    parser.add_argument("--vectors", type=Path, help="GeoPackage of tree crowns and buildings to write")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
