from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import CANOPY, LandCover, Picture, Scene, Window
from scene.noise import SmoothField, uniform
from scene.objects import Kind
from scene.outlines import object_boxes
from scene.relief import cast_shadow

CHUNK = 96


@cache
def scene(seed: int = 7) -> Scene:
    return Scene(seed, 0.5, chunk=CHUNK)


@cache
def big_picture() -> Picture:
    return scene().read(Window(-200, -200, 500, 500))


windows = st.builds(
    Window,
    st.integers(-200, 150),
    st.integers(-200, 150),
    st.integers(1, 150),
    st.integers(1, 150),
)


@given(windows)
@settings(max_examples=15, deadline=None)
def test_a_window_of_a_big_scene_equals_the_same_window_made_alone(window: Window) -> None:
    big = big_picture()
    alone = Scene(7, 0.5, chunk=CHUNK).read(window)
    rows = slice(window.row + 200, window.row + 200 + window.height)
    cols = slice(window.col + 200, window.col + 200 + window.width)
    np.testing.assert_array_equal(alone.pixels, big.pixels[:, rows, cols])
    np.testing.assert_array_equal(alone.labels, big.labels[rows, cols])


def test_chunks_join_without_a_seam_whatever_their_size() -> None:
    window = Window(40, -70, 200, 260)
    small, large = (Scene(11, 0.5, chunk=side).read(window) for side in (64, 512))
    assert (small.labels != large.labels).mean() < 1e-4
    difference = np.abs(small.pixels.astype(int) - large.pixels)
    assert (difference > 1).mean() < 1e-4


def test_objects_of_windows_side_by_side_are_those_of_the_whole() -> None:
    whole, shares = scene().objects(Window(0, 0, 300, 300))
    parts = [scene().objects(Window(r, c, 150, 150)) for r in (0, 150) for c in (0, 150)]
    expected = sorted(zip(whole.row, whole.col, shares, strict=True))
    found = sorted(k for objects, seen in parts for k in zip(objects.row, objects.col, seen, strict=True))
    assert found == expected
    assert len(expected) > 20


def test_seeds_give_different_scenes_and_one_seed_the_same() -> None:
    window = Window(0, 0, 100, 100)
    first, again, other = (Scene(seed, 0.5, chunk=128).read(window).pixels for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_labels_use_the_declared_classes_and_every_cell_has_one() -> None:
    values = set(np.unique(big_picture().labels))
    assert values <= set(LandCover)
    assert {LandCover.ROAD, LandCover.TREE, LandCover.OPEN, LandCover.FIELD} <= values


def test_crowns_and_buildings_lie_where_labels_say_so() -> None:
    window = Window(0, 0, 600, 600)
    labels = scene(5).read(window.pad(40)).labels
    objects, visible = scene(5).objects(window)
    for kind, cover in ((Kind.TREE, LandCover.TREE), (Kind.HOUSE, LandCover.BUILDING)):
        mine = (objects.kind == kind) & (visible > 0.9)
        assert mine.sum() >= 3
        at = labels[objects.row[mine].astype(int) + 40, objects.col[mine].astype(int) + 40]
        assert (at == cover).mean() > 0.85


def test_boxes_stay_inside_their_window_and_cover_some_cells() -> None:
    boxes, classes = object_boxes(scene(), Window(0, 0, 200, 300))
    assert len(boxes) == len(classes) > 0
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [300, 200]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize(("step_rows", "step_cols"), [(0.0, 1.0), (-0.6, 0.8), (1.0, 0.0)])
def test_the_shadow_of_a_tower_falls_away_from_the_sun_and_ends_where_the_ray_does(
    step_rows: float, step_cols: float
) -> None:
    height = np.zeros((121, 121), np.float32)
    height[60, 60] = 20.0
    shade = cast_shadow(height, step_rows, step_cols, drop=0.5, length=60)
    rows, cols = np.nonzero(shade > 0)
    along = (rows - 60) * step_rows + (cols - 60) * step_cols
    across = (cols - 60) * step_rows - (rows - 60) * step_cols
    assert 36 <= along.max() <= 41
    assert along.min() > -1
    assert np.abs(across).max() < 2


def test_the_canopy_theme_has_trees_and_no_buildings() -> None:
    labels = Scene(4, 0.2, CANOPY, chunk=256).read(Window(0, 0, 512, 512)).labels
    assert (labels == LandCover.TREE).mean() > 0.05
    assert not (labels == LandCover.BUILDING).any()


def test_a_cell_size_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cell_size 3\.0 is outside"):
        Scene(1, 3.0)


@given(st.integers(0, 2**31), st.floats(10, 500), windows)
@settings(max_examples=30, deadline=None)
def test_a_smooth_field_has_one_value_for_points_and_grids(seed: int, pitch: float, window: Window) -> None:
    field = SmoothField(seed, 1, pitch)
    rows, cols = np.meshgrid(
        window.row + np.arange(window.height) + 0.5, window.col + np.arange(window.width) + 0.5, indexing="ij"
    )
    np.testing.assert_allclose(field.grid(window), field.at(rows, cols), atol=1e-4)


def test_hashes_are_spread_evenly() -> None:
    i, j = np.meshgrid(np.arange(-200, 200), np.arange(-200, 200))
    values = uniform(1, 2, i, j)
    counts, _ = np.histogram(values, bins=20, range=(0, 1))
    assert abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 0.02
    assert counts.min() > 0.95 * values.size / 20
