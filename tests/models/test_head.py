from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from raster_analysis.models.head import Head, are_probabilities

torch = pytest.importorskip("torch")
torch_runtime = pytest.importorskip("raster_analysis.models.torch")

SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 2), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    elements=st.floats(-20, 20, width=32),
)
HEADS = st.builds(
    dict,
    activation=st.sampled_from(["none", "softmax", "sigmoid"]),
    threshold=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]),
    skip_background=st.booleans(),
    probabilities=st.booleans(),
)


@settings(deadline=None)
@given(SCORES, HEADS, st.sampled_from([1, 3]))
def test_numpy_and_torch_heads_agree_and_labels_are_the_likeliest(scores, choices, axis):
    channels = scores.shape[1]
    if channels == 1:
        choices |= {"skip_background": False, "activation": "sigmoid"}
    if choices["activation"] == "none" and choices["probabilities"]:
        scores = np.abs(scores)  # they are probabilities already, so none is negative
    head = Head(channels=channels, channel_axis=axis, **choices)
    given_scores = np.ascontiguousarray(np.moveaxis(scores, 1, axis))
    ours = head.apply(given_scores)
    theirs = torch_runtime.apply_head(torch.from_numpy(given_scores), head).numpy()
    if head.probabilities:
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert ours.shape[1] == max(channels, 2)
    else:
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == np.uint8
        if channels > 1:
            first = 1 if head.skip_background else 0
            np.testing.assert_array_equal(ours, scores[:, first:].argmax(axis=1) + first)


def test_more_than_256_classes_need_two_bytes():
    head = Head(300, 1, "none", 0.5, skip_background=False, probabilities=False)
    scores = np.zeros((1, 300, 1, 1), np.float32)
    scores[0, 299] = 1
    labels = head.apply(scores)
    assert labels.dtype == np.uint16
    assert labels.item() == 299


def test_probabilities_are_told_from_scores():
    scores = np.random.default_rng(0).normal(size=(1, 4, 3, 3))
    assert not are_probabilities(scores, 1)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert are_probabilities(shares, 1)
    assert not are_probabilities(shares * 0.5, 1)
