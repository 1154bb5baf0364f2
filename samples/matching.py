"""Found boxes against true ones: suppression, greedy matching, precision, recall and F1; and IoU of class rasters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one comparison."""

    matched: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        """Share of the found objects that are true."""
        return self.matched / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the true objects that were found."""
        return self.matched / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        total = self.found + self.true
        return 2 * self.matched / total if total else 0.0

    def __str__(self) -> str:
        return (
            f"F1 {self.f1:.3f}, precision {self.precision:.3f}, recall {self.recall:.3f} "
            f"({self.matched} of {self.true} true, {self.found} found)"
        )


def overlaps(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of boxes x0, y0, x1, y1, `(len(a), len(b))`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - both
    share: NDArray[np.float64] = both / np.maximum(union, 1e-9)
    return share


def suppress(boxes: Boxes, scores: NDArray[np.float64], limit: float) -> NDArray[np.intp]:
    """Keep boxes, best first, that overlap no better one by more than `limit`."""
    order = np.argsort(-scores, kind="stable")
    shares = overlaps(boxes[order], boxes[order])
    dropped = np.zeros(len(order), dtype=bool)
    for place in range(len(order)):
        if not dropped[place]:
            dropped[place + 1 :] |= shares[place, place + 1 :] > limit
    kept: NDArray[np.intp] = order[~dropped]
    return kept


def match(found: Boxes, scores: NDArray[np.float64], true: Boxes, least_overlap: float = 0.4) -> Score:
    """Give each found box, best score first, the free true box it overlaps most."""
    shares = overlaps(found, true)
    free = np.ones(len(true), dtype=bool)
    matched = 0
    for index in np.argsort(-scores, kind="stable"):
        candidates = np.where(free, shares[index], -1.0)
        if len(true) and candidates.max() >= least_overlap:
            free[candidates.argmax()] = False
            matched += 1
    return Score(matched, len(found), len(true))


def class_overlaps(found: NDArray[np.uint8], true: NDArray[np.uint8], classes: list[int]) -> dict[int, float]:
    """Intersection over union of each class that occurs in the truth; cells whose truth is 0 do not count."""
    known = true > 0
    size = max(classes) + 1
    pairs = true[known].astype(np.int64) * size + np.minimum(found[known], size - 1)
    table = np.bincount(pairs, minlength=size * size).reshape(size, size)
    hits = np.diag(table)
    union = table.sum(axis=0) + table.sum(axis=1) - hits
    return {value: float(hits[value] / union[value]) for value in classes if table[value].sum()}
