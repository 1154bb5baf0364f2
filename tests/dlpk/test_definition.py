"""Reading definitions: what is kept, what is forgiven, and what the parser says about mistakes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlpk
from dlpk.definition import ClassEntry, Definition, ModelType, class_values
from dlpk.extension import Decoder
from dlpk.parse import parse_definition

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@given(unknown=st.dictionaries(TEXT.map("x_".__add__), VALUES, max_size=4))
def test_unknown_keys_are_kept_as_they_were(unknown):
    keys = {"ModelType": "ImageClassification", "ImageHeight": 256, **unknown}
    definition = parse_definition(json.dumps(keys)).definition
    assert json.loads(json.dumps(dict(definition.keys))) == keys
    assert definition.image_height == 256


@given(data=st.binary(max_size=200))
def test_any_bytes_give_a_definition_or_a_finding(data):
    parsed = parse_definition(data)
    assert parsed.definition is not None or len(parsed.findings) == 1


@given(
    value=VALUES,
    key=st.sampled_from(
        [
            *Definition.__dataclass_fields__,
            "ModelFile",
            "Classes",
            "ExtractBands",
            "NormalizationStats",
            "DataRange",
            "RasterAnalysis",
            "InferenceFunction",
            "CropSizeFixed",
            "MinCellSize",
            "Version",
            "ModelFiles",
            "ModelType",
        ]
    ),
)
def test_any_value_of_any_key_is_read_or_reported(value, key):
    parsed = parse_definition(json.dumps({key: value}))
    assert parsed.definition is not None or parsed.findings


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{"a": 1,\n "b": 2,}', "2:8", "trailing comma"),
        ('{"a": [1, 2,]}', "1:12", "trailing comma"),
        ('{"a": 1\n "b": 2}', "1:8", "comma is missing"),
        ('{"a": [1 2]}', "1:9", "comma is missing"),
        ("{'a': 1}", "1:2", "single quotes"),
        ('{"a": 1, // note\n "b": 2}', "1:10", "no comments"),
        ('{"a": ".\\model.h5"}', "1:9", "backslash"),
        ('{"a": "x\n}', "1:9", "not closed"),
        ('{"a": True}', "1:7", "Python"),
        ('{"a": 1', "1:8", "ends too early"),
        ('{"a": 1}}', "1:9", "follows the end"),
        ("", "1:1", "empty"),
    ],
)
def test_mistakes_are_named_with_their_place(text, place, words):
    (finding,) = parse_definition(text, "m.emd").findings
    assert finding.where == f"m.emd:{place}"
    assert words in finding.message + finding.hint


def definition(kind, *values):
    return Definition(model_type=kind, classes=tuple(ClassEntry(value, str(value)) for value in values))


def test_pixel_values_follow_the_table_when_it_holds_zero():
    values, rule = class_values(definition(ModelType.IMAGE_CLASSIFICATION, 0, 11, 12))
    assert values == (0, 11, 12)
    assert "contain 0" in rule


def test_pixel_values_get_a_background_when_the_table_holds_no_zero():
    values, rule = class_values(definition(ModelType.CHANGE_DETECTION, 11, 21, 95))
    assert values == (0, 11, 21, 95)
    assert "background" in rule


def test_detections_are_looked_up_by_position():
    values, rule = class_values(definition(ModelType.OBJECT_DETECTION, 7, 3))
    assert values == (7, 3)
    assert "whatever its Value" in rule


def test_the_extension_is_read(keys):
    extension = {
        "Version": 1,
        "Input": {
            "Name": "x",
            "Layout": "NHWC",
            "DataType": "uint8",
            "Scale": 0.5,
            "Mean": [1, 2, 3],
            "Std": [1, 1, 1],
        },
        "Output": {"Decoder": "boxes", "Tensors": {"boxes": "b"}, "BoxFormat": "cxcywh", "LabelOffset": 1},
        "TileMultiple": 32,
        "Context": 64,
    }
    read = parse_definition(json.dumps({**keys, "RasterAnalysis": extension})).definition.extension
    assert (read.input.layout, read.input.std, read.tile_multiple, read.context) == ("NHWC", (1, 1, 1), 32, 64)
    assert (read.output.decoder, read.output.tensors, read.output.label_offset) == (Decoder.BOXES, {"boxes": "b"}, 1)


def test_faults_of_the_extension_name_their_place(keys):
    text = json.dumps({**keys, "RasterAnalysis": {"Output": {"Decoder": "pixels", "Strides": ["a"]}}})
    (finding,) = parse_definition(text, "m.emd").findings
    assert finding.where == "m.emd: RasterAnalysis.Output.Strides.0"


def test_numbers_and_names_of_bands_are_both_fine(keys):
    for bands in ([3, 2, 1], ["NearInfrared", "Red"]):
        assert parse_definition(json.dumps({**keys, "ExtractBands": bands})).definition.extract_bands == tuple(bands)


def test_cell_sizes_are_taken_from_their_object(keys):
    size = {"x": 0.5, "y": 0.5, "spatialReference": {"wkid": None}}
    assert parse_definition(json.dumps({**keys, "MinCellSize": size})).definition.min_cell_size == 0.5


def test_text_and_bytes_read_the_same(keys):
    text = json.dumps({**keys, "ModelName": "Bäume"}, ensure_ascii=False)
    assert dlpk.parse_definition(text) == dlpk.parse_definition(text.encode())
