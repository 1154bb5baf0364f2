"""Coordinates as whole steps."""

from __future__ import annotations

import json

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.feature_query import Rows
from raster_analysis.layers.field import Field, FieldKind
from raster_analysis.layers.geopackage import GeometryKind, Layer
from raster_analysis.rest.featureset import features_document
from raster_analysis.rest.quantization import Quantization, Steps

BOUNDS = (-100.0, -100.0, 100.0, 100.0)
places = st.tuples(*[st.floats(-1e6, 1e6)] * 2)


def encode(shape: shapely.Geometry, kind: GeometryKind, steps: Steps | None) -> dict:
    layer = Layer("t", "t", (Field("OBJECTID", "fid", FieldKind.ID),), 1, "geom", kind)
    rows = Rows((), [()], more=False, shapes=np.array([shape], dtype=object))
    text = features_document(layer, rows, SpatialReference(wkid=3857), steps)
    return json.loads(text)["features"][0]["geometry"]


@given(st.lists(places, min_size=1, max_size=9), st.floats(1e-3, 1e3), st.booleans())
def test_steps_lead_back_to_within_half_a_step(points: list[tuple[float, float]], tolerance: float, top: bool) -> None:
    steps = Steps.within(BOUNDS, Quantization(tolerance, from_top=top))
    sign = -1 if top else 1
    found = encode(shapely.MultiPoint(points), "multipoint", steps)["points"]
    back = np.cumsum(found, axis=0) * (tolerance, sign * tolerance) + steps.corner
    assert np.abs(back - points).max() <= tolerance / 2 + 1e-6


def test_sets_of_points_and_points_are_written_as_they_are_without_steps() -> None:
    assert encode(shapely.MultiPoint([(1, 2), (3.5, 4)]), "multipoint", None) == {"points": [[1, 2], [3.5, 4]]}
    assert encode(shapely.Point(1, 2.5), "point", None) == {"x": 1, "y": 2.5}


def test_places_that_fall_together_are_one_and_a_line_of_one_place_is_left_out() -> None:
    steps = Steps.within(BOUNDS, Quantization(1.0))
    lines = shapely.MultiLineString([[(0, 0), (0.2, 0.2), (5, 0)], [(1, 1), (1.1, 1.1)]])
    assert encode(lines, "line", steps) == {"paths": [[[100, 100], [5, 0]]]}
    assert encode(shapely.Point(0.4, -0.4), "point", steps) == {"x": 100, "y": 100}


@given(st.floats(allow_nan=True), st.sampled_from([1e-9, 1e12]))
def test_no_number_is_too_large_to_be_counted(x: float, tolerance: float) -> None:
    found = Steps.within(BOUNDS, Quantization(tolerance)).count(np.array([[x, -x]]))
    assert np.abs(found).max() <= 2**53
