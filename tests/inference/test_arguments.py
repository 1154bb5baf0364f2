from __future__ import annotations

from dataclasses import replace

import pytest

from raster_analysis.errors import ParameterError
from raster_analysis.inference.arguments import ArgumentValues, parse_arguments
from raster_analysis.inference.in_memory import tiny_info
from raster_analysis.model_info import Argument, Task

INFO = replace(
    tiny_info(Task.OBJECTS),
    arguments=(
        Argument("padding", "numeric", 8, ""),
        Argument("batch_size", "numeric", 4, ""),
        Argument("threshold", "numeric", 0.5, ""),
        Argument("nms_overlap", "numeric", 0.1, ""),
        Argument("exclude_pad_detections", "string", "True", "", ("True", "False")),
        Argument("return_bboxes", "string", "False", "", ("True", "False")),
    ),
)


def test_texts_become_what_they_say() -> None:
    given = {"Padding": " 4 ", "score_threshold": "0", "nms_overlap": "1", "return_bboxes": "TRUE", "batch_size": ""}
    assert parse_arguments(INFO, given) == ArgumentValues(padding=4, threshold=0, nms_overlap=1, return_bboxes=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("padding", "-1"), ("padding", "1.5"), ("padding", "four"), ("batch_size", "0"), ("threshold", "1.01"),
        ("threshold", "nan"), ("threshold", "half"), ("nms_overlap", "inf"), ("exclude_pad_detections", "perhaps"),
    ],
)  # fmt: skip
def test_what_does_not_parse_is_named_with_its_value(name: str, text: str) -> None:
    with pytest.raises(ParameterError, match=f"{name} = '{text}'"):
        parse_arguments(INFO, {name: text})


@pytest.mark.parametrize("text", ["1", ""])
def test_an_argument_that_the_model_does_not_have_is_refused_with_what_it_has(text: str) -> None:
    with pytest.raises(ParameterError, match=r"'tile_size' does not exist.*padding, batch_size, threshold"):
        parse_arguments(INFO, {"tile_size": text})


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ParameterError) as refusal:
        parse_arguments(INFO, {"padding": "x", "treshold": "0.5", "nms_overlap": "2"})
    assert len(refusal.value.faults) == 3


@pytest.mark.parametrize("text", ["8", "8.0", "+8", "8."])
def test_whole_numbers_of_clients_that_keep_them_as_floats_are_whole(text: str) -> None:
    assert parse_arguments(INFO, {"padding": text}) == ArgumentValues(padding=8)


@pytest.mark.parametrize("text", ["1_0", "0x8", "8.5", "8e0"])
def test_other_spellings_of_numbers_are_no_whole_numbers(text: str) -> None:
    with pytest.raises(ParameterError, match="must be a whole number"):
        parse_arguments(INFO, {"padding": text})
