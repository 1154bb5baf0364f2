"""A scene: pictures, labels and outlines of any window, made of chunks that never depend on the window asked for."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene.dates import is_worked, see_things, standing
from scene.landscape import COUNTRY, Date, LandCover, Landscape, Theme
from scene.noise import Texture, Window, uniform
from scene.objects import MAX_HEIGHT_M, Kind, Objects, place_objects
from scene.painting import Brushes, View, paint
from scene.relief import cast_shadow, draw_relief

CHUNK = 512
_RING = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """What is seen in one window."""

    pixels: NDArray[np.uint8]
    """Red, green, blue, near infrared: `(4, rows, cols)`."""
    labels: NDArray[np.uint8]
    """Values of `LandCover`, `(rows, cols)`."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One square of the world, with the objects whose middle it holds."""

    picture: Picture
    objects: Objects
    anchor: NDArray[np.float64]
    """Row and column that say which chunk an object belongs to: its middle, for wings that of their building."""
    visible: NDArray[np.float64]
    """Share of each crown that no other object hides; 1 for buildings."""
    things: NDArray[np.int64] | None
    """What is seen in each cell, as numbers that hold for both dates; None in a scene without dates."""


@dataclass(frozen=True, slots=True)
class Sun:
    """Where light comes from: unit steps away from the sun and the height lost on a step."""

    step_rows: float
    step_cols: float
    drop: float

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector to the sun as (rows, cols, up)."""
        level = 1 / float(np.hypot(1.0, self.drop))
        return -self.step_rows * level, -self.step_cols * level, self.drop * level


class Scene:
    """An endless orthophoto."""

    def __init__(
        self,
        seed: int,
        cell_size: float = 0.3,
        theme: Theme = COUNTRY,
        chunk: int = CHUNK,
        *,
        date: Date | None = None,
    ) -> None:
        """Prepare textures and fields.

        Args:
            seed: Everything follows from it.
            cell_size: Side of a cell in metres, 0.1 to 0.6.
            theme: The mix of land uses.
            chunk: Side of the squares in which the world is made; results agree between sizes but for rounding.
            date: One of two dates between which things come and go; light and noise differ too.
        """
        if not 0.05 <= cell_size <= 1.0:
            raise ValueError(f"cell_size {cell_size} is outside 0.05 to 1.0 metres")
        self.seed, self.cell_size, self.chunk = seed, cell_size, chunk
        self.land = Landscape(seed, cell_size, theme, date)
        self.sun = _sun(seed, int(date or 0))
        self._halo = int(np.ceil(MAX_HEIGHT_M / self.sun.drop / cell_size)) + 2
        reach = chunk + 2 * self._halo
        fine = 0.3 / cell_size
        self._brushes = Brushes(
            grain=Texture(seed, 5 if date else 0, 0.0, 1021, reach),
            sensor=Texture(seed, 6 if date else 1, 0.0, 1013, reach),
            leaf=Texture(seed, 2, 1.3, 997, reach),
            clump=Texture(seed, 3, 3.2 * fine, 1009, reach),
            patch=Texture(seed, 4, 11.0 * fine, 1019, reach),
            sun=self.sun.direction,
        )
        self._recent: OrderedDict[tuple[int, int], Chunk] = OrderedDict()

    def read(self, window: Window) -> Picture:
        """Make pixels and labels of a window."""
        pixels = np.empty((4, window.height, window.width), np.uint8)
        labels = np.empty((window.height, window.width), np.uint8)
        for index in self.chunk_indexes(window):
            picture = self.chunk_at(*index).picture
            to, source = _overlap(window, self._chunk_window(*index))
            pixels[:, to[0], to[1]] = picture.pixels[:, source[0], source[1]]
            labels[to] = picture.labels[source]
        return Picture(pixels, labels)

    def changed(self, other: Scene, window: Window) -> NDArray[np.bool_]:
        """Tell in which cells of a window another thing is seen than in the scene of another date, `(rows, cols)`."""
        changed = np.empty((window.height, window.width), np.bool_)
        for index in self.chunk_indexes(window):
            to, source = _overlap(window, self._chunk_window(*index))
            mine, theirs = self.chunk_at(*index).things, other.chunk_at(*index).things
            if mine is None or theirs is None:
                raise ValueError("only scenes of two dates can be compared")
            changed[to] = mine[source] != theirs[source]
        return changed

    def objects(self, window: Window) -> tuple[Objects, NDArray[np.float64]]:
        """List trees and buildings whose middle lies in a window, and the visible share of each."""
        chunks = [self.chunk_at(*index) for index in self.chunk_indexes(window)]
        inside = [window.contains(chunk.anchor[:, 0], chunk.anchor[:, 1]) for chunk in chunks]
        columns = Objects.__dataclass_fields__
        found = Objects(
            *(
                np.concatenate([getattr(c.objects, name)[mask] for c, mask in zip(chunks, inside, strict=True)])
                for name in columns
            )
        )
        return found, np.concatenate([c.visible[mask] for c, mask in zip(chunks, inside, strict=True)])

    def chunk_indexes(self, window: Window) -> list[tuple[int, int]]:
        """List the chunks that touch a window, row by row."""
        rows = range(window.row // self.chunk, (window.row + window.height - 1) // self.chunk + 1)
        cols = range(window.col // self.chunk, (window.col + window.width - 1) // self.chunk + 1)
        return [(i, j) for i in rows for j in cols]

    def chunk_at(self, i: int, j: int) -> Chunk:
        """Make one chunk, or give it again when it was made a moment ago."""
        if (i, j) not in self._recent:
            self._recent[i, j] = self._make(self._chunk_window(i, j))
            if len(self._recent) > 4:
                self._recent.popitem(last=False)
        return self._recent[i, j]

    def _chunk_window(self, i: int, j: int) -> Window:
        return Window(i * self.chunk, j * self.chunk, self.chunk, self.chunk)

    def _make(self, window: Window) -> Chunk:
        wide = window.pad(self._halo)
        objects = place_objects(self.land, wide)
        if self.land.date is not None:
            objects = objects.take(standing(objects, self.seed, self.land.date))
        relief = draw_relief(objects, wide, self._brushes.clump)
        shade = cast_shadow(relief.height, self.sun.step_rows, self.sun.step_cols, self.sun.drop, self._halo)
        ring = slice(self._halo - _RING, self._halo + window.height + _RING)
        shadow = ((shade - relief.height)[ring, ring] * np.float32(0.6 / self.sun.drop)).clip(0, 1)
        view = View(window.pad(_RING), objects, relief.top[ring, ring], shadow)
        painted = paint(self.land, view, self._brushes)
        inner = slice(self._halo, self._halo + window.height)
        things = self._things(objects, relief.top[inner, inner], painted[1], window=window)
        return Chunk(Picture(*painted), *_belonging(objects, relief.top, window), things)

    def _things(
        self, objects: Objects, top: NDArray[np.int64], labels: NDArray[np.uint8], *, window: Window
    ) -> NDArray[np.int64] | None:
        if self.land.date is None:
            return None
        site = self.land.grid(window)
        worked = is_worked(self.seed, site.i, site.j, site.strip) & (self.land.date is Date.AFTER)
        return see_things(objects, top, worked & (labels == LandCover.FIELD), seed=self.seed)


def _sun(seed: int, date: int) -> Sun:
    """Somewhere between east and west over south, 42 to 62 degrees high."""
    which = np.array([date])
    azimuth = np.deg2rad(105 + 150 * float(uniform(seed, 400, which, which)[0]))
    elevation = np.deg2rad(42 + 20 * float(uniform(seed, 401, which, which)[0]))
    # Azimuth turns clockwise from north, which is up; shadow falls away from the sun.
    return Sun(float(np.cos(azimuth)), float(-np.sin(azimuth)), float(np.tan(elevation)))


def _belonging(
    objects: Objects, top: NDArray[np.int64], window: Window
) -> tuple[Objects, NDArray[np.float64], NDArray[np.float64]]:
    """Objects of a chunk, where they are anchored, and how much of each is seen."""
    groups, first = np.unique(objects.group, return_index=True)
    leader = np.where(objects.group > 0, first[np.searchsorted(groups, objects.group)], np.arange(len(objects)))
    anchor = np.stack([objects.row[leader], objects.col[leader]], axis=1)
    mine = np.flatnonzero(window.contains(anchor[:, 0], anchor[:, 1]) & (objects.kind != Kind.CAR))
    own = objects.take(mine)
    shown = np.bincount(top[top >= 0], minlength=len(objects))[mine]
    share = np.minimum(1.0, shown / (np.pi * own.length * own.width))
    return own, anchor[mine], np.where(own.kind == Kind.TREE, share, 1.0)


def _overlap(window: Window, part: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    row_first, row_stop = max(window.row, part.row), min(window.row + window.height, part.row + part.height)
    col_first, col_stop = max(window.col, part.col), min(window.col + window.width, part.col + part.width)
    to = (slice(row_first - window.row, row_stop - window.row), slice(col_first - window.col, col_stop - window.col))
    source = (slice(row_first - part.row, row_stop - part.row), slice(col_first - part.col, col_stop - part.col))
    return to, source
