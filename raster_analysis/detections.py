"""Detections: boxes, scores, labels and, for instance models, outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


def _no_outlines() -> npt.NDArray[np.object_]:
    return np.empty(0, dtype=object)


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects found, in pixel coordinates: x to the right, y down, (0, 0) the outer top-left corner.

    `boxes_xyxy` is `(n, 4)` float64; `scores` is `(n,)` float32 in 0..1; `labels` is `(n,)` int32
    and counts from 0: the position in the model's `Classes`. `outlines` is `(n,)` shapely polygons
    or multipolygons in the same coordinates, or of length 0 when the boxes are all there is.
    """

    boxes_xyxy: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    outlines: npt.NDArray[np.object_] = field(default_factory=_no_outlines)

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes_xyxy.shape != (count, 4) or len(self.labels) != count or len(self.outlines) not in (0, count):
            raise ValueError(
                f"{self.boxes_xyxy.shape} boxes, {count} scores, {len(self.labels)} labels and "
                f"{len(self.outlines)} outlines are not one set of detections"
            )

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls) -> Detections:
        """Return the detections of a tile where nothing was found."""
        return cls(np.empty((0, 4)), np.empty(0, np.float32), np.empty(0, np.int32))

    def take(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Detections:
        """Return the detections at `index` (positions or a boolean choice), in that order."""
        outlines = self.outlines[index] if len(self.outlines) else self.outlines
        return Detections(self.boxes_xyxy[index], self.scores[index], self.labels[index], outlines)


def concatenate(parts: Sequence[Detections]) -> Detections:
    """Return all detections of `parts`, in order. Either all that are not empty have outlines, or none."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return Detections.empty()
    return Detections(
        np.concatenate([part.boxes_xyxy for part in filled]),
        np.concatenate([part.scores for part in filled]),
        np.concatenate([part.labels for part in filled]),
        np.concatenate([part.outlines for part in filled]),
    )
