"""Mask polygons: from a file, GeoJSON or Esri JSON to one area in a grid's CRS, and from it to pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from pydantic import JsonValue
from pyproj import Transformer
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from raster_analysis.errors import InputError, NoOverlap, RasterError
from raster_analysis.grid import Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import DataReference
from raster_analysis.rasters.polygons import read_polygons, read_polygons_of
from raster_analysis.rasters.view import describe_bounds

_EDGE_PARTS = 200
"""Edges are split to this part of the mask's size before they are projected, as straight lines bend."""


def read_mask_area(source: Handle | DataReference | dict[str, JsonValue] | None, crs: str) -> BaseGeometry | None:
    """Return the mask's polygons as one valid area in `crs`, None when there is no mask.

    Polygons that cross themselves are mended with the even-odd rule.

    Raises:
        InputError: it holds no polygons, or their coordinate system is unknown.
    """
    if source is None:
        return None
    if isinstance(source, DataReference):
        raise InputError("the context's mask refers to a layer that was not resolved")
    polygons, polygons_crs = read_polygons(source) if isinstance(source, Handle) else read_polygons_of(source)
    area = shapely.union_all(shapely.make_valid(polygons))
    return _project(area, polygons_crs, crs) if polygons_crs != crs else area


def clip_mask(area: BaseGeometry, grid: Grid, title: str) -> str:
    """Return the mask as WKT, cut one cell outside the grid, where it changes no pixel.

    Raises:
        RasterError: no part of the grid is inside the mask.
    """
    # Cut a cell outside: an edge of the cut must not run through pixels that are asked for.
    around = grid.crop(grid.window.pad(1))
    corners = [(0, 0), (around.width, 0), (around.width, around.height), (0, around.height)]
    frame = shapely.Polygon([around.transform @ corner for corner in corners])
    if not area.intersects(frame):
        raise NoOverlap(
            f"the mask, which spans {describe_bounds(area.bounds)}, covers no part of raster {title!r}, "
            f"whose processing extent is {describe_bounds(grid.bounds_xyxy)}"
        )
    return str(shapely.to_wkt(shapely.intersection(area, frame), rounding_precision=-1))


def _project(area: BaseGeometry, source: str, target: str) -> BaseGeometry:
    xmin, ymin, xmax, ymax = area.bounds
    fine = shapely.segmentize(area, max(xmax - xmin, ymax - ymin) / _EDGE_PARTS)
    transformer = Transformer.from_crs(source, target, always_xy=True)
    moved = shapely.transform(fine, lambda points: np.column_stack(transformer.transform(*points.T)))
    if not np.isfinite(moved.bounds).all():
        raise RasterError(
            f"the mask, which spans {describe_bounds(area.bounds)}, has no counterpart in the processing "
            "coordinate system; cut it to the raster's surroundings"
        )
    return shapely.make_valid(moved)


class PolygonMask:
    """Polygons as a mask: True where a pixel's centre is inside.

    They are kept in pixels of the view's grid, where windows differ by whole numbers: a pixel is in or
    out whatever window it is read through.
    """

    def __init__(self, wkt: str, grid: Grid) -> None:
        self._area: BaseGeometry = shapely.transform(
            shapely.from_wkt(wkt), lambda points: np.column_stack((~grid.transform) @ tuple(points.T))
        )
        shapely.prepare(self._area)

    def read(self, window: Window) -> npt.NDArray[np.bool_]:
        """Return the mask of a window, `(rows, cols)`."""
        shape = (window.height, window.width)
        frame = shapely.box(window.col, window.row, window.col + window.width, window.row + window.height)
        if self._area.contains(frame):
            return np.ones(shape, np.bool_)
        if not window.size or self._area.disjoint(frame):
            return np.zeros(shape, np.bool_)
        origin = Affine.translation(window.col, window.row)
        burnt: npt.NDArray[np.uint8] = rasterize([self._area], out_shape=shape, transform=origin, dtype="uint8")
        return burnt.astype(np.bool_)
