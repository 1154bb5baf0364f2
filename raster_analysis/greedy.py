"""Greedy suppression: of detections that overlap too much, the weaker go. Spatially indexed, so not n^2.

Inside a tile, across tiles and over a whole output differ only in which pairs count as rivals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import shapely

from raster_analysis.detections import Detections

CHUNK = 256
"""Features compared at once: bounds memory when very many lie in one place."""

Geometries = npt.NDArray[np.object_]
Index = npt.NDArray[np.intp]
Rivals = Callable[[Index, Index], npt.NDArray[np.bool_]]
"""Says for pairs of features, by position, whether the better one may suppress the other."""


def find_survivors(detections: Detections, max_overlap: float, rivals: Rivals) -> npt.NDArray[np.bool_]:
    """Return which detections stay when each, from the strongest on, removes its weaker rivals.

    A rival goes when intersection over union, of outlines where there are any and else of boxes, is
    larger than `max_overlap`; equality keeps it. Ties in score go to the detection that comes first.
    """
    if len(detections) < 2:
        return np.ones(len(detections), np.bool_)
    features = _Features(detections)

    def suppresses(i: Index, j: Index) -> npt.NDArray[np.bool_]:
        found = rivals(i, j)
        found[found] = features.overlap(i[found], j[found]) > max_overlap
        return found

    # A stable sort is what settles ties by the order of the features.
    ranked = np.argsort(-detections.scores.astype(np.float64), kind="stable")
    return _greedy(features.shapes, ranked, suppresses)


def _greedy(shapes: Geometries, ranked: Index, suppresses: Rivals) -> npt.NDArray[np.bool_]:
    """Return which features stay when each, from the best to the worst, removes the worse ones it suppresses.

    A chunk is first settled within itself; only what is left of it is then compared with all that follow.
    """
    tree = shapely.STRtree(shapes)
    alive = np.ones(len(ranked), np.bool_)
    rank = np.empty_like(ranked)
    rank[ranked] = np.arange(len(ranked))
    for start in range(0, len(ranked), CHUNK):
        chunk = ranked[start : start + CHUNK]
        chunk = chunk[alive[chunk]]
        _settle_chunk(shapes, chunk, alive, suppresses)
        kept = chunk[alive[chunk]]
        better, worse = _meeting(tree, shapes[kept])
        better = kept[better]
        # A dead feature suppresses nothing any more, and better ones have had their turn.
        later = (rank[worse] >= start + CHUNK) & alive[worse]
        better, worse = better[later], worse[later]
        alive[worse[suppresses(better, worse)]] = False
    return alive


def _settle_chunk(shapes: Geometries, chunk: Index, alive: npt.NDArray[np.bool_], suppresses: Rivals) -> None:
    first, second = _meeting(shapely.STRtree(shapes[chunk]), shapes[chunk])
    # Chunks come in rank order, so a position says which of two is better.
    ordered = first < second
    better, worse = chunk[first[ordered]], chunk[second[ordered]]
    by_rank = np.argsort(first[ordered], kind="stable")
    by_rank = by_rank[suppresses(better[by_rank], worse[by_rank])]
    for i, j in zip(better[by_rank].tolist(), worse[by_rank].tolist(), strict=True):
        if alive[i]:
            alive[j] = False


def _meeting(tree: shapely.STRtree, shapes: Geometries) -> tuple[Index, Index]:
    """Return positions in `shapes` and in the tree of what may overlap: their envelopes meet."""
    first, second = tree.query(shapes)
    return first, second


class _Features:
    """Shapes of detections and how much two of them overlap."""

    def __init__(self, detections: Detections) -> None:
        self._boxes = detections.boxes_xyxy
        self._outlined = len(detections.outlines) > 0
        shapes = shapely.make_valid(detections.outlines) if self._outlined else shapely.box(*self._boxes.T)
        self.shapes: Geometries = np.asarray(shapes, object)
        self._areas = shapely.area(self.shapes)

    def overlap(self, i: Index, j: Index) -> npt.NDArray[np.float64]:
        """Return intersection over union of pairs; 0 where neither has an area."""
        common = self._common_areas(i, j)
        union = self._areas[i] + self._areas[j] - common
        return np.divide(common, union, out=np.zeros_like(common), where=union > 0)

    def _common_areas(self, i: Index, j: Index) -> npt.NDArray[np.float64]:
        if self._outlined:
            return np.asarray(shapely.area(shapely.intersection(self.shapes[i], self.shapes[j])), np.float64)
        low = np.maximum(self._boxes[i, :2], self._boxes[j, :2])
        high = np.minimum(self._boxes[i, 2:], self._boxes[j, 2:])
        sides = np.clip(high - low, 0, None)
        return np.asarray(sides[:, 0] * sides[:, 1], np.float64)
