"""Crops against cutting from the whole array."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.grid import Window
from raster_analysis.inference.crops import Crop, CropRules, crop_window, own_window, read_crops, resize
from raster_analysis.inference.in_memory import ArrayReader

FIXED = CropRules(8, 6, fixed=True, blacken=False)
FREE = CropRules(8, 6, fixed=False, blacken=False)
DATA = np.random.default_rng(2).integers(1, 255, (2, 40, 50), np.uint8)


def cut(window: Window) -> np.ndarray:
    padded = np.pad(DATA, ((0, 0), (60, 60), (60, 60)))
    return padded[
        :, window.row + 60 : window.row + 60 + window.height, window.col + 60 : window.col + 60 + window.width
    ]


bounds = st.tuples(st.floats(-5, 50), st.floats(-5, 40), st.floats(0, 20), st.floats(0, 20)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(bounds, max_size=20), st.integers(1, 7))
def test_batches_hold_what_the_whole_array_has_there(boxes: list[tuple[float, ...]], size: int) -> None:
    crops = [Crop(box) for box in boxes]  # type: ignore[arg-type]
    found: dict[int, np.ndarray] = {}
    for batch in read_crops(ArrayReader(DATA), crops, FIXED, size):
        assert len(batch.places) == len(batch.data) <= size
        found |= dict(zip(batch.places, batch.data, strict=True))
    assert list(found) == sorted(found)
    for place, crop in enumerate(crops):
        inside = own_window(crop.bounds_xyxy).intersect(crop_window(crop.bounds_xyxy, FIXED))
        assert (place in found) == bool(inside.intersect(Window(0, 0, 40, 50)).size)
        if place in found:
            np.testing.assert_array_equal(found[place], cut(crop_window(crop.bounds_xyxy, FIXED)))


@given(bounds)
def test_a_window_is_never_larger_than_the_model_wants_and_lies_on_its_feature(box: tuple[float, ...]) -> None:
    fixed, free = (crop_window(box, rules) for rules in (FIXED, FREE))  # type: ignore[arg-type]
    assert (fixed.height, fixed.width) == (8, 6)
    assert 1 <= free.height <= 8
    assert 1 <= free.width <= 6
    middle = ((box[1] + box[3]) / 2, (box[0] + box[2]) / 2)
    assert fixed.row - 0.51 <= middle[0] - 4 <= fixed.row + 0.51
    assert fixed.col - 0.51 <= middle[1] - 3 <= fixed.col + 0.51


def test_pixels_outside_of_a_polygon_are_blackened_by_their_middles() -> None:
    shape = shapely.Polygon([(10, 10), (13, 10), (10, 13)])
    rules = CropRules(3, 3, fixed=False, blacken=True)
    (batch,) = read_crops(ArrayReader(DATA), [Crop((10, 10, 13, 13), shape)], rules, 4)
    kept = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(batch.data[0], DATA[:, 10:13, 10:13] * kept)


def test_crops_without_a_valid_pixel_are_left_out() -> None:
    mask = np.ones((40, 50), np.bool_)
    mask[:20] = False
    crops = [Crop((5, 5, 8, 8)), Crop((5, 18, 8, 22))]
    (batch,) = read_crops(ArrayReader(DATA, mask), crops, FIXED, 4)
    assert batch.places == (1,)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_enlarging_keeps_constants_and_extremes(dtype: str) -> None:
    constant = np.full((1, 3, 2), 7, dtype)
    np.testing.assert_array_equal(resize(constant, 9, 8), np.full((1, 9, 8), 7, dtype))
    ramp = np.array([[[0, 100]]], dtype)
    assert resize(ramp, 1, 4)[0, 0].tolist() == [0, 25, 75, 100]
