"""Suppression over a whole output: of two features that overlap too much the weaker one goes.

Greedy by score, spatially indexed. Ties in score are settled by the order of the features, and the
order of features is that of their tiles, so that nothing depends on how the grid was cut into blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from raster_analysis.detections import Detections, concatenate
from raster_analysis.greedy import find_survivors
from raster_analysis.inference.edges import centres
from raster_analysis.inference.tiles import Tiling


def suppress(detections: Detections, max_overlap: float = 0.0, *, by_class: bool = True) -> Detections:
    """Return the features that stay, in their order, when none may overlap by more than `max_overlap`.

    First within each class, then across classes (dlpk 4.5); without `by_class` all count as one. The
    overlap is intersection over union of the outlines where there are any, else of the boxes; one
    that equals `max_overlap` is kept, so that 0 suppresses any overlap with an area.
    """
    labels = detections.labels
    if by_class:
        detections = detections.take(find_survivors(detections, max_overlap, lambda i, j: labels[i] == labels[j]))
    return detections.take(find_survivors(detections, max_overlap, lambda i, j: i != j))


def merge_blocks(parts: Sequence[Detections], tiling: Tiling, *, nms_overlap: float) -> Detections:
    """Return the detections of all blocks in the order of the tiles, with no object told by two tiles.

    Of two of one class and from different tiles that overlap by more than `nms_overlap`, the one with
    the lower score goes: the suppression that a model does within a tile, carried over its border.
    """
    found = concatenate(parts)
    tiles = _tile_numbers(found, tiling)
    order = np.argsort(tiles, kind="stable")
    found, tiles = found.take(order), tiles[order]
    labels = found.labels
    alive = find_survivors(found, nms_overlap, lambda i, j: (labels[i] == labels[j]) & (tiles[i] != tiles[j]))
    return found.take(alive)


def _tile_numbers(detections: Detections, tiling: Tiling) -> npt.NDArray[np.int64]:
    """Return for each detection the tile it came from: the one whose inner part holds its centre."""
    # Detections carry no tile number; the rule of `keep_centred` gives it back.
    inner = np.array([tiling.inner_width, tiling.inner_height], np.float64)
    cols, rows = (centres(detections) // inner).astype(np.int64).T
    return np.asarray(rows * tiling.cols + cols, np.int64)
