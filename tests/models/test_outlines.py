from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raster_analysis.models.outlines import outline_mask


@settings(deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_an_outline_holds_exactly_the_pixels_of_its_mask(mask):
    outline = outline_mask(mask)
    assert outline.is_valid
    rows, cols = np.mgrid[: mask.shape[0], : mask.shape[1]]
    inside = shapely.contains_xy(outline, cols + 0.5, rows + 0.5)
    np.testing.assert_array_equal(inside, mask)
    assert outline.area == mask.sum()


def test_straight_edges_have_no_points_between_their_ends():
    mask = np.zeros((6, 7), bool)
    mask[1:5, 2:6] = True
    mask[3, 2] = False
    outline = outline_mask(mask)
    assert len(outline.exterior.coords) - 1 == 8
    assert outline.bounds == (2, 1, 6, 5)


def test_a_mask_without_pixels_has_an_empty_outline():
    assert outline_mask(np.zeros((3, 3), bool)).is_empty
