"""Merging: predictions of tiles become the labels of a block. Accumulators with `feed` and `data`.

Both give the same array whatever blocks the grid is cut into.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from raster_analysis.errors import ModelError
from raster_analysis.grid import Window
from raster_analysis.inference.tiles import Tile, Tiling
from raster_analysis.model_info import ModelInfo

_DTYPES = ("uint8", "uint16", "int32")

Labels = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]
Prediction = npt.NDArray[np.generic]
"""Class indexes `(rows, cols)` or probabilities `(classes, rows, cols)` of one tile."""


@dataclass(frozen=True, slots=True)
class OutputValues:
    """Which raster values class indexes become."""

    values: tuple[int, ...]
    """The raster value of class index i."""
    nodata: int
    """The value of pixels that are not valid."""
    dtype: str

    @property
    def table(self) -> Labels:
        """Return the raster value by class position; the last position stands for pixels that are not valid."""
        return np.array([*self.values, self.nodata], self.dtype)

    def positions(self, indexes: Labels, valid: Mask) -> Labels:
        """Return class indexes with the last position of `table` where a pixel is not valid, `(rows, cols)`.

        Raises ModelError for an index that has no class.
        """
        count = len(self.values)
        highest = int(indexes.max(initial=0))
        if highest >= count or int(indexes.min(initial=0)) < 0:
            raise ModelError(f"the network gave class index {highest}, but the model defines {count} classes")
        # An index of one byte has no room for a 257th position.
        wide = indexes if count <= np.iinfo(indexes.dtype).max else indexes.astype(np.int32)
        return np.where(valid, wide, wide.dtype.type(count))

    @classmethod
    def of(cls, info: ModelInfo) -> OutputValues:
        """Choose them for a model, in the smallest pixel type that holds its values and nodata.

        Nodata is 0 when no class has that value, else the largest number of the type (255, 65535 ...).
        """
        values = info.values
        if not values:
            raise ModelError(f"model {info.name!r} defines no classes, so its class indexes have no raster values")
        for dtype in _DTYPES:
            limits = np.iinfo(dtype)
            nodata = int(limits.max) if 0 in values else 0
            if limits.min <= min(values) and max(values) <= limits.max and nodata not in values:
                return cls(values, nodata, dtype)
        raise ModelError(f"class values from {min(values)} to {max(values)} do not fit a 32-bit raster")


class Merge(Protocol):
    """Takes predictions in the order of the tiles and makes a block of labels."""

    def feed(self, tile: Tile, valid: Mask, prediction: Prediction) -> None:
        """Take one tile; `valid` covers its `keep` window."""

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Return pixels by class position, those that are not valid last; complete after `data`."""

    @property
    def data(self) -> Labels:
        """Return the block's raster values `(rows, cols)` after the last tile."""


class CropMerge:
    """Keeps the inner part of each tile: every pixel is written once."""

    def __init__(self, window: Window, tiling: Tiling, values: OutputValues) -> None:
        self._labels = _LabelSink(window, values)
        self._tiling = tiling

    def feed(self, tile: Tile, valid: Mask, prediction: Prediction) -> None:
        """Write the inner part of one tile."""
        part = prediction[..., *_kept(tile, prediction, self._tiling)]
        indexes = part.argmax(axis=0) if part.ndim == 3 else part
        self._labels.write(tile.keep, cast("Labels", indexes), valid)

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Return pixels by class position, those that are not valid last."""
        return self._labels.counts

    @property
    def data(self) -> Labels:
        """Return the block's raster values `(rows, cols)`."""
        return self._labels.data


