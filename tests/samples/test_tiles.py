from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tiles import Sample, crop, punch_hole, turn, vary_colors

SIDE = 40


def sample_with_box(x0: int, y0: int, x1: int, y1: int) -> Sample:
    pixels = np.full((3, SIDE, SIDE), 10, np.uint8)
    pixels[:, y0:y1, x0:x1] = 200
    labels = np.where(pixels[0] > 100, 4, 6).astype(np.uint8)
    return Sample(pixels, labels, np.array([[x0, y0, x1, y1]], float), np.array([0]))


def bright_box(pixels: np.ndarray) -> list[float]:
    rows, cols = np.nonzero(pixels[0] > 100)
    return [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


spans = st.tuples(st.integers(0, SIDE - 8), st.integers(1, 7)).map(lambda span: (span[0], sum(span)))


@given(spans, spans, st.integers(0, 7))
def test_boxes_and_labels_follow_the_pixels_through_every_turn(
    x: tuple[int, int], y: tuple[int, int], way: int
) -> None:
    turned = turn(sample_with_box(x[0], y[0], x[1], y[1]), way)
    assert turned.boxes[0].tolist() == bright_box(turned.pixels)
    np.testing.assert_array_equal(turned.labels == 4, turned.pixels[0] > 100)


@given(spans, spans, st.integers(0, 20), st.integers(0, 20))
def test_boxes_follow_the_pixels_into_a_crop(x: tuple[int, int], y: tuple[int, int], row: int, col: int) -> None:
    cut = crop(sample_with_box(x[0], y[0], x[1], y[1]), row, col, 20)
    middle = np.array([sum(x) / 2 - col, sum(y) / 2 - row])
    assert len(cut.boxes) == int(((middle >= 0) & (middle < 20)).all())
    if len(cut.boxes):
        assert cut.boxes[0].clip(0, 20).tolist() == bright_box(cut.pixels)


def test_without_strength_colours_stay() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8)).astype(np.uint8)
    varied = vary_colors(pixels, np.random.default_rng(1), 0.0)
    assert np.abs(varied.astype(int) - pixels).max() <= 1


def test_a_hole_is_blank_in_picture_and_labels() -> None:
    holed = punch_hole(sample_with_box(5, 5, 20, 20), np.random.default_rng(2))
    blank = holed.labels == 0
    assert 0 < blank.sum() < blank.size
    assert (holed.pixels[:, blank] == 0).all()
