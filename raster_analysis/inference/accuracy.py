"""How good detections are against the truth: counts, precision, recall and average precision, as COCO computes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raster_analysis.inference.matching import Objects, find_pairs, match, order_of

COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""The overlaps over which COCO averages: 0.5, 0.55 and so on up to 0.95."""
_RECALLS = np.linspace(0, 1, 101)
ALL = "All"
"""What the row of all classes together is called."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Precision over recall as the confidence falls."""

    recall: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    """At that recall or any higher one: what average precision is the area under."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How good the detections of one class, or of all, are. NaN where there is nothing to divide by."""

    name: str
    truths: int
    true_positives: int
    false_positives: int
    average_precision: float
    """At the smallest overlap that counts."""
    coco_average_precision: float
    """Mean over the overlaps of COCO."""
    curve: Curve | None = None

    @property
    def false_negatives(self) -> int:
        """Return how many true objects nothing was found for."""
        return self.truths - self.true_positives

    @property
    def precision(self) -> float:
        """Return the share of the detections that are right."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Return the share of the true objects that were found."""
        return _share(self.true_positives, self.truths)

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall."""
        return _share(2 * self.true_positives, self.true_positives + self.false_positives + self.truths)


def evaluate(
    detected: Objects,
    truth: Objects,
    names: Sequence[str],
    *,
    min_iou: float,
    step: Callable[[float], None] = lambda _share: None,
) -> tuple[Accuracy, ...]:
    """Return the accuracy of each class, in the order of `names`, and of all together as the last.

    The average precision of all is the mean over the classes that have true objects; the counts are sums.
    """
    pairs = find_pairs(detected, truth, floor=min(min_iou, *COCO_IOUS), step=lambda share: step(0.8 * share))
    right = {iou: match(pairs, iou, detected=len(detected), truth=len(truth)) for iou in (*COCO_IOUS, min_iou)}
    order = order_of(detected.scores)
    labels = detected.labels[order]
    truths = np.bincount(truth.labels, minlength=len(names))
    classes = []
    for label, name in enumerate(names):
        own = order[labels == label]
        classes.append(_of_class(name, int(truths[label]), {iou: hits[own] for iou, hits in right.items()}, min_iou))
    return (*classes, _of_all(classes))


def _of_class(name: str, truths: int, right: Mapping[float, npt.NDArray[np.bool_]], min_iou: float) -> Accuracy:
    """Return the accuracy of one class; `right` says by overlap which detections are, the best score first."""
    curves = {iou: _curve(hits, truths) for iou, hits in right.items()}
    found = int(right[min_iou].sum())
    return Accuracy(
        name=name,
        truths=truths,
        true_positives=found,
        false_positives=len(right[min_iou]) - found,
        average_precision=_average(curves[min_iou]),
        coco_average_precision=_mean([_average(curves[iou]) for iou in COCO_IOUS]),
        curve=curves[min_iou],
    )


def _of_all(classes: Sequence[Accuracy]) -> Accuracy:
    return Accuracy(
        name=ALL,
        truths=sum(one.truths for one in classes),
        true_positives=sum(one.true_positives for one in classes),
        false_positives=sum(one.false_positives for one in classes),
        average_precision=_mean([one.average_precision for one in classes]),
        coco_average_precision=_mean([one.coco_average_precision for one in classes]),
    )


def _curve(right: npt.NDArray[np.bool_], truths: int) -> Curve | None:
    """Return precision over recall, None where there is nothing to recall."""
    if not truths:
        return None
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(right) + 1)
    # Precision may rise again with more detections; what counts is the best that is still to come.
    return Curve(hits / truths, np.maximum.accumulate(precision[::-1])[::-1])


def _average(curve: Curve | None) -> float:
    """Return the mean precision at 101 recalls from 0 to 1, 0 where no threshold reaches one."""
    if curve is None:
        return math.nan
    reached = np.searchsorted(curve.recall, _RECALLS, side="left")
    return float(np.append(curve.precision, 0.0)[np.minimum(reached, len(curve.precision))].mean())


def _mean(values: Sequence[float]) -> float:
    counted = [value for value in values if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else math.nan


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
