"""Batches: tiles of pixels, read in strips and stacked for a model.

A row of tiles is read at once, and rows shared with the row above are taken from there, so that
padding costs no second decoding inside a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raster_analysis.grid import Window
from raster_analysis.inference.tiles import Tile
from raster_analysis.pixels import Pixels
from raster_analysis.seams import RasterReader

STRIP_PX = 1 << 22
"""Most pixels of one strip (a guess): a row of 512 px tiles across a block of 4096 px is half of it."""


@dataclass(frozen=True, slots=True)
class TileSource:
    """Tiles to read, in order, and how many of them a model is given at a time."""

    reader: RasterReader
    tiles: Sequence[Tile]
    batch_size: int
    fixed_batch: bool = False
    """Whether a short batch is filled up with empty tiles."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Tiles for one call of a model. Without tiles it only tells how far reading has come."""

    tiles: tuple[Tile, ...]
    data: npt.NDArray[np.generic]
    """`(n, bands, rows, cols)`; n is larger than the number of tiles where a fixed batch was filled up."""
    masks: tuple[npt.NDArray[np.bool_], ...]
    """For each tile the validity of its `keep` window, `(rows, cols)`."""
    passed: int
    """Tiles that are done with after this batch, those that were left out too."""


@dataclass(frozen=True, slots=True)
class _Cut:
    tile: Tile
    data: npt.NDArray[np.generic]
    mask: npt.NDArray[np.bool_]


def read_batches(source: TileSource) -> Iterator[Batch]:
    """Yield all tiles that have a valid pixel to keep, in order, a batch at a time.

    A strip that fills no batch gives one without tiles, so that whoever waits can still be cancelled.
    """
    size = source.batch_size
    cuts: list[_Cut] = []
    seen = 0
    for strip, pixels in _read_strips(source):
        seen += len(strip)
        # These are views: pixels are copied once, into the batch.
        cuts += [cut for cut in (_cut(tile, pixels) for tile in strip) if cut.mask.any()]
        if len(cuts) < size:
            yield _stack([], 0, seen - len(cuts))
        while len(cuts) >= size:
            yield _stack(cuts[:size], size, seen - len(cuts) + size)
            cuts = cuts[size:]
    if cuts:
        yield _stack(cuts, size if source.fixed_batch else len(cuts), seen)


def _read_strips(source: TileSource) -> Iterator[tuple[list[Tile], Pixels]]:
    above: Pixels | None = None
    for strip in _strips(source.tiles):
        above = _read_below(source.reader, above, _cover(strip))
        yield strip, above


def _strips(tiles: Sequence[Tile]) -> Iterator[list[Tile]]:
    strip: list[Tile] = []
    for tile in tiles:
        # Only rows of many bands or very wide blocks are cut; their padding is read twice at the cuts.
        if strip and (tile.row != strip[0].row or _cover([strip[0], tile]).size > STRIP_PX):
            yield strip
            strip = []
        strip.append(tile)
    if strip:
        yield strip


def _cover(strip: Sequence[Tile]) -> Window:
    """Return the window of a row of tiles that lie side by side."""
    first, last = strip[0].read, strip[-1].read
    return Window(first.row, first.col, first.height, last.col + last.width - first.col)


def _read_below(reader: RasterReader, above: Pixels | None, window: Window) -> Pixels:
    """Read a window, taking the rows that it shares with the strip above from there."""
    shared = 0
    if above is not None and (above.window.col, above.window.width) == (window.col, window.width):
        shared = above.window.row + above.window.height - window.row
    if above is None or not 0 < shared < window.height:
        return reader.read(window)
    fresh = reader.read(Window(window.row + shared, window.col, window.height - shared, window.width))
    # Copying rows costs far less than decoding or warping them again.
    data = np.concatenate((above.data[:, -shared:], fresh.data), axis=1)
    return Pixels(data, np.concatenate((above.mask[-shared:], fresh.mask)), window)


def _cut(tile: Tile, pixels: Pixels) -> _Cut:
    rows, cols = -pixels.window.row, -pixels.window.col
    read, keep = tile.read.shift(rows, cols).slices, tile.keep.shift(rows, cols).slices
    return _Cut(tile, pixels.data[:, *read], pixels.mask[keep])


def _stack(cuts: Sequence[_Cut], size: int, passed: int) -> Batch:
    """Copy tiles into one array of `size` tiles; those that are missing stay 0."""
    data = np.zeros((size, *cuts[0].data.shape), cuts[0].data.dtype) if cuts else np.empty((0, 0, 0, 0))
    for index, cut in enumerate(cuts):
        data[index] = cut.data
    return Batch(tuple(cut.tile for cut in cuts), data, tuple(cut.mask for cut in cuts), passed)
