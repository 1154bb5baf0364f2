"""Labels of crops: the loop that classifies a block of them, and its block files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raster_analysis.inference.blocks import load_labels
from raster_analysis.inference.crop_plan import CropPlan
from raster_analysis.inference.crops import read_crops
from raster_analysis.inference.overlap import read_ahead
from raster_analysis.inference.pipeline import BATCHES_AHEAD, Statistics
from raster_analysis.seams import Model, RasterReader
from raster_analysis.tool import Block, BlockResult, Context

NO_LABEL = -1
_SCALE = 1_000_000
"""Scores are kept in millionths."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What was found for each feature, by its place in the source."""

    classes: npt.NDArray[np.int32]
    """Position in the model's `Classes`, or `NO_LABEL`."""
    scores: npt.NDArray[np.float32]
    """0 to 1; NaN where there is no label."""


def classify_crops(
    block: Block, plan: CropPlan, model: Model, *, reader: RasterReader, context: Context
) -> tuple[npt.NDArray[np.int64], Statistics]:
    """Return place, class and score (in millionths) of each feature that got a label, `(n, 3)`, and figures."""
    start = block.index * plan.block_crops
    places, crops = plan.crops(context).take(start, start + plan.block_crops)
    rows: list[npt.NDArray[np.int64]] = [np.empty((0, 3), np.int64)]
    with read_ahead(read_crops(reader, crops, plan.rules, plan.batch_size), BATCHES_AHEAD) as batches:
        for batch in batches:
            context.report.check_cancelled()
            scores = model.classify(batch.data, plan.value_range)[:, :, 0, 0].astype(np.float64)
            best = scores.argmax(axis=1)
            chosen = np.rint(scores[np.arange(len(best)), best] * _SCALE)
            rows.append(np.stack([places[list(batch.places)], best, chosen], axis=1).astype(np.int64))
            context.report.progress(batch.passed / len(crops))
    found = np.concatenate(rows)
    return found, {"crops": float(len(crops)), "skipped": float(len(crops) - len(found))}


def load_all(results: Iterable[BlockResult], plan: CropPlan, context: Context) -> Labels:
    """Return the labels of all features; raises OutputError when a block's file is not the one recorded."""
    classes = np.full(plan.features, NO_LABEL, np.int32)
    scores = np.full(plan.features, np.nan, np.float32)
    for result in results:
        found = load_labels(context.folder / result.file, result.sha256)
        classes[found[:, 0]] = found[:, 1]
        scores[found[:, 0]] = found[:, 2] / _SCALE
    return Labels(classes, scores)
