"""Accuracy against pycocotools, and what must hold whatever the objects are."""

from __future__ import annotations

import contextlib
import io
import math
import time

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from raster_analysis.inference.accuracy import COCO_IOUS, evaluate
from raster_analysis.inference.matching import Objects, find_pairs, match


def scatter(seed, *, truths=60, noise=25, classes=3):
    """Boxes, most of them found a little off and some twice, some missed, some invented, some of a wrong class."""
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 150, (truths, 2)), rng.uniform(8, 20, (truths, 2))
    labels = rng.integers(0, classes, truths)
    chosen = rng.choice(truths, truths, replace=True)
    found = np.concatenate([corner[chosen] + rng.normal(0, 1.2, (truths, 2)), rng.uniform(0, 150, (noise, 2))])
    sizes = np.concatenate([size[chosen] * rng.uniform(0.85, 1.15, (truths, 2)), rng.uniform(8, 20, (noise, 2))])
    guessed = np.concatenate([labels[chosen], rng.integers(0, classes, noise)])
    wrong = rng.random(len(guessed)) < 0.1
    guessed[wrong] = rng.integers(0, classes, wrong.sum())
    return (found, sizes, guessed, rng.random(len(found))), (corner, size, labels)


def objects(corner, size, labels, scores=None):
    shapes = shapely.box(*corner.T, *(corner + size).T)
    return Objects(np.asarray(shapes, object), np.asarray(labels), np.ones(len(labels)) if scores is None else scores)


def coco(found, true, *, classes, ious):
    """What pycocotools makes of the same boxes in one image, with no limit to their number."""
    corner, size, labels = true
    truth = [
        {"id": k + 1, "image_id": 1, "category_id": int(label) + 1, "bbox": [*c, *s], "area": s.prod(), "iscrowd": 0}
        for k, (c, s, label) in enumerate(zip(corner, size, labels, strict=True))
    ]
    results = [
        {"image_id": 1, "category_id": int(label) + 1, "bbox": [*c, *s], "score": float(score)}
        for c, s, label, score in zip(*found, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        categories = [{"id": k + 1} for k in range(classes)]
        known.dataset = {"info": {}, "images": [{"id": 1}], "annotations": truth, "categories": categories}
        known.createIndex()
        judged = COCOeval(known, known.loadRes(results), "bbox")
        judged.params.iouThrs, judged.params.maxDets = np.array(ious), [len(results)]
        judged.params.areaRng, judged.params.areaRngLbl = [[0, 1e10]], ["all"]
        judged.evaluate()
        judged.accumulate()
    precision = judged.eval["precision"][:, :, :, 0, 0]
    matched = [sum(int((e["dtMatches"][:1] > 0).sum()) for e in judged.evalImgs if e)]
    return precision, judged.eval["recall"][:, :, 0, 0], matched[0]


@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_judged_as_pycocotools_judges_them(seed):
    found, true = scatter(seed)
    precision, recall, matched = coco(found, true, classes=3, ious=list(COCO_IOUS))
    result = evaluate(objects(*found), objects(*true), ["a", "b", "c"], min_iou=0.5)
    for label, one in enumerate(result[:-1]):
        assert one.coco_average_precision == pytest.approx(precision[:, :, label].mean(), abs=1e-12)
        assert one.average_precision == pytest.approx(precision[0, :, label].mean(), abs=1e-12)
        assert one.recall == pytest.approx(recall[0, label], abs=1e-12)
    assert result[-1].true_positives == matched
    assert result[-1].coco_average_precision == pytest.approx(precision.mean(), abs=1e-12)


@pytest.mark.parametrize("min_iou", [0.3, 0.75])
def test_any_smallest_overlap_is_judged_as_pycocotools_judges_it(min_iou):
    found, true = scatter(9)
    precision, recall, _ = coco(found, true, classes=3, ious=[min_iou])
    result = evaluate(objects(*found), objects(*true), ["a", "b", "c"], min_iou=min_iou)
    assert [one.average_precision for one in result[:-1]] == pytest.approx(precision[0].mean(axis=0).tolist())
    assert [one.recall for one in result[:-1]] == pytest.approx(recall[0].tolist())


def test_polygons_count_with_their_own_area_and_not_with_their_rectangle():
    lower, upper = shapely.Polygon([(0, 0), (9, 0), (0, 9)]), shapely.Polygon([(10, 10), (1, 10), (10, 1)])
    one = Objects(np.array([lower], object), np.zeros(1, int), np.ones(1))
    other = Objects(np.array([upper], object), np.zeros(1, int), np.ones(1))
    (result, _) = evaluate(one, other, ["a"], min_iou=0.1)
    assert (result.true_positives, result.false_positives, result.false_negatives) == (0, 1, 1)
    (same, _) = evaluate(one, one, ["a"], min_iou=1.0)
    assert (same.true_positives, same.precision, same.recall, same.f1, same.average_precision) == (1, 1, 1, 1, 1)


def test_an_object_is_found_once_and_by_the_most_confident():
    box = np.array([shapely.box(0, 0, 10, 10)], object)
    twice = Objects(np.repeat(box, 2), np.zeros(2, int), np.array([0.2, 0.9]))
    once = Objects(box, np.zeros(1, int), np.ones(1))
    pairs = find_pairs(twice, once, floor=0.5, step=lambda share: None)
    assert match(pairs, 0.5, detected=2, truth=1).tolist() == [False, True]
    (result, _) = evaluate(twice, once, ["a"], min_iou=0.5)
    assert (result.precision, result.recall, result.f1) == (0.5, 1, pytest.approx(2 / 3))


def test_where_there_is_nothing_to_divide_by_there_is_no_number():
    nothing = Objects(np.empty(0, object), np.empty(0, int), np.empty(0))
    box = Objects(np.array([shapely.box(0, 0, 1, 1)], object), np.zeros(1, int), np.ones(1))
    missed, all_missed = evaluate(nothing, box, ["a"], min_iou=0.5)
    assert math.isnan(missed.precision)
    assert (missed.recall, missed.f1, missed.average_precision, missed.false_negatives) == (0, 0, 0, 1)
    invented, all_invented = evaluate(box, nothing, ["a"], min_iou=0.5)
    assert (invented.precision, invented.false_positives) == (0, 1)
    assert all(math.isnan(value) for value in (invented.recall, invented.average_precision))
    assert math.isnan(all_invented.coco_average_precision)
    assert all_missed.coco_average_precision == 0
    assert evaluate(nothing, nothing, [], min_iou=0.5)[-1].truths == 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), min_iou=st.floats(0, 1), noise=st.integers(0, 30))