class BlendMerge:
    """Adds up probabilities under a Hann window where tiles overlap and takes the most probable class.

    Only as many rows as a tile has are held as probabilities: a row is settled when the next row of
    tiles begins below it. Each pixel adds its tiles in the order of the whole grid, which is why the
    sums, rounding included, do not depend on the blocks.
    """

    def __init__(self, window: Window, tiling: Tiling, values: OutputValues) -> None:
        height = tiling.tile_height - 2 * tiling.model_padding
        self._labels = _LabelSink(window, values)
        self._tiling, self._window = tiling, window
        self._sums = np.zeros((len(values.values), height, window.width), np.float32)
        self._valid = np.zeros((height, window.width), np.bool_)
        self._weights = hann_weights(height, tiling.tile_width - 2 * tiling.model_padding)
        self._top = window.row

    def feed(self, tile: Tile, valid: Mask, prediction: Prediction) -> None:
        """Add one tile's probabilities; tiles come row by row."""
        if prediction.ndim != 3 or len(prediction) != len(self._sums):
            raise ModelError(f"blending needs {len(self._sums)} probabilities a pixel, got {prediction.shape}")
        self._settle(tile.keep.row)
        part = _kept(tile, prediction, self._tiling)
        here = tile.keep.shift(-self._top, -self._window.col).slices
        self._sums[:, *here] += prediction[:, *part].astype(np.float32, copy=False) * self._weights[part]
        self._valid[here] = valid

    @property
    def counts(self) -> npt.NDArray[np.intp]:
        """Return pixels by class position, those that are not valid last."""
        return self._labels.counts

    @property
    def data(self) -> Labels:
        """Return the block's raster values `(rows, cols)`."""
        self._settle(self._window.row + self._window.height)
        return self._labels.data

    def _settle(self, row: int) -> None:
        """Turn the rows above `row` into labels and make room below."""
        # Rows of tiles may have been left out, so the next one can begin far below.
        rows = min(row - self._top, len(self._valid))
        if rows <= 0:
            return
        done = Window(self._top, self._window.col, rows, self._window.width).intersect(self._window)
        self._labels.write(done, self._sums[:, : done.height].argmax(axis=0), self._valid[: done.height])
        self._sums[:, :-rows] = self._sums[:, rows:]
        self._sums[:, -rows:] = 0
        self._valid[:-rows] = self._valid[rows:]
        self._valid[-rows:] = False
        self._top = row


MERGES: dict[str, Callable[[Window, Tiling, OutputValues], Merge]] = {"crop": CropMerge, "blend": BlendMerge}


def hann_weights(height: int, width: int) -> npt.NDArray[np.float32]:
    """Return `(height, width)` weights that fall from the middle to the border and are nowhere 0.

    Not divided by their sum: a positive factor does not change which class is the most probable.
    """
    rows, cols = (np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in (height, width))
    return np.outer(rows, cols).astype(np.float32)


class _LabelSink:
    """A block of raster values and what it counts up to."""

    def __init__(self, window: Window, values: OutputValues) -> None:
        self._window, self._values, self._table = window, values, values.table
        self.data: Labels = np.full((window.height, window.width), values.nodata, values.dtype)
        self.counts = np.zeros(len(values.values) + 1, np.intp)
        # Every pixel counts as not valid until it is written: tiles that were left out never are.
        self.counts[-1] = window.size

    def write(self, window: Window, indexes: Labels, valid: Mask) -> None:
        """Write class indexes; each pixel of the block may be written once."""
        positions = self._values.positions(indexes, valid)
        self.data[window.shift(-self._window.row, -self._window.col).slices] = self._table[positions]
        self.counts += np.bincount(positions.ravel(), minlength=len(self.counts))
        self.counts[-1] -= window.size


def _kept(tile: Tile, prediction: Prediction, tiling: Tiling) -> tuple[slice, slice]:
    """Return where a tile's `keep` window lies in its prediction; raises ModelError when that has another size."""
    lost = tiling.model_padding
    expected = (tiling.tile_height - 2 * lost, tiling.tile_width - 2 * lost)
    if prediction.shape[-2:] != expected:
        raise ModelError(
            f"the network gave {prediction.shape[-2]} x {prediction.shape[-1]} pixels for a tile of "
            f"{tiling.tile_height} x {tiling.tile_width}; with a ModelPadding of {lost}, "
            f"{expected[0]} x {expected[1]} were expected"
        )
    return tile.keep.shift(-tile.read.row - lost, -tile.read.col - lost).slices
