from __future__ import annotations

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.grid import Grid, Window

PLACES = {
    "north up": Affine(2, 0, 100, 0, -2, 500),
    "south up": Affine(2, 0, 100, 0, 2, 500),
    "mirrored": Affine(-2, 0, 100, 0, -2, 500),
    "turned by 90 degrees": Affine(0, 2, 100, 2, 0, 500),
    "turned": Affine.translation(100, 500) @ Affine.rotation(30) @ Affine.scale(2, -3),
}


@st.composite
def windows(draw: st.DrawFn) -> Window:
    row, col = draw(st.integers(-20, 60)), draw(st.integers(-20, 60))
    return Window(row, col, draw(st.integers(1, 30)), draw(st.integers(1, 30)))


@pytest.mark.parametrize("place", PLACES)
@given(window=windows())
def test_the_window_of_a_crop_s_bounds_holds_the_crop(place: str, window: Window) -> None:
    grid = Grid("crs", PLACES[place], 40, 50)
    inside = window.intersect(grid.window)
    found = grid.window_of(grid.crop(window).bounds_xyxy)
    assert found.intersect(inside) == inside or not inside.size
    if place != "turned":
        assert found == inside or not inside.size


@pytest.mark.parametrize("place", PLACES)
@given(window=windows())
def test_a_crop_keeps_every_pixel_in_its_place(place: str, window: Window) -> None:
    grid = Grid("crs", PLACES[place], 40, 50)
    moved = grid.crop(window).transform @ (3, 4)
    assert moved == pytest.approx(grid.transform @ (window.col + 3, window.row + 4))


@given(window=windows(), height=st.integers(1, 12), width=st.integers(1, 12))
def test_parts_of_a_window_cover_each_pixel_once(window: Window, height: int, width: int) -> None:
    parts = list(window.split(height, width))
    assert sum(part.size for part in parts) == window.size
    assert all(part.intersect(window) == part and part.size for part in parts)


def test_bounds_a_hair_off_a_cell_edge_count_as_on_it() -> None:
    grid = Grid("crs", PLACES["north up"], 40, 50)
    assert grid.window_of((100 - 1e-7, 498 - 1e-7, 102 + 1e-7, 500 + 1e-7)) == Window(0, 0, 1, 1)


@pytest.mark.parametrize("transform", [Affine(0, 0, 1, 0, -1, 1), Affine(1, 0, float("nan"), 0, -1, 1)])
def test_a_grid_needs_cells_with_an_area(transform: Affine) -> None:
    with pytest.raises(ValueError, match="maps no area"):
        Grid("crs", transform, 1, 1)
