from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine

from raster_analysis.detections import Detections
from raster_analysis.inference.polygons import to_map

NORTH_UP = Affine(0.5, 0, 1000, 0, -0.5, 2000)
TRANSFORMS = [NORTH_UP, Affine(2, 0, 0, 0, 2, 0), NORTH_UP @ Affine.rotation(30)]


def found(boxes, outlines=()) -> Detections:
    corners = np.array(boxes, float).reshape(-1, 4)
    count = len(corners)
    return Detections(corners, np.ones(count, np.float32), np.zeros(count, np.int32), np.array(outlines, object))


def test_a_box_lies_where_its_pixels_lie() -> None:
    (polygon,) = to_map(found([(10, 20, 30, 60)]), NORTH_UP)
    assert polygon.bounds == (1005, 1970, 1015, 1990)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=["north up", "south up", "rotated"])
def test_corners_map_to_corners_counter_clockwise(transform: Affine) -> None:
    (polygon,) = to_map(found([(1, 2, 5, 4)]), transform)
    expected = {transform @ corner for corner in [(1, 2), (1, 4), (5, 4), (5, 2)]}
    assert {(round(x, 9), round(y, 9)) for x, y in polygon.exterior.coords} == {
        (round(x, 9), round(y, 9)) for x, y in expected
    }
    assert polygon.exterior.is_ccw
    assert polygon.area == pytest.approx(8 * abs(transform.determinant))


@pytest.mark.parametrize("transform", TRANSFORMS, ids=["north up", "south up", "rotated"])
def test_outlines_keep_their_holes_and_area(transform: Affine) -> None:
    ring = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    (polygon,) = to_map(found([(0, 0, 10, 10)], [ring]), transform)
    assert polygon.area == pytest.approx(96 * abs(transform.determinant))
    assert polygon.exterior.is_ccw
    assert not polygon.interiors[0].is_ccw


def test_an_outline_that_crosses_itself_becomes_valid() -> None:
    bowtie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    (polygon,) = to_map(found([(0, 0, 10, 10)], [bowtie]), NORTH_UP)
    assert polygon.is_valid
    assert polygon.geom_type == "MultiPolygon"
    assert polygon.area == pytest.approx(50 * 0.25)


def test_an_outline_without_area_gives_way_to_its_box() -> None:
    flat = shapely.Polygon([(0, 0), (10, 10), (5, 5)])
    (polygon,) = to_map(found([(0, 0, 10, 10)], [flat]), NORTH_UP)
    assert polygon.area == pytest.approx(25)


def test_no_detections_are_no_polygons() -> None:
    assert len(to_map(Detections.empty(), NORTH_UP)) == 0
