from __future__ import annotations

import numpy as np
import pytest

from dlpk.extension import Decoder, NetworkOutput
from raster_analysis.errors import ModelError
from raster_analysis.models.decode import Reading, decode_batch

ROWS, COLS = 64, 96


def reading(decoder, *, classes=2, threshold=0.5, nms_overlap=0.1, **output):
    return Reading(NetworkOutput(decoder=decoder, **output), classes, ROWS, COLS, threshold, nms_overlap)


def logit(share):
    return np.log(share / (1 - share))


def test_boxes_are_cut_at_the_threshold_and_labels_count_from_the_offset():
    arrays = {
        "boxes": np.array([[1, 2, 11, 12], [50, 2, 60, 12], [3, 3, 9, 9], [7, 7, 7, 20]], np.float32),
        "scores": np.array([0.9, 0.5, 0.8, 0.99], np.float32),
        "labels": np.array([2, 1, 1, 1]),
    }
    (found,) = decode_batch([arrays], 1, reading(Decoder.BOXES, label_offset=1))
    np.testing.assert_array_equal(found.boxes_xyxy, [[1, 2, 11, 12], [3, 3, 9, 9]])
    assert found.labels.tolist() == [1, 0]
    assert found.boxes_xyxy.dtype == np.float64
    assert (found.scores.dtype, found.labels.dtype) == (np.float32, np.int32)


def test_a_batch_of_boxes_is_taken_apart():
    boxes = np.zeros((3, 2, 4), np.float32)
    boxes[:, 0] = [0, 0, 0.5, 0.25]
    boxes[1, 0, 2] = 1
    scores, labels = np.tile(np.float32([0.9, 0.1]), (3, 1)), np.zeros((3, 2), np.int64)
    found = decode_batch([{"b": boxes, "s": scores, "l": labels}], 2, reading(Decoder.BOXES, box_units="normalized"))
    assert [d.boxes_xyxy.tolist() for d in found] == [[[0, 0, 48, 16]], [[0, 0, 96, 16]]]


def test_roles_are_found_by_name_whatever_the_order():
    arrays = {
        "c": np.array([1, 0]),
        "p": np.array([0.9, 0.8], np.float32),
        "r": np.array([[5, 5, 4, 4], [30, 30, 6, 6]], np.float32),
    }
    names = {"boxes": "r", "scores": "p", "labels": "c"}
    (found,) = decode_batch([arrays], 1, reading(Decoder.BOXES, tensors=names, box_format="cxcywh"))
    np.testing.assert_array_equal(found.boxes_xyxy, [[3, 3, 7, 7], [27, 27, 33, 33]])


def test_yolov5_multiplies_objectness_and_class_score():
    rows = np.array([[[10, 20, 4, 8, 0.9, 0.2, 0.8], [40, 20, 4, 8, 0.6, 0.7, 0.1]]], np.float32)
    (found,) = decode_batch([{"output": rows}], 1, reading(Decoder.YOLOV5))
    np.testing.assert_allclose(found.boxes_xyxy, [[8, 16, 12, 24]])
    assert found.labels.tolist() == [1]
    np.testing.assert_allclose(found.scores, [0.72], atol=1e-6)


def test_yolov8_has_its_candidates_in_the_last_axis():
    rows = np.array([[10, 20, 4, 8, 0.2, 0.8], [40, 20, 4, 8, 0.7, 0.1]], np.float32)
    (found,) = decode_batch([{"output0": rows.T[None]}], 1, reading(Decoder.YOLOV8))
    np.testing.assert_allclose(found.boxes_xyxy, [[8, 16, 12, 24], [38, 16, 42, 24]])
    np.testing.assert_allclose(found.scores, [0.8, 0.7], atol=1e-6)
    assert found.labels.tolist() == [1, 0]