def test_counts_add_up_and_a_stricter_overlap_never_finds_more(seed, min_iou, noise):
    found, true = scatter(seed, truths=25, noise=noise)
    detected, truth = objects(*found), objects(*true)
    *classes, whole = evaluate(detected, truth, ["a", "b", "c"], min_iou=min_iou)
    assert sum(one.true_positives + one.false_positives for one in classes) == len(detected)
    assert sum(one.true_positives + one.false_negatives for one in classes) == len(truth)
    assert whole.true_positives == sum(one.true_positives for one in classes)
    stricter = evaluate(detected, truth, ["a", "b", "c"], min_iou=min(1, min_iou + 0.1))[-1]
    assert stricter.true_positives <= whole.true_positives
    for one in classes:
        values = (one.precision, one.recall, one.f1, one.average_precision, one.coco_average_precision)
        assert all(math.isnan(value) or 0 <= value <= 1 for value in values)
    shuffled = np.random.default_rng(0).permutation(len(detected))
    mixed = Objects(detected.geometries[shuffled], detected.labels[shuffled], detected.scores[shuffled])
    assert evaluate(mixed, truth, ["a", "b", "c"], min_iou=min_iou)[-1].true_positives == whole.true_positives


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_pairs_are_those_that_shapely_finds_one_by_one(seed):
    rng = np.random.default_rng(seed)

    def tilted(count):
        boxes = shapely.box(*rng.uniform(0, 30, (2, count)), *rng.uniform(31, 60, (2, count)))
        angles = rng.choice([0, 20, 90], count)
        return np.array([shapely.affinity.rotate(box, angle) for box, angle in zip(boxes, angles, strict=True)])

    one, other = (Objects(tilted(8), rng.integers(0, 2, 8), rng.random(8)) for _ in range(2))
    pairs = find_pairs(one, other, floor=0.4, step=lambda share: None)
    wanted = {}
    for i, a in enumerate(one.geometries):
        for j, b in enumerate(other.geometries):
            iou = a.intersection(b).area / a.union(b).area
            if one.labels[i] == other.labels[j] and iou >= 0.4:
                wanted[i, j] = iou
    got = dict(zip(zip(pairs.detected.tolist(), pairs.truth.tolist(), strict=True), pairs.iou.tolist(), strict=True))
    assert got == pytest.approx(wanted)


def test_fifty_thousand_polygons_take_seconds():
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, 20_000, (50_000, 2))
    circles = shapely.buffer(shapely.points(centres), 10, quad_segs=4)
    moved = shapely.buffer(shapely.points(centres + rng.normal(0, 2, centres.shape)), 10, quad_segs=4)
    labels = rng.integers(0, 5, len(centres))
    began = time.perf_counter()
    detected = Objects(moved, labels, rng.random(len(labels)))
    result = evaluate(detected, Objects(circles, labels, np.ones(len(labels))), list("abcde"), min_iou=0.5)
    assert result[-1].recall > 0.9
    assert time.perf_counter() - began < 20
