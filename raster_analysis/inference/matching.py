"""Which detection is which true object: overlaps of polygons, and the greedy matching of COCO and Pascal VOC."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

Geometries = npt.NDArray[np.object_]
Indexes = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

_CHUNK = 50_000
"""Detections whose candidates are in memory at once (guess: some 100 MB where ten lie over each other)."""
_EXACT = 1 - 1e-10
"""What counts as an overlap of 1, as in pycocotools."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Polygons with a class each; detections have a score too."""

    geometries: Geometries
    """`(n,)` valid polygons, all in one reference system."""
    labels: npt.NDArray[np.int64]
    """`(n,)` which class."""
    scores: Numbers
    """`(n,)`; without meaning for true objects."""

    def __len__(self) -> int:
        return len(self.geometries)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A detection and a true object of its class that overlap, the best detection first, its best partner first."""

    detected: Indexes
    truth: Indexes
    iou: Numbers


def find_pairs(detected: Objects, truth: Objects, *, floor: float, step: Callable[[float], None]) -> Pairs:
    """Return every pair of one class whose intersection over union is `floor` or more.

    `step` hears the share that is done, and may raise to stop.
    """
    parts = list(_pairs_by_chunk(detected, truth, floor, step))
    found, true, iou = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _none()
    rank = np.empty(len(detected), np.int64)
    rank[order_of(detected.scores)] = np.arange(len(detected))
    # Of equal overlaps the later true object comes first, as in pycocotools.
    order = np.lexsort((-true, -iou, rank[found]))
    return Pairs(found[order], true[order], iou[order])


def match(pairs: Pairs, threshold: float, *, detected: int, truth: int) -> npt.NDArray[np.bool_]:
    """Return for each of the detections whether it is right.

    From the highest score down, each takes the free true object that it overlaps most, if by `threshold` or more.
    """
    close = pairs.iou >= min(threshold, _EXACT)
    right, taken = bytearray(detected), bytearray(truth)
    for one, other in zip(pairs.detected[close].tolist(), pairs.truth[close].tolist(), strict=True):
        if not right[one] and not taken[other]:
            right[one] = taken[other] = 1
    return np.frombuffer(right, np.bool_)


def order_of(scores: Numbers) -> Indexes:
    """Return the indexes from the highest score down; equal ones keep their order."""
    return np.argsort(-scores, kind="stable")


def _none() -> tuple[Indexes, Indexes, Numbers]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)


def _pairs_by_chunk(
    detected: Objects, truth: Objects, floor: float, step: Callable[[float], None]
) -> Iterator[tuple[Indexes, Indexes, Numbers]]:
    tree = shapely.STRtree(truth.geometries)
    sizes, true_sizes = _Sizes.of(detected.geometries), _Sizes.of(truth.geometries)
    for start in range(0, len(detected), _CHUNK):
        step(start / len(detected))
        # By rectangles: whether the polygons meet is seen when their intersection is measured.
        found, true = tree.query(detected.geometries[start : start + _CHUNK])
        found = found + start
        same = detected.labels[found] == truth.labels[true]
        found, true = found[same], true[same]
        likely = _largest_iou(sizes, true_sizes, found, true) >= floor
        found, true = found[likely], true[likely]
        iou = _iou(detected, truth, _Candidates(sizes, true_sizes, found, true))
        kept = (iou >= min(floor, _EXACT)) & (iou > 0)
        yield found[kept], true[kept], iou[kept]


@dataclass(frozen=True, slots=True)
class _Sizes:
    area: Numbers
    bounds: Numbers
    """`(n, 4)` xmin, ymin, xmax, ymax."""
    is_rectangle: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, geometries: Geometries) -> _Sizes:
        area, bounds = shapely.area(geometries), shapely.bounds(geometries)
        box = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
        return cls(area, bounds, np.isclose(area, box, rtol=1e-9, atol=0))


@dataclass(frozen=True, slots=True)
class _Candidates:
    detected: _Sizes
    truth: _Sizes
    found: Indexes
    true: Indexes


def _shared_box(one: _Sizes, other: _Sizes, first: Indexes, second: Indexes) -> Numbers:
    a, b = one.bounds[first], other.bounds[second]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.asarray(np.clip(sides, 0, None).prod(axis=1))


def _ratio(shared: Numbers, one: Numbers, other: Numbers) -> Numbers:
    union = one + other - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _largest_iou(one: _Sizes, other: _Sizes, first: Indexes, second: Indexes) -> Numbers:
    """Return a bound that no overlap exceeds: measuring polygons is what takes time."""
    a, b = one.area[first], other.area[second]
    most = np.minimum(_shared_box(one, other, first, second), np.minimum(a, b))
    # A hair above: the bound of two equal rectangles must not fall below what is measured.
    return _ratio(most, a, b) * (1 + 1e-9)


def _iou(detected: Objects, truth: Objects, pairs: _Candidates) -> Numbers:
    found, true = pairs.found, pairs.true
    shared = _shared_box(pairs.detected, pairs.truth, found, true)
    exact = pairs.detected.is_rectangle[found] & pairs.truth.is_rectangle[true]
    rest = ~exact
    shared[rest] = shapely.area(shapely.intersection(detected.geometries[found[rest]], truth.geometries[true[rest]]))
    return _ratio(shared, pairs.detected.area[found], pairs.truth.area[true])
