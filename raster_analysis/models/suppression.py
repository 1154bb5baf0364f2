"""Suppression inside one tile: of two boxes of a class that overlap too much, the weaker goes (dlpk 4.5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from raster_analysis.detections import Detections
from raster_analysis.greedy import find_survivors

Boxes = npt.NDArray[np.float64]


def suppress(
    boxes_xyxy: Boxes, scores: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], *, overlap: float
) -> npt.NDArray[np.intp]:
    """Return the positions to keep, strongest first; ties go to the one that came first.

    A box goes when its intersection over union with a stronger kept one of its class is larger than
    `overlap`; equality keeps it.
    """
    found = Detections(boxes_xyxy, scores.astype(np.float32), labels.astype(np.int32))
    alive = find_survivors(found, overlap, lambda i, j: labels[i] == labels[j])
    order = np.argsort(-scores, kind="stable")
    return order[alive[order]]


def overlaps(box: Boxes, others: Boxes) -> npt.NDArray[np.float64]:
    """Return the intersection over union of one box `(4,)` with each of `others` `(n, 4)`; 0 for empty boxes."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.prod(np.maximum(shared, 0), axis=1)
    union = _areas(box[None]) + _areas(others) - intersection
    result: npt.NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return result


def _areas(boxes: Boxes) -> npt.NDArray[np.float64]:
    sides: npt.NDArray[np.float64] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: npt.NDArray[np.float64] = np.prod(sides, axis=1)
    return areas
