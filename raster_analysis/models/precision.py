"""Agreement: does reduced precision give the same answer as fp32 on real tiles?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from raster_analysis.detections import Detections
from raster_analysis.model_info import Task
from raster_analysis.models.build import LoadedModel
from raster_analysis.models.suppression import overlaps

PIXEL_AGREEMENT = 0.999
"""Share of pixels whose label must be equal (performance contract)."""
BOX_AGREEMENT = 0.99
"""Share of boxes, of either side, that must have a partner."""
_SAME_BOX = 0.9  # intersection over union of partners, a guess: rounding to bf16 moves edges by well under a pixel
_MARGIN = 0.05  # boxes this near to the threshold may come or go by rounding alone


def compare(
    reduced: LoadedModel, reference: LoadedModel, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
) -> tuple[bool, str]:
    """Return whether `reduced` may stand in for `reference`, and the finding in words."""
    if not len(tiles):
        return False, "there was no tile to compare on"
    if reduced.info.task is Task.OBJECTS:
        return _compare_boxes(reduced, reference, tiles, value_range)
    share = float((_labels(reduced, tiles, value_range) == _labels(reference, tiles, value_range)).mean())
    return share >= PIXEL_AGREEMENT, f"labels agreed with fp32 on {100 * share:.2f} % of pixels"


def _labels(
    model: LoadedModel, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
) -> npt.NDArray[np.generic]:
    result = model.classify(tiles, value_range)
    return result.argmax(axis=1) if model.engine.probabilities else result


def _compare_boxes(
    reduced: LoadedModel, reference: LoadedModel, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
) -> tuple[bool, str]:
    ours, theirs = reduced.detect(tiles, value_range), reference.detect(tiles, value_range)
    level = (reference.engine.threshold or 0) + _MARGIN
    matched, count = matched_boxes(ours, theirs, level)
    if not count:
        return False, "no object was found on the tiles to compare on"
    return matched >= BOX_AGREEMENT * count, f"{matched} of {count} boxes agreed with fp32"


def matched_boxes(ours: Sequence[Detections], theirs: Sequence[Detections], level: float) -> tuple[int, int]:
    """Return how many boxes scored above `level` have a partner on the other side, and how many there are."""
    matched = count = 0
    for a, b in zip(ours, theirs, strict=True):
        for one, other in ((a, b), (b, a)):
            strong = np.flatnonzero(one.scores > level)
            count += len(strong)
            matched += sum(_has_partner(one, int(i), other) for i in strong)
    return matched, count


def _has_partner(one: Detections, index: int, other: Detections) -> bool:
    same = other.labels == one.labels[index]
    return bool((overlaps(one.boxes_xyxy[index], other.boxes_xyxy[same]) >= _SAME_BOX).any())
