from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from raster_analysis.inputs import ContextInput, ModelArguments, OutputName, ProcessingContext, RasterInput

CONTEXT: TypeAdapter[ProcessingContext] = TypeAdapter(ContextInput)
ARGUMENTS: TypeAdapter[dict[str, str]] = TypeAdapter(ModelArguments)


@pytest.mark.parametrize("text", ["", "  ", "{}", None])
def test_an_empty_context_asks_for_nothing(text: object) -> None:
    assert CONTEXT.validate_python(text) == ProcessingContext()


@pytest.mark.parametrize(
    "text", ["extent 0 0 1 1", "cellSize=2", "/fileShares/x", "{", "[1]", '{"batchSize": 0}', '{"device": "gpu"}']
)
def test_a_context_that_is_not_understood_is_not_ignored(text: str) -> None:
    with pytest.raises(ValidationError):
        CONTEXT.validate_python(text)


@pytest.mark.parametrize("box", [(5, 0, 1, 1), (0, 0, 0, 1), (float("nan"), 0, 1, 1)])
def test_an_extent_spans_an_area(box: tuple[float, ...]) -> None:
    extent = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    with pytest.raises(ValidationError, match="spans no area"):
        CONTEXT.validate_python({"extent": extent})


@pytest.mark.parametrize("value", [4326, "4326", {"wkid": 4326}, {"wkid": "4326"}])
@pytest.mark.parametrize("key", ["outSR", "outSr"])
def test_a_spatial_reference_may_be_a_bare_code(key: str, value: object) -> None:
    reference = CONTEXT.validate_python({key: value}).out_sr
    assert reference is not None
    assert reference.wkid == 4326


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("threshold 0.5;padding 3; ", {"threshold": "0.5", "padding": "3"}),
        ('{"threshold": 0.5, "return_bboxes": true, "name": "a b"}',
         {"threshold": "0.5", "return_bboxes": "true", "name": "a b"}),
        ({"padding": None}, {"padding": ""}),
        ("", {}),
        (None, {}),
    ],
)  # fmt: skip
def test_model_arguments_become_text_by_name(value: object, read: dict[str, str]) -> None:
    assert ARGUMENTS.validate_python(value) == read


def test_model_arguments_as_a_list_are_refused() -> None:
    with pytest.raises(ValidationError):
        ARGUMENTS.validate_python('[{"name": "threshold", "value": "0.9"}]')


@pytest.mark.parametrize(
    ("value", "name", "folder"),
    [
        ("trees", "trees", None),
        ('{"name": "trees", "folderId": "f"}', "trees", "f"),
        ('{"serviceProperties": {"name": "trees"}, "itemProperties": {"folderId": "f"}}', "trees", "f"),
    ],
)
def test_an_output_is_named_in_any_of_the_ways_of_clients(value: Any, name: str, folder: str | None) -> None:
    target = TypeAdapter(OutputName).validate_python(value)
    assert (target.name, target.folder_id) == (name, folder)


@pytest.mark.parametrize("value", ["", "{}", '{"itemId": ""}', "{"])
def test_a_reference_names_something(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RasterInput).validate_python(value)
