"""Reading several rasters as one: a mosaic's first valid pixels, or a stack's bands one after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import numpy as np

from raster_analysis.grid import Window
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.warp import KEPT_BYTES
from raster_analysis.seams import RasterReader, RasterView

OPEN_PARTS = 8
"""Rasters of a mosaic that are open at once: a window seldom touches more than four."""

OpenPart = Callable[[RasterView, int], AbstractContextManager[RasterReader]]
"""Opens a part; the number is what it may keep of warped pixels, in bytes."""


class Joined(Protocol):
    """Several opened rasters that read as one."""

    def read(self, window: Window) -> Pixels:
        """Return a window of the common grid."""


@contextmanager
def open_parts(view: RasterView, open_part: OpenPart) -> Iterator[Joined]:
    """Open the parts of a view, in turn where there may be many."""
    if view.handle.join == "stack":
        with ExitStack() as stack:
            kept = KEPT_BYTES // len(view.parts)
            yield _Stack([stack.enter_context(open_part(part, kept)) for part in view.parts])
        return
    mosaic = _Mosaic(view, open_part)
    try:
        yield mosaic
    except BaseException:
        mosaic.discard()
        raise
    mosaic.close()


class _Stack:
    """Bands one after the other; a pixel is valid where every raster has one."""

    def __init__(self, readers: list[RasterReader]) -> None:
        self._readers = readers

    def read(self, window: Window) -> Pixels:
        """Return a window of the common grid."""
        pixels = [reader.read(window) for reader in self._readers]
        mask = np.logical_and.reduce([part.mask for part in pixels])
        data = np.concatenate([part.data for part in pixels])
        np.copyto(data, 0, where=~mask)
        return Pixels(data, mask, window)


class _Mosaic:
    """The first valid pixel of all rasters, in their order; few of them are open at once."""

    def __init__(self, view: RasterView, open_part: OpenPart) -> None:
        self._view = view
        self._open_part = open_part
        self._windows = [_place(view, part) for part in view.parts]
        self._open: OrderedDict[int, tuple[AbstractContextManager[RasterReader], RasterReader]] = OrderedDict()

    def read(self, window: Window) -> Pixels:
        """Return a window of the common grid."""
        data = np.zeros((len(self._view.bands), window.height, window.width), self._view.dtype)
        mask = np.zeros((window.height, window.width), np.bool_)
        for index, place in enumerate(self._windows):
            common = window.intersect(place)
            if not common.size:
                continue
            at = common.shift(-window.row, -window.col).slices
            if mask[at].all():
                continue
            part = self._part(index).read(common.shift(-place.row, -place.col))
            np.copyto(data[:, *at], part.data, where=part.mask & ~mask[at])
            mask[at] |= part.mask
        return Pixels(data, mask, window)

    def close(self) -> None:
        """Close what is open; raises InputChanged for a file that was replaced meanwhile."""
        with ExitStack() as stack:
            for manager, _ in self._open.values():
                stack.push(manager)
        self._open.clear()

    def discard(self) -> None:
        """Close what is open after an error, which is the one to be told."""
        error = RuntimeError("reading ended with an error")
        for manager, _ in self._open.values():
            manager.__exit__(RuntimeError, error, None)
        self._open.clear()

    def _part(self, index: int) -> RasterReader:
        if index in self._open:
            self._open.move_to_end(index)
            return self._open[index][1]
        if len(self._open) >= OPEN_PARTS:
            _, (oldest, _) = self._open.popitem(last=False)
            oldest.__exit__(None, None, None)
        manager = self._open_part(self._view.parts[index], KEPT_BYTES // OPEN_PARTS)
        self._open[index] = (manager, manager.__enter__())
        return self._open[index][1]


def _place(view: RasterView, part: RasterView) -> Window:
    row, col = view.grid.offset_of(part.grid)
    return Window(round(row), round(col), part.grid.height, part.grid.width)
