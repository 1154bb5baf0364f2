"""The lie of the land: land-use blocks, roads and water as functions of seed and position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scene.noise import Floats, Ints, SmoothField, Window, uniform

BLOCK_ROWS_M = 170.0
BLOCK_COLS_M = 130.0
MAX_STRIPS = 5


class LandCover(IntEnum):
    """The classes of the label raster; 0 is left for cells outside the scene."""

    WATER = 1
    ROAD = 2
    BUILDING = 3
    TREE = 4
    FIELD = 5
    OPEN = 6


class Date(IntEnum):
    """Which of two dates of a place is seen; without one, everything that ever stands there is."""

    BEFORE = 0
    AFTER = 1


class Zone(IntEnum):
    """What a block of land is used for."""

    FARM = 0
    MEADOW = 1
    FOREST = 2
    HOMES = 3
    INDUSTRY = 4
    BARE = 5
    GROVE = 6


@dataclass(frozen=True, slots=True)
class Theme:
    """How the zones are mixed: shares of farm, meadow, forest, bare ground and grove outside the towns."""

    farm: float = 0.45
    meadow: float = 0.2
    forest: float = 0.2
    bare: float = 0.07
    town_bias: float = 0.0
    """Raises (or lowers) the share of blocks with buildings."""
    road_share: float = 0.45
    lake_level: float = 1.55
    river_width: float = 0.05

    def __post_init__(self) -> None:
        if self.farm + self.meadow + self.forest + self.bare > 1:
            raise ValueError("the shares of farm, meadow, forest and bare ground add up to more than 1")


COUNTRY = Theme()
CANOPY = Theme(0.0, 0.15, 0.4, 0.05, town_bias=-9.0, road_share=0.08, lake_level=9.0, river_width=0.0)


@dataclass(frozen=True, slots=True)
class Site:
    """The land at points or cells; every array has the shape of the points."""

    i: Ints
    """Block row and, below, block column."""
    j: Ints
    strip: Ints
    zone: NDArray[np.int64]
    u: Floats
    """Distance along the block rows in metres, bent with the roads; `v` along the columns."""
    v: Floats
    road: Floats
    """Metres inside (positive) or outside (negative) the edge of the nearest road."""
    axis: Floats
    """Metres from the centre line of that road."""
    along_rows: NDArray[np.bool_]
    """Whether that road runs from row to row (north-south but for the bend)."""
    water: Floats
    """Above 0: water; just below: shore."""
    edge: Floats
    """Metres to the nearest border of a block."""


class Landscape:
    """A world without end, from a seed."""

    def __init__(self, seed: int, cell_size: float, theme: Theme = COUNTRY, date: Date | None = None) -> None:
        """Prepare the fields; nothing is drawn yet."""
        self.seed, self.cell_size, self.theme, self.date = seed, cell_size, theme, date
        self._bend_rows = self._field(1, 330.0)
        self._bend_cols = self._field(2, 330.0)
        self._lake = self._field(3, 260.0)
        self._river = self._field(4, 600.0)
        self._town = self._field(5, 420.0)
        self.cluster = self._field(6, 28.0)
        self.light = self._field(11 if date is Date.AFTER else 7, 240.0)
        self.patch = self._field(8, 22.0)
        angle = float(uniform(seed, 9, np.array([0]), np.array([0]))[0]) * 0.9 - 0.45
        self._cos, self._sin = float(np.cos(angle)), float(np.sin(angle))

    def at(self, rows: Floats, cols: Floats) -> Site:
        """Describe the land at points given in cells."""
        bends = self._bend_rows.at(rows, cols), self._bend_cols.at(rows, cols)
        return self._describe(rows, cols, bends, (self._lake.at(rows, cols), self._river.at(rows, cols)))

    def grid(self, window: Window) -> Site:
        """Describe the land at the centres of the cells of a window."""
        rows = (window.row + np.arange(window.height, dtype=np.float32) + 0.5)[:, None]
        cols = (window.col + np.arange(window.width, dtype=np.float32) + 0.5)[None, :]
        bends = self._bend_rows.grid(window), self._bend_cols.grid(window)
        return self._describe(rows, cols, bends, (self._lake.grid(window), self._river.grid(window)))

    def locate(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Give rows and columns of block coordinates (the bend is undone by fixed-point steps)."""
        rows, cols = self._unturn(u, v)
        for _ in range(5):
            straight = u - self._amplitude * self._bend_rows.at(rows, cols)
            rows, cols = self._unturn(straight, v - self._amplitude * self._bend_cols.at(rows, cols))
        return rows, cols

    def zone(self, i: Ints, j: Ints) -> NDArray[np.int64]:
        """Tell the use of blocks."""
        rows, cols = self._unturn((i + 0.5) * BLOCK_ROWS_M, (j + 0.5) * BLOCK_COLS_M)
        town = self._town.at(rows, cols) + self.theme.town_bias + 0.5 * uniform(self.seed, 21, i, j)
        bounds = np.cumsum([self.theme.farm, self.theme.meadow, self.theme.forest, self.theme.bare])
        zones = np.array([Zone.FARM, Zone.MEADOW, Zone.FOREST, Zone.BARE, Zone.GROVE])
        country = zones[np.searchsorted(bounds, uniform(self.seed, 20, i, j), side="right")]
        houses = np.where(uniform(self.seed, 22, i, j) < 0.8, Zone.HOMES, Zone.INDUSTRY)
        return np.where(town > 0.75, houses, country).astype(np.int64)

    def strips(self, i: Ints, j: Ints) -> Ints:
        """Tell into how many strips a block is divided."""
        return 1 + np.floor(MAX_STRIPS * uniform(self.seed, 23, i, j) ** 1.5).astype(np.int64)

    def block_range(self, window: Window) -> tuple[Ints, Ints]:
        """List the blocks (as flat index arrays) that may touch a window."""
        rows = np.array([window.row, window.row + window.height], float)[[0, 0, 1, 1]]
        cols = np.array([window.col, window.col + window.width], float)[[0, 1, 0, 1]]
        u, v = self._turn(rows, cols)
        reach = 3.0 * self._amplitude
        i = np.arange(np.floor((u.min() - reach) / BLOCK_ROWS_M), np.floor((u.max() + reach) / BLOCK_ROWS_M) + 1)
        j = np.arange(np.floor((v.min() - reach) / BLOCK_COLS_M), np.floor((v.max() + reach) / BLOCK_COLS_M) + 1)
        mesh_i, mesh_j = np.meshgrid(i.astype(np.int64), j.astype(np.int64), indexing="ij")
        return mesh_i.ravel(), mesh_j.ravel()

    def heading(self) -> tuple[float, float]:
        """Give cosine and sine of the turn between blocks and north."""
        return self._cos, self._sin

    _amplitude = 22.0

    def _field(self, salt: int, pitch_m: float) -> SmoothField:
        return SmoothField(self.seed, salt, pitch_m / self.cell_size)

    def _turn(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        y, x = rows * self.cell_size, cols * self.cell_size
        return y * self._cos + x * self._sin, x * self._cos - y * self._sin

    def _unturn(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        y, x = u * self._cos - v * self._sin, v * self._cos + u * self._sin
        return y / self.cell_size, x / self.cell_size

    def _describe(self, rows: Floats, cols: Floats, bends: tuple[Floats, Floats], wet: tuple[Floats, Floats]) -> Site:
        u, v = self._turn(rows, cols)
        u = u + self._amplitude * bends[0]
        v = v + self._amplitude * bends[1]
        i, u_in, u_line, u_edge = _lattice(u, BLOCK_ROWS_M)
        j, _, v_line, v_edge = _lattice(v, BLOCK_COLS_M)
        zone = _by_block(self.zone, i, j)
        strip = (u_in * _by_block(self.strips, i, j)).astype(np.int64)
        # A road on a line of constant u runs along the columns and the other way round.
        across = _by_block(lambda a, b: self._road_half_width(40, a, b), u_line, j) - u_edge
        along = _by_block(lambda a, b: self._road_half_width(50, b, a), i, v_line) - v_edge
        along_rows = along > across
        road = np.maximum(across, along)
        axis = np.where(along_rows, v_edge, u_edge)
        return Site(i, j, strip, zone, u, v, road, axis, along_rows, self._water(wet), np.minimum(u_edge, v_edge))

    def _water(self, wet: tuple[Floats, Floats]) -> Floats:
        lake, river = wet
        return np.maximum(lake - self.theme.lake_level, self.theme.river_width - np.abs(river))

    def _road_half_width(self, salt: int, line: Ints, segment: Ints) -> Floats:
        """Half width in metres of a road segment, very negative where there is none."""
        main = uniform(self.seed, salt, line, np.zeros_like(line)) < 0.3 * min(1.0, self.theme.road_share / 0.3)
        rows, cols = self._unturn(line * BLOCK_ROWS_M, segment * BLOCK_COLS_M)
        if salt != 40:
            rows, cols = self._unturn(segment * BLOCK_ROWS_M, line * BLOCK_COLS_M)
        share = self.theme.road_share + 0.35 * np.clip(self._town.at(rows, cols), -1, 1)
        minor = uniform(self.seed, salt + 1, line, segment) < share
        width = 2.2 + 1.4 * uniform(self.seed, salt + 2, line, np.zeros_like(line))
        return np.where(main, width + 2.0, np.where(minor, width, -999.0))


def _lattice(position: Floats, pitch: float) -> tuple[Ints, Floats, Ints, Floats]:
    """Cell index, fraction within it, index of the nearest line, distance to that line."""
    scaled = position / pitch
    cell = np.floor(scaled)
    fraction = scaled - cell
    past_middle = fraction > 0.5
    distance = np.where(past_middle, 1 - fraction, fraction) * pitch
    index = cell.astype(np.int64)
    return index, fraction, index + past_middle, distance


def _by_block(rule: Callable[[Ints, Ints], NDArray[np.generic]], i: Ints, j: Ints) -> NDArray:  # type: ignore[type-arg]
    """Apply a rule of block indexes: to points one by one, to rasters through a small table."""
    if not i.size:
        return rule(i, j)
    i_first, j_first = i.min(), j.min()
    rows = np.arange(i_first, i.max() + 1)[:, None]
    cols = np.arange(j_first, j.max() + 1)[None, :]
    mesh_i, mesh_j = np.broadcast_arrays(rows, cols)
    if mesh_i.size > i.size:
        return rule(i, j)
    table = rule(mesh_i.copy(), mesh_j.copy())
    flat = (i - i_first) * table.shape[1] + (j - j_first)
    values: NDArray = table.ravel()[flat]  # type: ignore[type-arg]
    return values
