from __future__ import annotations

import json
from pathlib import Path

import evaluate
import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matching import class_overlaps, match, overlaps, suppress

corners = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.integers(0, 40).map(float))
boxes = corners.map(lambda c: np.concatenate([c[:, :2], c[:, :2] + c[:, 2:] + 1], axis=1))


@given(boxes)
def test_true_boxes_match_themselves_completely(true: np.ndarray) -> None:
    score = match(true, np.linspace(1, 0.5, len(true)), true)
    assert (score.precision, score.recall, score.f1) == (1.0, 1.0, 1.0)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_between_none_and_all(a: np.ndarray, b: np.ndarray) -> None:
    shares = overlaps(a, b)
    np.testing.assert_allclose(shares, overlaps(b, a).T)
    assert (shares >= 0).all()
    assert (shares <= 1).all()


@given(boxes, st.floats(0.0, 0.9))
def test_no_two_kept_boxes_overlap_beyond_the_limit(found: np.ndarray, limit: float) -> None:
    scores = np.random.default_rng(0).random(len(found))
    kept = suppress(found, scores, limit)
    shares = overlaps(found[kept], found[kept]) - np.eye(len(kept))
    assert shares.max() <= limit + 1e-9
    assert scores.argmax() in kept


def test_a_true_box_is_matched_once_and_by_the_better_score() -> None:
    true = np.array([[0, 0, 10, 10.0]])
    found = np.array([[0, 0, 10, 9.0], [0, 0, 10, 10.0], [50, 50, 60, 60.0]])
    score = match(found, np.array([0.9, 0.8, 0.7]), true)
    assert (score.matched, score.found, score.true) == (1, 3, 1)
    assert score.f1 == pytest.approx(0.5)


def test_class_overlap_leaves_unknown_cells_out() -> None:
    true = np.array([[1, 1, 2, 0]], np.uint8)
    found = np.array([[1, 2, 2, 1]], np.uint8)
    assert class_overlaps(found, true, [1, 2, 3]) == {1: 0.5, 2: 0.5}


def test_pixels_are_compared_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, values in (("found.tif", [[1, 2, 2, 4]]), ("true.tif", [[1, 1, 2, 4]])):
        profile = {"driver": "GTiff", "width": 4, "height": 1, "count": 1, "dtype": "uint8", "crs": "EPSG:32616"}
        with rasterio.open(tmp_path / name, "w", transform=rasterio.Affine(1, 0, 5, 0, -1, 5), **profile) as file:
            file.write(np.array(values, np.uint8), 1)
    evaluate.main(["pixels", str(tmp_path / "found.tif"), str(tmp_path / "true.tif")])
    report = json.loads(capsys.readouterr().out)
    assert report["IoU"] == {"water": 0.5, "road": 0.5, "tree": 1.0}
    assert report["mIoU"] == pytest.approx(0.6667)
