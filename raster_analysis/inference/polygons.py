"""Polygons: detections in pixels become features in map coordinates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pyproj import Transformer

from raster_analysis.detections import Detections

Geometries = npt.NDArray[np.object_]


def to_map(detections: Detections, transform: Affine) -> Geometries:
    """Return a valid polygon or multipolygon for each detection, outer rings counter-clockwise (RFC 7946).

    Outlines where there are any, else boxes; so is an outline that has no area left once it is valid.
    A box on a rotated grid becomes a rotated rectangle.
    """
    corners = _to_map(_corners(detections.boxes_xyxy), transform)
    polygons: Geometries = np.asarray(shapely.polygons(corners), object)
    if len(detections.outlines):
        outlines = shapely.transform(detections.outlines, lambda xy: _to_map(xy, transform))
        outlines = _solid(np.asarray(outlines, object))
        polygons = np.where(shapely.area(outlines) > 0, outlines, polygons)
    return np.asarray(shapely.orient_polygons(polygons), object)


def reproject(geometries: Geometries, source: str | None, target: str | None) -> Geometries:
    """Return geometries in another coordinate reference system (WKT), vertex by vertex."""
    if source == target or source is None or target is None or not len(geometries):
        return geometries
    transformer = Transformer.from_crs(source, target, always_xy=True)
    moved = shapely.transform(geometries, lambda points: np.column_stack(transformer.transform(*points.T)))
    return np.asarray(moved, object)


def _corners(boxes_xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return closed rings `(n, 5, 2)` in pixels."""
    return boxes_xyxy[:, [0, 1, 0, 3, 2, 3, 2, 1, 0, 1]].reshape(-1, 5, 2)


def _to_map(points: npt.NDArray[np.float64], transform: Affine) -> npt.NDArray[np.float64]:
    x, y = points[..., 0], points[..., 1]
    a, b, c, d, e, f = tuple(transform)[:6]
    return np.stack((a * x + b * y + c, d * x + e * y + f), axis=-1)


def _solid(outlines: Geometries) -> Geometries:
    """Return outlines made valid, without the lines and points that this may leave."""
    # Traced outlines may touch themselves; making only those valid keeps the others as they were traced.
    mended = outlines.copy()
    broken = ~shapely.is_valid(outlines)
    mended[broken] = shapely.make_valid(outlines[broken], method="structure", keep_collapsed=False)
    return mended
