"""Definitions as they are found in the wild: 29 real files, and the descriptions of training chips."""

from __future__ import annotations

import json

import pytest

import dlpk
from dlpk.definition import ModelType

DETECTION, PIXELS, CROPS = ModelType.OBJECT_DETECTION, ModelType.IMAGE_CLASSIFICATION, ModelType.OBJECT_CLASSIFICATION

VALID = {
    "docs_pro31_objectclassification_keras": CROPS,
    "docs_pro_models_tree_objectiondetection": DETECTION,
    "esri_cntk_azure_landclass_2019": PIXELS,
    "esri_cntk_azure_landclass_2024": PIXELS,
    "esri_cntk_fasterrcnn_coconut_2019": DETECTION,
    "esri_cntk_fasterrcnn_coconut_2024": DETECTION,
    "esri_groundingdino": DETECTION,
    "esri_keras_maskrcnn_buildings_2019": DETECTION,
    "esri_keras_maskrcnn_buildings_2024": DETECTION,
    "esri_keras_objectclassifier_damage_2020": CROPS,
    "esri_keras_objectclassifier_damage_2024": CROPS,
    "esri_onnx_landclass": PIXELS,
    "esri_onnx_xview_detection": DETECTION,
    "esri_pytorch_fastai_ssd_pools_2019": DETECTION,
    "esri_pytorch_fastai_ssd_pools_2024": DETECTION,
    "esri_pytorch_featureclassifier_woolsey_2020": CROPS,
    "esri_pytorch_featureclassifier_woolsey_2024": CROPS,
    "esri_template_custom_objectdetector": DETECTION,
    "esri_text_sam": DETECTION,
    "esri_textsam": DETECTION,
    "esri_tf_deeplab_landcover_2019": PIXELS,
    "esri_tf_deeplab_landcover_2024": PIXELS,
    "esri_tf_odapi_coconut_2019a": DETECTION,
    "esri_tf_odapi_coconut_2019b": DETECTION,
    "esri_tf_odapi_coconut_2024": DETECTION,
    "issue40_keras_maskrcnn_flat": DETECTION,
}
BROKEN = {
    "docs_pro31_objectdetection_coconut_badjson": (10, "comma is missing", '"ImageSpaceUsed"'),
    "docs_pro_models_river_fasterrcnn_badjson": (62, "trailing comma", "Remove"),
    "docs_rdl_customdetector_badjson": (18, "comma is missing", '"ModelName"'),
}


def test_the_lists_cover_the_whole_corpus(corpus):
    assert {path.stem for path in corpus.glob("*.emd")} == set(VALID) | set(BROKEN)


@pytest.mark.parametrize(("name", "model_type"), VALID.items())
def test_real_definitions_are_read(corpus, name, model_type):
    parsed = dlpk.parse_definition((corpus / f"{name}.emd").read_bytes())
    assert parsed.definition.model_type is model_type
    assert parsed.definition.classes
    assert parsed.definition.image_height > 0
    assert {finding.severity for finding in parsed.findings} <= {dlpk.Severity.WARNING}


@pytest.mark.parametrize(("name", "expected"), BROKEN.items())
def test_broken_definitions_name_line_column_and_cause(corpus, name, expected):
    line, cause, mention = expected
    (finding,) = dlpk.parse_definition((corpus / f"{name}.emd").read_bytes(), "a.emd").findings
    assert finding.code == "emd.json"
    assert finding.where.startswith(f"a.emd:{line}:")
    assert cause in finding.message
    assert mention in finding.hint


@pytest.mark.parametrize(("name", "expected"), BROKEN.items())
def test_broken_definitions_are_sound_once_the_reported_place_is_mended(corpus, name, expected):
    text = (corpus / f"{name}.emd").read_text()
    (finding,) = dlpk.parse_definition(text).findings
    line, column = map(int, finding.where.split(":")[1:])
    lines = text.split("\n")
    row = lines[line - 1]
    is_trailing = "trailing" in expected[1]
    lines[line - 1] = row[: column - 1] + ("" if is_trailing else ",") + row[column - 1 + is_trailing :]
    assert dlpk.parse_definition("\n".join(lines)).definition is not None


def test_windows_separators_become_slashes(corpus):
    parsed = dlpk.parse_definition((corpus / "esri_tf_odapi_coconut_2024.emd").read_bytes())
    assert parsed.definition.model_file == "frozen_inference_graph.pb"


def test_a_configuration_may_be_an_object(corpus):
    for name in ("esri_keras_maskrcnn_buildings_2024", "issue40_keras_maskrcnn_flat"):
        assert dlpk.parse_definition((corpus / f"{name}.emd").read_bytes()).definition.model_configuration == "MaskRCNN"


def test_the_misspelt_type_warns(corpus):
    data = (corpus / "docs_pro_models_tree_objectiondetection.emd").read_bytes()
    (finding,) = dlpk.parse_definition(data).findings
    assert (finding.code, finding.severity) == ("emd.model_type", dlpk.Severity.WARNING)


def test_an_absolute_model_path_is_reported(corpus):
    findings = dlpk.check(corpus / "docs_pro31_objectclassification_keras.emd").findings
    assert "model_file.path" in {finding.code for finding in findings}


def test_a_definition_without_its_files_is_reported(corpus):
    findings = dlpk.check(corpus / "esri_onnx_landclass.emd").findings
    assert [finding.code for finding in findings] == ["model_file.missing"]


BAND_NAMES = "WellKnownBandNames (FYI, these band names can be used in ExtractBands)"


@pytest.mark.parametrize("key", ["Framework", "ModelConfiguration", "ModelType", "ModelFile", "ExtractBands"])
def test_descriptions_of_training_chips_are_not_models(keys, key):
    # The form written beside exported chips: placeholders where a model has values.
    template = {**keys, key: "e.g. something", "MetaDataMode": "Classified_Tiles", "AllTilesStats": []}
    (finding,) = dlpk.parse_definition(json.dumps(template)).findings
    assert finding.code == "emd.template"
    assert "not a model" in finding.message


def test_new_descriptions_of_training_chips_are_not_models(keys):
    template = {**keys, BAND_NAMES: ["Red"], "ImageHeight": 256}
    del template["ModelFile"]
    assert dlpk.parse_definition(json.dumps(template)).findings[0].code == "emd.template"


def test_a_model_may_carry_keys_of_its_training(keys):
    model = {**keys, BAND_NAMES: ["Red"], "MetaDataMode": "Classified_Tiles", "AllTilesStats": []}
    assert dlpk.parse_definition(json.dumps(model)).findings == ()
