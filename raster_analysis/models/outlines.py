"""Outlines of masks: the exact edges of their pixels as polygons."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import shapely


def outline_mask(mask: npt.NDArray[np.bool_]) -> shapely.Polygon | shapely.MultiPolygon:
    """Return the area of a mask `(rows, cols)` in pixel coordinates, (0, 0) the outer top-left corner; empty if none.

    The union of boxes, one for each run of pixels; equal runs in neighbouring rows are one box.
    """
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded, axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    if not len(rows):
        return shapely.Polygon()
    area = shapely.union_all(shapely.box(*_merge_equal_runs(rows, starts, stops)))
    # Tolerance 0 takes away only the points between rows that lie on a straight edge.
    return cast(shapely.Polygon | shapely.MultiPolygon, shapely.simplify(area, 0))


def _merge_equal_runs(
    rows: npt.NDArray[np.intp], starts: npt.NDArray[np.intp], stops: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return boxes as columns xmin, ymin, xmax, ymax."""
    order = np.lexsort((rows, stops, starts))
    rows, starts, stops = rows[order], starts[order], stops[order]
    first = np.ones(len(rows), np.bool_)
    first[1:] = (np.diff(rows) != 1) | (np.diff(starts) != 0) | (np.diff(stops) != 0)
    last = np.append(first[1:], True)
    return np.stack([starts[first], rows[first], stops[first], rows[last] + 1])
