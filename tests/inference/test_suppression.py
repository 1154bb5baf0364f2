from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis import greedy
from raster_analysis.detections import Detections
from raster_analysis.inference.suppression import merge_blocks, suppress
from raster_analysis.inference.tiles import Tiling

TILING = Tiling(100, 100, 30, 30, padding=5, batch_size=1)


def features(boxes, scores, labels, *, outlined: bool = False) -> Detections:
    corners = np.array(boxes, float).reshape(-1, 4)
    outlines = np.array(shapely.box(*corners.T) if outlined else [], object)
    return Detections(corners, np.array(scores, np.float32), np.array(labels, np.int32), outlines)


@st.composite
def many(draw: st.DrawFn) -> Detections:
    count = draw(st.integers(0, 40))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    corners = random.integers(0, draw(st.integers(2, 60)), (count, 2))
    boxes = np.hstack((corners, corners + random.integers(1, 12, (count, 2))))
    # Few different scores: ties are the rule.
    scores, labels = random.integers(1, 5, count) / 8, random.integers(0, 3, count)
    return features(boxes, scores, labels, outlined=draw(st.booleans()))


def ratio(one: np.ndarray, other: np.ndarray) -> float:
    """The oracle's intersection over union, from whole pixels."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return common / (areas - common)


def oracle(found: Detections, limit: float, rivals) -> list[int]:
    """Return who stays, by comparing each with each."""
    kept: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: (-found.scores[i], i)):
        boxes = found.boxes_xyxy
        if not any(rivals(i, j) and ratio(boxes[i], boxes[j]) > limit for j in kept):
            kept.append(i)
    return sorted(kept)


def same(left: Detections, right: Detections) -> bool:
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in ("boxes_xyxy", "scores", "labels"))


@settings(deadline=None)
@given(found=many(), limit=st.sampled_from([0, 0.1, 0.25, 0.5, 0.9, 1]), by_class=st.booleans())
@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_what_stays_is_what_comparing_all_pairs_leaves(
    monkeypatch_session, chunk: int, found: Detections, limit: float, by_class: bool
) -> None:
    monkeypatch_session.setattr(greedy, "CHUNK", chunk)
    left = found
    if by_class:
        left = left.take(np.array(oracle(left, limit, lambda i, j: found.labels[i] == found.labels[j]), np.intp))
    left = left.take(np.array(oracle(left, limit, lambda i, j: True), np.intp))
    assert same(suppress(found, limit, by_class=by_class), left)


@pytest.fixture(scope="session")
def monkeypatch_session():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_classes_are_settled_first_then_all_together() -> None:
    # Of class 0 the first removes the second, which therefore cannot remove the third, of class 1.
    found = features([(0, 0, 10, 10), (6, 0, 16, 10), (14, 0, 24, 10)], [0.9, 0.8, 0.7], [0, 0, 1])
    assert suppress(found).boxes_xyxy[:, 0].tolist() == [0, 14]


def test_an_overlap_that_equals_the_limit_stays() -> None:
    found = features([(0, 0, 10, 10), (5, 0, 15, 10)], [0.9, 0.8], [0, 0])
    assert len(suppress(found, 1 / 3)) == 2
    assert len(suppress(found, 0.33)) == 1


def test_touching_is_no_overlap() -> None:
    assert len(suppress(features([(0, 0, 10, 10), (10, 0, 20, 10)], [0.9, 0.8], [0, 0]), 0)) == 2


def test_of_equal_scores_the_first_stays() -> None:
    found = features([(0, 0, 10, 10), (1, 0, 11, 10)], [0.5, 0.5], [0, 1])
    assert suppress(found).boxes_xyxy.tolist() == [[0, 0, 10, 10]]


def test_outlines_decide_where_boxes_overlap_and_shapes_do_not() -> None:
    boxes = features([(0, 0, 10, 10), (0, 0, 10, 10)], [0.9, 0.8], [0, 0])
    halves = np.array([shapely.Polygon([(0, 0), (10, 0), (0, 10)]), shapely.Polygon([(10, 10), (10, 0), (0, 10)])])
    outlined = Detections(boxes.boxes_xyxy, boxes.scores, boxes.labels, halves.astype(object))
    assert len(suppress(boxes)) == 1
    assert len(suppress(outlined)) == 2


def test_an_outline_that_crosses_itself_is_no_problem() -> None:
    bowtie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    boxes = features([(0, 0, 10, 10), (0, 0, 10, 10)], [0.9, 0.8], [0, 0])
    outlined = Detections(boxes.boxes_xyxy, boxes.scores, boxes.labels, np.array([bowtie, bowtie], object))
    assert len(suppress(outlined)) == 1


def test_an_object_told_by_two_tiles_stays_once() -> None:
    # The edge between the first two tiles is at 20: one centre lies left of it, one right.
    found = features([(14, 5, 25.8, 15), (14, 5, 26.2, 15)], [0.8, 0.9], [0, 0])
    assert merge_blocks([found], TILING, nms_overlap=0.1).boxes_xyxy.tolist() == [[14, 5, 26.2, 15]]


def test_what_one_tile_tells_is_left_to_its_model() -> None:
    found = features([(2, 2, 12, 12), (3, 2, 13, 12)], [0.8, 0.9], [0, 0])
    assert len(merge_blocks([found], TILING, nms_overlap=0.1)) == 2


def test_objects_of_two_classes_do_not_remove_each_other_at_borders() -> None:
    found = features([(14, 5, 25.8, 15), (14, 5, 26.2, 15)], [0.8, 0.9], [0, 1])
    assert len(merge_blocks([found], TILING, nms_overlap=0.1)) == 2


def test_blocks_merge_to_the_order_of_tiles() -> None:
    left = features([(1, 1, 3, 3), (1, 41, 3, 43)], [0.5, 0.6], [0, 0])
    right = features([(41, 1, 43, 3), (45, 1, 47, 3)], [0.7, 0.8], [0, 0])
    merged = merge_blocks([left, right], TILING, nms_overlap=0.1)
    assert merged.scores.round(1).tolist() == pytest.approx([0.5, 0.7, 0.8, 0.6])
    assert same(merged, merge_blocks([right, left], TILING, nms_overlap=0.1))


def test_nothing_merges_to_nothing() -> None:
    assert len(merge_blocks([Detections.empty(), Detections.empty()], TILING, nms_overlap=0.1)) == 0
    assert len(suppress(Detections.empty())) == 0


def test_very_many_features_are_compared_only_with_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    overlap = greedy._Features.overlap
    monkeypatch.setattr(greedy._Features, "overlap", lambda self, i, j: compared.append(len(i)) or overlap(self, i, j))
    random = np.random.default_rng(0)
    corners = random.random((20_000, 2)) * 20_000
    found = features(np.hstack((corners, corners + 30)), random.random(20_000), np.zeros(20_000))
    suppress(found)
    assert sum(compared) < 10 * len(found)
