"""Rings: the area that an odd number of them surrounds. Crossings are counted first: a tangle of them takes hours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from raster_analysis.errors import InputError

MOST_RINGS = 1000
MOST_CROSSINGS = 500
"""Measured: 2000 crossings take seconds to be resolved, 20,000 hours; drawn by hand there are a few."""
_AT_ONCE = 64

Ring = Sequence[tuple[float, float]]


def area_inside(rings: Sequence[Ring]) -> BaseGeometry:
    """Return shells without holes, whatever way round each ring goes; raises InputError for too many crossings."""
    if not 0 < len(rings) <= MOST_RINGS:
        raise InputError(f"geometry has {len(rings):,} rings; want 1 to {MOST_RINGS:,}")
    polygons = np.array([shapely.Polygon(ring) for ring in rings], dtype=object)
    alone = shapely.MultiPolygon(list(polygons))
    if shapely.is_valid(alone):
        return polygons[0] if len(polygons) == 1 else alone
    _check_crossings(polygons)
    areas = np.asarray(shapely.make_valid(polygons), dtype=object)
    # In pairs, and not one after the other onto all that came before.
    while len(areas) > 1:
        odd = areas[len(areas) // 2 * 2 :]
        pairs = shapely.symmetric_difference(areas[: len(areas) - len(odd) : 2], areas[1 : len(areas) : 2])
        areas = np.concatenate([np.atleast_1d(pairs), odd])
    area: BaseGeometry = areas[0]
    return area


def _check_crossings(polygons: npt.NDArray[np.object_]) -> None:
    edges = np.concatenate([_edges(polygon) for polygon in polygons])
    tree = shapely.STRtree(edges)
    # Each edge meets itself and its two neighbours.
    found = -3 * len(edges)
    for start in range(0, len(edges), _AT_ONCE):
        found += tree.query(edges[start : start + _AT_ONCE], predicate="intersects").shape[1]
        if found > 2 * MOST_CROSSINGS:
            raise InputError(
                f"the rings of the geometry cross more than {MOST_CROSSINGS} times; give simple ones, or fewer"
            )


def _edges(polygon: BaseGeometry) -> npt.NDArray[np.object_]:
    points = shapely.get_coordinates(polygon)
    return np.asarray(shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)), dtype=object)
