from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.detections import Detections
from raster_analysis.grid import Window
from raster_analysis.inference.edges import clip_to_grid, exclude_truncated, keep_centred, move_to_grid
from raster_analysis.inference.tiles import Tile, Tiling, blocks_of, tiles_of

GRID = Window(0, 0, 300, 300)
INSIDE = Tile(1, 1, Window(90, 90, 100, 100), Window(100, 100, 80, 80))


def found(*boxes: tuple[float, float, float, float], outlined: bool = False) -> Detections:
    corners = np.array(boxes, float).reshape(-1, 4)
    outlines = np.array(shapely.box(*corners.T) if outlined else [], object)
    return Detections(corners, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int32), outlines)


def test_a_box_moves_with_its_tile() -> None:
    # dlpk 4.2: H = 100, p = 10; a box at [25,25,50,50] of tile (0,1) comes back as x 95..120, y 15..40.
    tiling = Tiling(160, 160, 100, 100, padding=10, batch_size=4)
    tile = next(t for b in blocks_of(tiling) for t in tiles_of(b, tiling) if (t.row, t.col) == (0, 1))
    moved = move_to_grid(found((25, 25, 50, 50), outlined=True), tile)
    assert moved.boxes_xyxy.tolist() == [[95, 15, 120, 40]]
    assert moved.outlines[0].bounds == (95, 15, 120, 40)


@pytest.mark.parametrize(
    "box", [(2, 40, 60, 60), (40, 1, 60, 60), (40, 40, 98, 60), (40, 40, 60, 99.5)], ids=["left", "top", "right", "low"]
)
def test_a_side_within_two_pixels_of_the_tile_is_a_truncated_object(box: tuple[float, float, float, float]) -> None:
    assert len(exclude_truncated(found(box, (2.5, 2.5, 97.5, 97.5)), INSIDE, GRID)) == 1


@pytest.mark.parametrize("padding", [0, 10])
def test_objects_at_the_edge_of_the_raster_are_not_truncated_by_their_tile(padding: int) -> None:
    read = Window(-padding, -padding, 300 + 2 * padding, 300 + 2 * padding)
    boxes = found((0, 0, 50, 50), (read.width - 50, read.width - 50, read.width, read.width))
    assert len(exclude_truncated(boxes, Tile(0, 0, read, GRID), GRID)) == 2


def test_boxes_and_outlines_are_cut_at_the_edge_of_the_raster() -> None:
    boxes = found((-5, -5, 20, 20), (290, 290, 320, 320), (310, 5, 320, 20), (10, 10, 20, 20), outlined=True)
    clipped = clip_to_grid(boxes, GRID)
    assert clipped.boxes_xyxy.tolist() == [[0, 0, 20, 20], [290, 290, 300, 300], [10, 10, 20, 20]]
    assert [outline.bounds for outline in clipped.outlines] == [tuple(box) for box in clipped.boxes_xyxy]


def test_outlines_given_are_left_as_they_are() -> None:
    boxes = found((-5, -5, 20, 20), outlined=True)
    clip_to_grid(boxes, GRID)
    assert boxes.outlines[0].bounds == (-5, -5, 20, 20)


def test_a_box_counts_where_its_centre_is() -> None:
    boxes = found((90, 90, 112, 112), (90, 90, 108, 108), (170, 150, 189, 160), (170, 150, 190, 160))
    kept = keep_centred(boxes, INSIDE, np.ones((80, 80), bool))
    assert kept.boxes_xyxy.tolist() == [[90, 90, 112, 112], [170, 150, 189, 160]]


def test_a_box_whose_centre_is_not_valid_is_dropped() -> None:
    valid = np.ones((80, 80), bool)
    valid[5, 7] = False
    boxes = found((106, 104, 109, 107), (106, 104, 108, 107), (105, 104, 111.5, 107))
    assert keep_centred(boxes, INSIDE, valid).boxes_xyxy.tolist() == [[105, 104, 111.5, 107]]


@given(data=st.data(), x=st.integers(0, 400), y=st.integers(0, 400))
def test_a_centre_belongs_to_exactly_one_tile(data, tilings, x: int, y: int) -> None:
    tiling = data.draw(tilings)
    # Quarters of a pixel: centres on edges between tiles are likely.
    centre_x, centre_y = min(x / 4, tiling.grid_width - 0.25), min(y / 4, tiling.grid_height - 0.25)
    box = found((centre_x - 3, centre_y - 2, centre_x + 3, centre_y + 2))
    tiles = [tile for block in blocks_of(tiling) for tile in tiles_of(block, tiling)]
    owners = [t for t in tiles if len(keep_centred(box, t, np.ones((t.keep.height, t.keep.width), bool)))]
    assert len(owners) == 1


def test_no_detections_are_no_problem() -> None:
    nothing = move_to_grid(exclude_truncated(Detections.empty(), INSIDE, GRID), INSIDE)
    assert len(keep_centred(clip_to_grid(nothing, GRID), INSIDE, np.ones((80, 80), bool))) == 0


def test_a_box_that_is_not_a_number_is_dropped() -> None:
    boxes = found((np.nan, 100, 120, 120), (110, 110, 120, 120))
    assert len(keep_centred(clip_to_grid(boxes, GRID), INSIDE, np.ones((80, 80), bool))) == 1
