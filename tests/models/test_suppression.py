from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.models.suppression import overlaps, suppress

BOXES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.integers(1, 12), st.integers(0, 2)),
    max_size=25,
)


@settings(deadline=None)
@given(BOXES, st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.randoms(use_true_random=False))
def test_suppression_per_class_keeps_what_torchvision_keeps(rows, overlap, random):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], np.float64).reshape(-1, 4)
    labels = np.array([row[4] for row in rows], np.int64)
    scores = np.array(random.sample(range(1000), len(rows)), np.float64) / 1000  # no ties: torchvision leaves them open
    kept = suppress(boxes, scores, labels, overlap=overlap)
    expected: list[int] = []
    for label in range(3):
        chosen = np.flatnonzero(labels == label)
        found = torchvision.ops.nms(torch.from_numpy(boxes[chosen]), torch.from_numpy(scores[chosen]), overlap)
        expected += chosen[found.numpy()].tolist()
    assert sorted(kept.tolist()) == sorted(expected)
    assert (np.diff(scores[kept]) <= 0).all()


def test_overlap_equal_to_the_limit_is_kept():
    boxes = np.array([[0.0, 0, 2, 2], [0, 0, 2, 1]])
    assert overlaps(boxes[0], boxes[1:]) == [0.5]
    assert len(suppress(boxes, np.array([0.9, 0.8]), np.zeros(2, int), overlap=0.5)) == 2
    assert suppress(boxes, np.array([0.8, 0.9]), np.zeros(2, int), overlap=0.49).tolist() == [1]


def test_ties_go_to_the_first():
    boxes = np.array([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    assert suppress(boxes, np.array([0.5, 0.5]), np.zeros(2, int), overlap=0.1).tolist() == [0]
