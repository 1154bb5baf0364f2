"""Rasters, models and a reporter that live in memory: a whole block runs in milliseconds.

For tests, examples and measuring what the loop itself costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine

from dlpk.definition import ClassEntry
from raster_analysis.detections import Detections
from raster_analysis.errors import Cancelled, ModelError
from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.model_info import Engine, ModelInfo, Task
from raster_analysis.pixels import Pixels
from raster_analysis.seams import Level, RasterView

Tiles = npt.NDArray[np.generic]
"""`(n, bands, rows, cols)`"""
Range = tuple[float, float]

CPU = Engine(device="cpu", precision="fp32", runtime="torch")


def tiny_info(task: Task, *, class_count: int = 3, tile_size: int = 64, padding: int = 8) -> ModelInfo:
    """Return the facts of a one-band model that takes any tile; change them with `dataclasses.replace`."""
    values = tuple(range(class_count))
    return ModelInfo(
        name="tiny",
        task=task,
        bands=(0,),
        tile_height=tile_size,
        tile_width=tile_size,
        variable_tile=True,
        tile_multiple=1,
        fixed_batch=None,
        model_padding=0,
        padding=padding,
        context=None,
        threshold=0.5,
        nms_overlap=0.1,
        batch_size=4,
        classes=tuple(ClassEntry(value, f"class {value}") for value in values),
        values=values,
        class_rule="index i is Values[i]",
        instances=False,
        arguments=(),
    )


class ArrayReader:
    """A raster in memory as a RasterReader: `data` is `(bands, rows, cols)`, `mask` `(rows, cols)`."""

    def __init__(self, data: npt.NDArray[np.generic], mask: npt.NDArray[np.bool_] | None = None) -> None:
        bands, height, width = data.shape
        grid = Grid(None, Affine.scale(1, -1), height, width)
        handle = Handle("raster", "", "array in memory")
        self.view = RasterView(handle, tuple(range(bands)), grid, resample=False, dtype=data.dtype.name)
        self._mask = np.ones((height, width), np.bool_) if mask is None else mask
        self._data = np.where(self._mask, data, data.dtype.type(0))

    def read(self, window: Window) -> Pixels:
        """Return a window; beyond the array pixels are 0 and not valid."""
        data = np.zeros((len(self._data), window.height, window.width), self._data.dtype)
        mask = np.zeros((window.height, window.width), np.bool_)
        common = window.intersect(self.view.grid.window)
        if common.size:
            there = common.shift(-window.row, -window.col).slices
            data[:, *there] = self._data[:, *common.slices]
            mask[there] = self._mask[common.slices]
        return Pixels(data, mask, window)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the array alone."""


@dataclass
class ListReporter:
    """A Reporter that remembers; `cancel_after` says how many checks pass before it cancels."""

    messages: list[tuple[Level, str]] = field(default_factory=list)
    fractions: list[float] = field(default_factory=list)
    cancel_after: int | None = None

    def message(self, text: str, level: Level = "info") -> None:
        """Remember a message."""
        self.messages.append((level, text))

    def progress(self, fraction: float) -> None:
        """Remember how much is done."""
        self.fractions.append(fraction)

    def check_cancelled(self) -> None:
        """Raise Cancelled once `cancel_after` checks have passed."""
        if self.cancel_after is not None:
            if self.cancel_after == 0:
                raise Cancelled("cancelled after the checks that were allowed")
            self.cancel_after -= 1


@dataclass(frozen=True)
class TinyModel:
    """What all models of this module have in common; each does one of `classify` and `detect`."""

    info: ModelInfo
    engine: Engine = CPU
    reasons: tuple[str, ...] = ("it lives in memory",)
    memory_bytes: int = 0

    def classify(self, tiles: Tiles, value_range: Range) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
        """Refuse: overridden by models for pixels."""
        raise ModelError(f"model {self.info.name!r} does not classify {len(tiles)} tiles of values in {value_range}")

    def detect(self, tiles: Tiles, value_range: Range) -> list[Detections]:
        """Refuse: overridden by models for objects."""
        raise ModelError(f"model {self.info.name!r} finds no objects in {len(tiles)} tiles of values in {value_range}")


class NullClassifier(TinyModel):
    """Gives class 0 everywhere and costs nothing: what is left is the loop."""

    def classify(self, tiles: Tiles, value_range: Range) -> npt.NDArray[np.uint8]:  # noqa: ARG002 - the seam's
        """Return zeros."""
        lost = 2 * self.info.model_padding
        return np.zeros((len(tiles), tiles.shape[2] - lost, tiles.shape[3] - lost), np.uint8)


class MeanClassifier(TinyModel):
    """Classifies by the sum over all pixels within `info.context`, modulo the number of classes.

    Exact in integers, and any pixel that is missing from the square shows: a fully convolutional
    network with a receptive field of `2 * context + 1`, in a form that can be checked.
    """

    def classify(self, tiles: Tiles, value_range: Range) -> npt.NDArray[np.uint8]:  # noqa: ARG002 - the seam's
        """Return class indexes without the border of `info.model_padding` pixels; beyond a tile is 0."""
        lost, (rows, cols) = self.info.model_padding, tiles.shape[2:]
        sums = square_sums(tiles[:, 0].astype(np.int64), self.info.context or 0)
        return (sums % len(self.info.values)).astype(np.uint8)[:, lost : rows - lost, lost : cols - lost]


class ShareClassifier(TinyModel):
    """Gives probabilities that differ from pixel to pixel and from tile to tile around the same pixel."""

    def classify(self, tiles: Tiles, value_range: Range) -> npt.NDArray[np.float32]:  # noqa: ARG002 - the seam's
        """Return probabilities `(n, classes, rows, cols)` of the full tile size."""
        sums = square_sums(tiles[:, 0].astype(np.int64), self.info.context or 0)
        weights = np.stack([1 + sums * (7 * k + 3) % 31 for k in range(len(self.info.values))], axis=1)
        shares: npt.NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


class MarkDetector(TinyModel):
    """Detects marks: all pixels of one value other than 0 are one object, its box what a tile sees of them."""

    def detect(self, tiles: Tiles, value_range: Range) -> list[Detections]:  # noqa: ARG002 - the seam's
        """Return a box for each value in each tile; score and label follow from the value."""
        return [self._marks(tile[0]) for tile in tiles]

    def _marks(self, tile: npt.NDArray[np.generic]) -> Detections:
        values = np.unique(tile[tile != 0]).astype(np.int64)
        places = [np.nonzero(tile == value) for value in values]
        boxes = [(cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) for rows, cols in places]
        corners = np.array(boxes, np.float64).reshape(-1, 4)
        scores = (0.5 + values % 50 / 100).astype(np.float32)
        outlines = np.array(shapely.box(*corners.T) if self.info.instances else [], object)
        return Detections(corners, scores, (values % len(self.info.values)).astype(np.int32), outlines)


def square_sums(values: npt.NDArray[np.int64], radius: int) -> npt.NDArray[np.int64]:
    """Return for each pixel of `(n, rows, cols)` the sum over the square of `radius` around it, beyond is 0."""
    side = 2 * radius + 1
    padded = np.pad(values, ((0, 0), (radius + 1, radius), (radius + 1, radius)))
    sums: npt.NDArray[np.int64] = padded.cumsum(axis=1).cumsum(axis=2)
    return sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
