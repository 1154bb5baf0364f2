from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.inference.in_memory import ArrayReader, MarkDetector, tiny_info
from raster_analysis.inference.tiles import Tiling
from raster_analysis.model_info import Task

INFO = tiny_info(Task.OBJECTS)


def marks(height: int, width: int, seed: int, largest: int) -> tuple[np.ndarray, set[tuple[int, ...]]]:
    """Return a raster with marks that do not touch, and their boxes."""
    random = np.random.default_rng(seed)
    data, boxes = np.zeros((1, height, width), np.uint16), set()
    for value in range(1, 40):
        rows, cols = random.integers(1, largest + 1, 2)
        row, col = random.integers(0, max(1, height - rows)), random.integers(0, max(1, width - cols))
        bottom, right = min(row + rows, height), min(col + cols, width)
        if not data[0, max(0, row - 1) : bottom + 1, max(0, col - 1) : right + 1].any():
            data[0, row:bottom, col:right] = value
            boxes.add((int(col), int(row), int(right), int(bottom)))
    return data, boxes


def as_rows(found) -> list[tuple[float, ...]]:
    return [(*box, score, label) for box, score, label in zip(*columns(found), strict=True)]


def columns(found):
    return found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 20), block_size=st.integers(1, 60))
def test_detections_are_the_same_list_for_any_blocks(data, tilings, detect, seed: int, block_size: int) -> None:
    tiling = data.draw(tilings)
    pixels, _ = marks(tiling.grid_height, tiling.grid_width, seed, 12)
    model, reader = MarkDetector(INFO), ArrayReader(pixels)
    one = detect(model, replace(tiling, block_size=1000), reader)
    assert as_rows(detect(model, replace(tiling, block_size=block_size), reader)) == as_rows(one)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), height=st.integers(1, 120), width=st.integers(1, 120), padding=st.integers(9, 15))
def test_every_object_smaller_than_the_padding_is_found_once(detect, seed, height, width, padding: int) -> None:
    pixels, boxes = marks(height, width, seed, largest=6)
    tiling = Tiling(height, width, 48, 40, padding=padding, batch_size=3, block_size=50)
    found = detect(MarkDetector(INFO), tiling, ArrayReader(pixels))
    assert len(found) == len(boxes)
    assert {tuple(box) for box in found.boxes_xyxy.tolist()} == boxes


def test_objects_at_the_edge_of_the_raster_stay(detect) -> None:
    pixels = np.zeros((1, 50, 50), np.uint16)
    pixels[0, :5, 10:20], pixels[0, 45:, 45:] = 1, 2
    found = detect(MarkDetector(INFO), Tiling(50, 50, 32, 32, padding=8, batch_size=1), ArrayReader(pixels))
    assert {tuple(box) for box in found.boxes_xyxy.tolist()} == {(10, 0, 20, 5), (45, 45, 50, 50)}


def test_objects_larger_than_the_padding_are_dropped_where_they_are_cut_off(detect) -> None:
    pixels = np.zeros((1, 64, 64), np.uint16)
    pixels[0, 20:24, 2:60] = 1
    tiling = Tiling(64, 64, 32, 32, padding=8, batch_size=1)
    assert len(detect(MarkDetector(INFO), tiling, ArrayReader(pixels))) == 0


def test_without_padding_each_part_of_a_cut_object_stays(detect) -> None:
    pixels = np.zeros((1, 64, 64), np.uint16)
    pixels[0, 20:24, 2:60] = 1
    found = detect(MarkDetector(INFO), Tiling(64, 64, 32, 32, padding=0, batch_size=1), ArrayReader(pixels))
    assert found.boxes_xyxy.tolist() == [[2, 20, 32, 24], [32, 20, 60, 24]]


def test_objects_centred_on_nodata_are_dropped(detect) -> None:
    pixels = np.zeros((1, 50, 50), np.uint16)
    pixels[0, 10:20, 10:20], pixels[0, 34:40, 34:40] = 1, 2
    mask = np.ones((50, 50), bool)
    mask[15, 15] = False
    found = detect(MarkDetector(INFO), Tiling(50, 50, 40, 40, padding=4, batch_size=1), ArrayReader(pixels, mask))
    assert found.boxes_xyxy.tolist() == [[34, 34, 40, 40]]


def test_outlines_come_in_the_same_pixels_as_boxes(detect) -> None:
    pixels, _ = marks(70, 70, 3, 6)
    model = MarkDetector(replace(INFO, instances=True))
    found = detect(model, Tiling(70, 70, 40, 40, padding=9, batch_size=2, block_size=30), ArrayReader(pixels))
    assert len(found) > 5
    assert (shapely.bounds(found.outlines) == found.boxes_xyxy).all()


def test_a_model_for_pixels_detects_nothing(detect) -> None:
    from raster_analysis.errors import ModelError
    from raster_analysis.inference.in_memory import NullClassifier

    with pytest.raises(ModelError):
        detect(NullClassifier(INFO), Tiling(9, 9, 9, 9, padding=0, batch_size=1), ArrayReader(np.ones((1, 9, 9))))
