"""Random fields that depend on seed and world position alone: hashes, smooth splines, repeating textures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_ROW_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)
# The spread of a cubic B-spline over uniform lattice values; dividing by it gives about unit variance.
_SPLINE_SPREAD = 0.138


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of cells of the endless world; rows grow downwards and may be negative."""

    row: int
    col: int
    height: int
    width: int

    def pad(self, cells: int) -> Window:
        """Grow by `cells` on every side."""
        return Window(self.row - cells, self.col - cells, self.height + 2 * cells, self.width + 2 * cells)

    def contains(self, rows: Floats, cols: Floats) -> NDArray[np.bool_]:
        """Tell which points lie inside (the lower and right edges belong to the neighbours)."""
        inside_rows = (rows >= self.row) & (rows < self.row + self.height)
        return inside_rows & (cols >= self.col) & (cols < self.col + self.width)


def uniform(seed: int, salt: int, i: Ints, j: Ints) -> Floats:
    """Give a number in 0..1 for every lattice cell (splitmix64 over the indexes)."""
    start = np.asarray([(seed * 1_000_003 + salt * 7_919 + 1) & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    x = _mix(start * _GOLDEN + np.asarray(i, np.int64).astype(np.uint64) * _ROW_FACTOR)
    x = _mix(x + np.asarray(j, np.int64).astype(np.uint64) * _GOLDEN)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed


@dataclass(frozen=True, slots=True)
class SmoothField:
    """A smooth random function of position, about zero mean and unit variance (cubic B-spline of a hashed lattice)."""

    seed: int
    salt: int
    pitch: float
    """Distance of the lattice points in cells."""

    def at(self, rows: Floats, cols: Floats) -> Floats:
        """Evaluate at points; the same for a point whatever else is asked with it."""
        i, row_weights = self._weights(rows)
        j, col_weights = self._weights(cols)
        if not i.size:
            return np.zeros(i.shape)
        i_first, j_first = i.min(), j.min()
        # Points lie close together against the pitch, so the lattice under all of them is a small table.
        lattice_rows = np.arange(i_first, i.max() + 4)[:, None]
        lattice_cols = np.arange(j_first, j.max() + 4)[None, :]
        lattice = uniform(self.seed, self.salt, lattice_rows, lattice_cols) - 0.5
        across = lattice.shape[1]
        flat = (i - i_first) * across + (j - j_first)
        values = lattice.ravel()
        total = np.zeros(i.shape)
        for a in range(4):
            line = np.zeros(i.shape)
            for b in range(4):
                line += col_weights[b] * values[flat + (a * across + b)]
            total += row_weights[a] * line
        return total / _SPLINE_SPREAD

    def grid(self, window: Window) -> Floats32:
        """Evaluate at the centres of the cells of a window, `(rows, cols)`."""
        i, row_matrix = self._basis(window.row, window.height)
        j, col_matrix = self._basis(window.col, window.width)
        lattice = uniform(self.seed, self.salt, i[:, None], j[None, :]) - 0.5
        rows = (row_matrix @ (lattice / _SPLINE_SPREAD)).astype(np.float32)
        return rows @ col_matrix.T.astype(np.float32)

    def _weights(self, positions: Floats) -> tuple[Ints, list[Floats]]:
        scaled = np.asarray(positions, np.float64) / self.pitch
        first = np.floor(scaled)
        t = scaled - first
        weights = [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ]
        return first.astype(np.int64) - 1, weights

    def _basis(self, start: int, count: int) -> tuple[Ints, Floats]:
        first, weights = self._weights(start + np.arange(count) + 0.5)
        indexes = np.arange(first[0], first[-1] + 4)
        matrix = np.zeros((count, len(indexes)))
        for tap, weight in enumerate(weights):
            matrix[np.arange(count), first - first[0] + tap] = weight
        return indexes, matrix


class Texture:
    """A repeating texture of zero mean and unit variance with features of one size."""

    def __init__(self, seed: int, salt: int, feature: float, period: int, reach: int) -> None:
        """Prepare it.

        Args:
            seed: Seed of the scene.
            salt: Tells the textures of one scene apart.
            feature: Size of the features in cells; below 1 gives white noise.
            period: Side of the repeated square in cells.
            reach: The largest window side that will be asked for.
        """
        white = np.random.default_rng([seed & 0x7FFFFFFF, salt]).standard_normal((period, period))
        if feature >= 1:
            white = _band_pass(white, feature)
        white = (white - white.mean()) / white.std()
        self._period = period
        # Laid out beyond one period, so that every window is a plain slice.
        self._cells = np.pad(white.astype(np.float32), ((0, reach), (0, reach)), mode="wrap")

    def grid(self, window: Window) -> Floats32:
        """Give a read-only view of a window, `(rows, cols)`."""
        row, col = window.row % self._period, window.col % self._period
        view = self._cells[row : row + window.height, col : col + window.width]
        view.flags.writeable = False
        return view

    def at(self, rows: Ints, cols: Ints) -> Floats32:
        """Look up cells by their indexes."""
        values: Floats32 = self._cells[rows % self._period, cols % self._period]
        return values


def _band_pass(white: Floats, feature: float) -> Floats:
    frequency_rows = np.fft.fftfreq(white.shape[0])[:, None]
    frequency_cols = np.fft.rfftfreq(white.shape[1])[None, :]
    squared = frequency_rows**2 + frequency_cols**2
    # Low pass at the feature size, less the very long waves, which the smooth fields supply.
    gain = np.exp(-squared * (2.2 * feature) ** 2) - 0.8 * np.exp(-squared * (9.0 * feature) ** 2)
    return np.fft.irfft2(np.fft.rfft2(white) * gain, s=white.shape)
