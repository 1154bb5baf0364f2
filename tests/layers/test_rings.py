"""Rings to areas: holes, crossings, and what would keep the server busy for hours."""

from __future__ import annotations

import math
import random

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.errors import InputError
from raster_analysis.layers.rings import MOST_RINGS, area_inside
from raster_analysis.rest.feature_geometry import read_geometry

_POINT = st.tuples(st.integers(0, 12), st.integers(0, 12))
_RINGS = st.lists(st.lists(_POINT, min_size=3, max_size=6), min_size=1, max_size=5)


def _circle(x: float, y: float, radius: float, count: int) -> list[tuple[float, float]]:
    angles = [2 * math.pi * step / count for step in range(count)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def _one_after_the_other(rings: list[list[tuple[int, int]]]) -> shapely.Geometry:
    area = shapely.make_valid(shapely.Polygon(rings[0]))
    for ring in rings[1:]:
        area = shapely.symmetric_difference(area, shapely.make_valid(shapely.Polygon(ring)))
    return area


@settings(max_examples=200, deadline=None)
@given(_RINGS)
def test_what_an_odd_number_of_rings_surrounds_is_inside(rings: list[list[tuple[int, int]]]) -> None:
    area = area_inside(rings)

    assert shapely.is_valid(area)
    assert shapely.area(shapely.symmetric_difference(area, _one_after_the_other(rings))) < 1e-6


def test_a_ring_drawn_by_hand_may_cross_itself() -> None:
    ring = _circle(0, 0, 1000, 5000)
    for place in range(50, 5000, 150):
        ring[place], ring[place + 1] = ring[place + 1], ring[place]

    assert area_inside([ring]).area == pytest.approx(math.pi * 1000**2, rel=1e-3)


def test_hundreds_of_holes_are_an_area() -> None:
    holes = [_circle(place % 20 * 30 - 300, place // 20 * 30 - 300, 10, 20) for place in range(400)]

    assert area_inside([_circle(0, 0, 1000, 1000), *holes]).area < math.pi * 1000**2 - 400 * 300


@pytest.mark.parametrize("count", [400, 20_000])
def test_a_tangle_is_refused_before_it_is_resolved(count: int) -> None:
    dice = random.Random(1)
    points = [[dice.randrange(1000), dice.randrange(1000)] for _ in range(count)]

    with pytest.raises(InputError, match="cross more than"):
        read_geometry(f'{{"rings": [{points}]}}', "esriGeometryPolygon")


def test_too_many_rings_are_refused() -> None:
    with pytest.raises(InputError, match="1,001 rings"):
        area_inside([[(0, 0), (1, 0), (0, 1)]] * (MOST_RINGS + 1))
