"""Which detections of a tile count. Small pure functions; boxes are x1, y1, x2, y2 in pixels.

The rules follow what users of Esri's detectors know (dlpk 4.4), with one difference: a box whose
centre lies in the padding is dropped, not kept at a lowered score, so that the set of detections
follows from the tile grid alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from raster_analysis.detections import Detections
from raster_analysis.grid import Window
from raster_analysis.inference.tiles import Tile

TRUNCATED_PX = 2.0
"""A side this close to the border of its tile belongs to an object that is cut off there (dlpk 4.4)."""


def exclude_truncated(detections: Detections, tile: Tile, grid: Window) -> Detections:
    """Drop boxes, in pixels of the tile, with a side at the tile's border.

    A border at or beyond the raster's edge cuts nothing off, so boxes there stay.
    """
    x1, y1, x2, y2 = detections.boxes_xyxy.T
    read = tile.read
    truncated = (
        ((x1 <= TRUNCATED_PX) & (read.col > grid.col))
        | ((y1 <= TRUNCATED_PX) & (read.row > grid.row))
        | ((x2 >= read.width - TRUNCATED_PX) & (read.col + read.width < grid.col + grid.width))
        | ((y2 >= read.height - TRUNCATED_PX) & (read.row + read.height < grid.row + grid.height))
    )
    return detections.take(~truncated)


def move_to_grid(detections: Detections, tile: Tile) -> Detections:
    """Return detections of a tile in pixels of the grid."""
    offset = np.array([tile.read.col, tile.read.row], np.float64)
    outlines = shapely.transform(detections.outlines, lambda xy: xy + offset)
    return Detections(detections.boxes_xyxy + np.tile(offset, 2), detections.scores, detections.labels, outlines)


def clip_to_grid(detections: Detections, grid: Window) -> Detections:
    """Cut boxes and outlines at the raster's edges; drop what lies outside or has no area."""
    left, top, right, bottom = grid.col, grid.row, grid.col + grid.width, grid.row + grid.height
    # Networks see zeros beyond the raster and sometimes let a box reach into them.
    boxes = np.clip(detections.boxes_xyxy, (left, top, left, top), (right, bottom, right, bottom))
    outlines = detections.outlines.copy()
    if len(outlines):
        beyond = (boxes != detections.boxes_xyxy).any(axis=1)
        outlines[beyond] = shapely.intersection(
            shapely.make_valid(outlines[beyond]), shapely.box(left, top, right, bottom)
        )
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return Detections(boxes, detections.scores, detections.labels, outlines).take(solid)


def keep_centred(detections: Detections, tile: Tile, valid: npt.NDArray[np.bool_]) -> Detections:
    """Keep boxes, in pixels of the grid, whose centre lies on a valid pixel of the tile's `keep` window.

    A centre on the edge between two tiles belongs to the right or lower one, so to one of them.
    """
    # Not a number compares as false, so such boxes fall out here before anything is cast.
    cols, rows = np.floor(centres(detections)).T
    keep = tile.keep
    inside = (rows >= keep.row) & (rows < keep.row + keep.height) & (cols >= keep.col) & (cols < keep.col + keep.width)
    row, col = (rows[inside] - keep.row).astype(np.intp), (cols[inside] - keep.col).astype(np.intp)
    inside[inside] = valid[row, col]
    return detections.take(inside)


def centres(detections: Detections) -> npt.NDArray[np.float64]:
    """Return the middle of each box, `(n, 2)` as x, y."""
    boxes = detections.boxes_xyxy
    return (boxes[:, :2] + boxes[:, 2:]) / 2
