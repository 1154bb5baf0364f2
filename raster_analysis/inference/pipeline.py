"""The one loop: read ahead, compute, merge behind; and the two tasks of a slot that run it over a block."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from raster_analysis.detections import Detections, concatenate
from raster_analysis.inference.batches import Batch, TileSource, read_batches
from raster_analysis.inference.edges import clip_to_grid, exclude_truncated, keep_centred, move_to_grid
from raster_analysis.inference.merge import MERGES, Labels, Mask, OutputValues
from raster_analysis.inference.overlap import read_ahead, write_behind
from raster_analysis.inference.tiles import Tile, Tiling, tiles_of, tiles_touching
from raster_analysis.seams import Model, RasterReader, Reporter
from raster_analysis.tool import Block

BATCHES_AHEAD = 2
"""One batch is ready while the next is being read; the memory bill counts them."""
RESULTS_BEHIND = 2
"""Results of so many batches may wait for the merge; the memory bill counts them."""

Statistics = dict[str, float]
"""Figures that may be added up over blocks."""

Prediction = TypeVar("Prediction")
Predict = Callable[[npt.NDArray[np.generic]], Sequence[Prediction]]
"""From `(n, bands, rows, cols)` to n predictions; runs in the caller's thread."""
Consume = Callable[[Tile, Mask, Prediction], None]
"""Takes one tile, the validity of its `keep` window and its prediction; runs in one other thread, in order."""


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """What the loop did."""

    tiles: int
    skipped: int
    """Tiles without a valid pixel: the model never saw them."""
    model_s: float
    wait_s: float
    """Seconds in which the model waited for pixels."""


def run_tiles(
    source: TileSource, predict: Predict[Prediction], consume: Consume[Prediction], reporter: Reporter
) -> RunStatistics:
    """Run a model over tiles; raises Cancelled between batches, and whatever a reader, model or merge raises.

    No thread is left when it returns or raises.
    """
    ran, model_s, wait_s = 0, 0.0, 0.0

    def merge(result: tuple[Batch, Sequence[Prediction]]) -> None:
        batch, predictions = result
        # A batch that was filled up has more predictions than tiles.
        for tile, mask, prediction in zip(batch.tiles, batch.masks, predictions, strict=False):
            consume(tile, mask, prediction)

    with read_ahead(read_batches(source), BATCHES_AHEAD) as batches, write_behind(merge, RESULTS_BEHIND) as put:
        started = time.perf_counter()
        for batch in batches:
            ready = time.perf_counter()
            # Before the model, not after: a job that is asked to stop must not start another batch.
            reporter.check_cancelled()
            if batch.tiles:
                put((batch, predict(batch.data)))
            ran += len(batch.tiles)
            reporter.progress(batch.passed / len(source.tiles))
            wait_s += ready - started
            started = time.perf_counter()
            model_s += started - ready
    return RunStatistics(ran, len(source.tiles) - ran, model_s, wait_s)


@dataclass(frozen=True, slots=True)
class Inference:
    """A model, what it reads and how: the same for every block of a job."""

    reader: RasterReader
    model: Model
    tiling: Tiling
    value_range: tuple[float, float]
    merge: str = "crop"
    """For pixels: a name in `MERGES`; `blend` needs a model that gives probabilities."""
    exclude_pad_detections: bool = True
    """For objects: drop those that the border of their tile cuts off."""


def classify_block(block: Block, inference: Inference, reporter: Reporter) -> tuple[Labels, Statistics]:
    """Return a block's raster values `(rows, cols)` and figures.

    Figures: those of RunStatistics, the pixels of each class value V that occurs as `value V`, and
    those that are not valid as `nodata`. `OutputValues.of(info)` tells the values and the pixel type.
    """
    values = OutputValues.of(inference.model.info)
    tiling = inference.tiling
    find = tiles_touching if inference.merge == "blend" else tiles_of
    merge = MERGES[inference.merge](block.window, tiling, values)

    def classify(tiles: npt.NDArray[np.generic]) -> Sequence[npt.NDArray[np.generic]]:
        return list(inference.model.classify(tiles, inference.value_range))

    run = run_tiles(_source(inference, find(block, tiling)), classify, merge.feed, reporter)
    labels = merge.data
    return labels, asdict(run) | _pixel_figures(values, merge.counts)


def detect_block(block: Block, inference: Inference, reporter: Reporter) -> tuple[Detections, Statistics]:
    """Return the objects of a block in pixels of the grid, in the order of their tiles, and figures.

    Figures: those of RunStatistics, and `detections`.
    """
    found: list[Detections] = []

    def collect(tile: Tile, valid: Mask, detections: Detections) -> None:
        found.append(_settle(detections, tile, valid, inference))

    def detect(tiles: npt.NDArray[np.generic]) -> Sequence[Detections]:
        return inference.model.detect(tiles, inference.value_range)

    run = run_tiles(_source(inference, tiles_of(block, inference.tiling)), detect, collect, reporter)
    detections = concatenate(found)
    return detections, asdict(run) | {"detections": float(len(detections))}


def _source(inference: Inference, tiles: tuple[Tile, ...]) -> TileSource:
    return TileSource(inference.reader, tiles, inference.tiling.batch_size, inference.tiling.fixed_batch)


def _pixel_figures(values: OutputValues, counts: npt.NDArray[np.intp]) -> Statistics:
    figures = {"nodata": float(counts[-1])}
    for value, count in zip(values.values, counts, strict=False):
        if count:
            figures[f"value {value}"] = figures.get(f"value {value}", 0.0) + float(count)
    return figures


def _settle(detections: Detections, tile: Tile, valid: Mask, inference: Inference) -> Detections:
    """Return the detections of a tile that count, in pixels of the grid."""
    grid = inference.tiling.grid_window
    # Without padding no neighbour sees a truncated object whole: dropping it would lose it.
    if inference.exclude_pad_detections and inference.tiling.padding:
        detections = exclude_truncated(detections, tile, grid)
    return keep_centred(clip_to_grid(move_to_grid(detections, tile), grid), tile, valid)