def test_yolox_adds_grid_cells_and_multiplies_by_strides():
    count = (ROWS // 8) * (COLS // 8) + (ROWS // 16) * (COLS // 16) + (ROWS // 32) * (COLS // 32)
    rows = np.zeros((1, count, 7), np.float32)
    rows[..., 4:] = logit(0.01)
    at = (ROWS // 8) * (COLS // 8) + 1 * (COLS // 16) + 2  # stride 16, row 1, column 2
    rows[0, at] = [0.5, 0.25, np.log(2), np.log(0.5), logit(0.9), logit(0.1), logit(0.95)]
    (found,) = decode_batch([{"output": rows}], 1, reading(Decoder.YOLOX, activation="sigmoid"))
    centre_x, centre_y = (2 + 0.5) * 16, (1 + 0.25) * 16
    np.testing.assert_allclose(
        found.boxes_xyxy, [[centre_x - 16, centre_y - 4, centre_x + 16, centre_y + 4]], atol=1e-4
    )
    np.testing.assert_allclose(found.scores, [0.9 * 0.95], atol=1e-6)
    with pytest.raises(ModelError, match=rf"gives {count - 1} boxes; .* make {count}"):
        decode_batch([{"output": rows[:, 1:]}], 1, reading(Decoder.YOLOX, activation="sigmoid"))


def test_detr_leaves_out_no_object_and_scales_boxes_to_the_tile():
    logits = np.array([[[0, 5, 0], [0, 0, 9], [4, 0, 0]]], np.float32)
    boxes = np.array([[[0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 1, 1], [0.125, 0.25, 0.25, 0.5]]], np.float32)
    (found,) = decode_batch([{"logits": logits, "boxes": boxes}], 1, reading(Decoder.DETR))
    np.testing.assert_allclose(found.boxes_xyxy, [[36, 16, 60, 48], [0, 0, 24, 32]])
    assert found.labels.tolist() == [1, 0]
    np.testing.assert_allclose(found.scores[0], np.exp(5) / (2 + np.exp(5)), atol=1e-6)


def test_masks_become_outlines_and_empty_ones_are_left_out():
    masks = np.zeros((2, 1, ROWS, COLS), np.float32)
    masks[0, 0, 10:20, 5:9] = 0.5
    masks[1, 0, 30:40, 5:9] = 0.49
    arrays = {
        "boxes": np.array([[5, 10, 9, 20], [5, 30, 9, 40]], np.float32),
        "scores": np.array([0.8, 0.9], np.float32),
        "labels": np.array([0, 1]),
        "masks": masks,
    }
    (found,) = decode_batch([arrays], 1, reading(Decoder.MASKS))
    assert [outline.bounds for outline in found.outlines] == [(5, 10, 9, 20)]
    assert found.labels.tolist() == [0]


def test_suppression_is_per_class():
    arrays = {
        "boxes": np.array([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 9, 10]], np.float32),
        "scores": np.array([0.7, 0.9, 0.8], np.float32),
        "labels": np.array([0, 0, 1]),
    }
    (found,) = decode_batch([arrays], 1, reading(Decoder.BOXES))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])


def test_nothing_found_is_an_answer():
    arrays = {"b": np.zeros((0, 4), np.float32), "s": np.zeros(0, np.float32), "l": np.zeros(0, np.int64)}
    (found,) = decode_batch([arrays], 1, reading(Decoder.BOXES))
    assert len(found) == 0
    masks = {**arrays, "m": np.zeros((0, 1, ROWS, COLS), np.float32)}
    assert len(decode_batch([masks], 1, reading(Decoder.MASKS))[0]) == 0


@pytest.mark.parametrize(
    ("decoder", "arrays", "message"),
    [
        (Decoder.YOLOV5, {"y": np.full((1, 3, 7), np.nan, np.float32)}, r"'y' \(1, 3, 7\) holds NaN"),
        (Decoder.YOLOV5, {"y": np.zeros((1, 3, 8), np.float32)}, r"expects 7 numbers a box for 2 classes .*\(3, 8\)"),
        (Decoder.YOLOV8, {"y": np.zeros((1, 9, 6), np.float32)}, "expects 6 numbers a box"),
        (Decoder.YOLOV5, {"y": np.full((1, 3, 7), 4, np.float32)}, "not probabilities; declare"),
        (Decoder.DETR, {"l": np.zeros((1, 5, 2)), "b": np.zeros((1, 5, 4))}, r"\(k, 3\) and \(k, 4\) were expected"),
        (Decoder.BOXES, {"b": np.zeros((5, 4)), "s": np.zeros(5)}, "needs 3 tensors"),
        (Decoder.BOXES, {"b": np.zeros((5, 4)), "s": np.zeros(4), "l": np.zeros(5, int)}, "not one set of detections"),
        (
            Decoder.BOXES,
            {"b": np.array([[0.0, 0, 5, 5]]), "s": np.ones(1), "l": np.array([2])},
            r"labels 2\.\.2 .* lists 2 classes",
        ),
        (
            Decoder.BOXES,
            {"b": np.array([[0.0, 0, 5, 5]]), "l": np.array([1]), "s": np.array([0.7])},
            "labels are not whole numbers; are scores and labels swapped",
        ),
        (
            Decoder.MASKS,
            {"b": np.array([[0.0, 0, 5, 5]]), "s": np.ones(1), "l": np.array([1]), "m": np.zeros((1, 1, 28, 28))},
            "do not fit tiles of 64 x 96",
        ),
    ],
)
def test_tensors_that_are_not_as_declared_are_named(decoder, arrays, message):
    with pytest.raises(ModelError, match=message):
        decode_batch([arrays], 1, reading(decoder))


def test_a_tensor_name_that_is_not_there_is_an_error():
    with pytest.raises(ModelError, match="no output 'detections' for boxes; it has 'y'"):
        decode_batch([{"y": np.zeros((1, 3, 7))}], 1, reading(Decoder.YOLOV5, tensors={"boxes": "detections"}))
