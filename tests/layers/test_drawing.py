from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import shapely

from raster_analysis.layers.drawing import MOST_FEATURES, Canvas, draw_svg

SVG = "{http://www.w3.org/2000/svg}"
RED = (255, 0, 0)


def draw(*shapes: shapely.Geometry, canvas: Canvas | None = None) -> ET.Element:
    canvas = canvas or Canvas((0, 0, 100, 50), 100, 200)
    return ET.fromstring(draw_svg(np.array(shapes, dtype=object), [RED] * len(shapes), canvas))


def points_of(path: ET.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", path.attrib["d"])]


def test_map_north_is_up_and_the_scale_is_that_of_the_canvas() -> None:
    (path,) = draw(shapely.box(10, 40, 20, 50)).findall(f"{SVG}path")
    assert set(points_of(path)) == {(20, 0), (40, 0), (40, 20), (20, 20)}
    assert path.attrib["stroke"] == "#ff0000"


def test_holes_stay_open() -> None:
    ring = shapely.box(10, 10, 40, 40) - shapely.box(20, 20, 30, 30)
    (path,) = draw(ring).findall(f"{SVG}path")
    assert path.attrib["d"].count("M") == 2
    assert path.attrib["fill-rule"] == "evenodd"


def test_points_are_circles_and_lines_have_no_inside() -> None:
    drawing = draw(shapely.Point(50, 25), shapely.LineString([(0, 0), (100, 50)]))
    (circle,) = drawing.findall(f"{SVG}circle")
    assert (circle.attrib["cx"], circle.attrib["cy"]) == ("100.0", "50.0")
    (line,) = drawing.findall(f"{SVG}path")
    assert line.attrib["fill"] == "none"
    assert not line.attrib["d"].endswith("Z")


def test_what_is_missing_or_empty_is_left_out() -> None:
    assert len(draw(None, shapely.Polygon())) == 0


def test_of_too_many_features_the_largest_are_drawn() -> None:
    dots = [shapely.box(x, 0, x + 0.001, 0.001) for x in np.linspace(0, 99, MOST_FEATURES)]
    drawing = draw(*dots, shapely.box(0, 0, 90, 45))
    paths = drawing.findall(f"{SVG}path")
    assert len(paths) == MOST_FEATURES
    assert (180.0, 10.0) in points_of(paths[0])


@pytest.mark.parametrize("bounds", [(0, 0, 0, 0), (5, 5, 5, 9), (0, 0, 1000, 1)])
def test_a_canvas_holds_any_bounds(bounds: tuple[float, float, float, float]) -> None:
    canvas = Canvas.around(bounds, 300)
    assert max(canvas.height, canvas.width) == 300
    assert canvas.bounds[0] < bounds[0]
    assert canvas.bounds[3] > bounds[3]
