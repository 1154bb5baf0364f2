"""Task documents become Python source in clients: names and texts are checked with the rules of that translation."""

from __future__ import annotations

import ast
import json
import keyword
import re

import pytest
from raster_analysis.tools import TOOLS

from raster_analysis.rest.tasks import display_name, task_document, toolbox_document

# What the Python client calls, by section 8 of the contract: keywords it sends, then outputs.
KEYWORDS = {
    "list_deep_learning_models": ([], ["deep_learning_models"]),
    "query_deep_learning_model_info": (["model"], ["out_model_info"]),
    "install_deep_learning_model": (["model_package"], ["install_succeed"]),
    "uninstall_deep_learning_model": (["model_item_id"], ["uninstall_succeed"]),
    "list_datastore_content": (["data_store_name", "filter"], ["content_list"]),
    "compute_accuracyfor_object_detection": (
        [
            "detected_features",
            "ground_truth_features",
            "out_accuracy_table_name",
            "out_accuracy_report_name",
            "detected_class_value_field",
            "ground_truth_class_value_field",
            "min_io_u",
            "mask_features",
            "context",
        ],
        ["out_accuracy_table", "out_accuracy_report"],
    ),
    "publish_deep_learning_model": (["model_location", "output_name"], ["out_item"]),
    "detect_objects_using_deep_learning": (
        [
            "input_raster",
            "output_objects",
            "model",
            "model_arguments",
            "run_nms",
            "confidence_score_field",
            "class_value_field",
            "max_overlap_ratio",
            "process_all_raster_items",
            "context",
        ],
        ["out_objects"],
    ),
    "classify_pixels_using_deep_learning": (
        ["input_raster", "output_classified_raster", "model", "model_arguments", "process_all_raster_items", "context"],
        ["out_raster"],
    ),
    "copy_raster": (
        ["input_raster", "output_name", "output_cellsize", "resampling_method", "clip_setting", "context"],
        ["output_raster"],
    ),
    "detect_change_using_deep_learning": (
        ["from_raster", "to_raster", "output_classified_raster_name", "model_definition", "model_arguments", "context"],
        ["output_raster"],
    ),
}
TYPES = {
    "runNMS": "GPBoolean",
    "processAllRasterItems": "GPBoolean",
    "maxOverlapRatio": "GPDouble",
    "minIoU": "GPDouble",
}
REQUIRED = {
    "inputRaster",
    "outputObjects",
    "outputClassifiedRaster",
    "model",
    "modelLocation",
    "outputName",
    "fromRaster",
    "toRaster",
    "outputClassifiedRasterName",
    "modelDefinition",
    "modelPackage",
    "modelItemId",
    "dataStoreName",
    "detectedFeatures",
    "groundTruthFeatures",
    "outAccuracyTableName",
}


def python_name(name: str) -> str:
    """The rule of contract 5.2."""
    if "_" in name or " " in name:
        return name.lower()
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def documents() -> list[dict]:
    return [task_document(tool, "https://h/help") for tool in TOOLS.values()]


def test_the_rule_gives_the_names_that_the_contract_quotes() -> None:
    assert python_name("runNMS") == "run_nms"
    assert python_name("minIoU") == "min_io_u"
    assert python_name("ExportTrainingDataforDeepLearning") == "export_training_datafor_deep_learning"


def test_every_task_has_the_python_name_that_clients_call() -> None:
    assert {python_name(document["name"]) for document in documents()} == KEYWORDS.keys()


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["name"])
def test_a_task_takes_every_keyword_that_clients_send(document: dict) -> None:
    keywords, outputs = KEYWORDS[python_name(document["name"])]
    declared = [p for p in document["parameters"] if p["direction"] == "esriGPParameterDirectionInput"]
    derived = [p for p in document["parameters"] if p["direction"] == "esriGPParameterDirectionOutput"]

    assert set(keywords) <= {python_name(p["name"]) for p in declared}
    assert [python_name(p["name"]) for p in derived] == outputs
    assert {p["parameterType"] for p in derived} == {"esriGPParameterTypeDerived"}


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["name"])
def test_types_and_requiredness_are_those_of_the_contract(document: dict) -> None:
    for parameter in document["parameters"]:
        if parameter["direction"] == "esriGPParameterDirectionOutput":
            continue
        required = parameter["parameterType"] == "esriGPParameterTypeRequired"
        assert required == (parameter["name"] in REQUIRED), parameter["name"]
        if python_name(parameter["name"]) in KEYWORDS[python_name(document["name"])][0]:
            assert parameter["dataType"] == TYPES.get(parameter["name"], "GPString")


def faults_of(document: dict) -> list[str]:
    """What of a task's document breaks clients: the rules of contract 1.10 and 5.2, one after the other."""
    inputs = [p for p in document["parameters"] if p["direction"] == "esriGPParameterDirectionInput"]
    faults = []
    for where, text in [("task", document["description"]), *((p["name"], p["description"]) for p in inputs)]:
        faults += [f'{where}: description holds """'] if '"""' in text else []
    faults += ["task: description holds a backslash"] if "\\" in document["description"] else []
    for parameter in inputs:
        name, value = parameter["name"], parameter["defaultValue"]
        fits = {"GPBoolean": bool, "GPLong": int, "GPDouble": (int, float), "GPString": str}[parameter["dataType"]]
        if value is not None and not (isinstance(value, fits) and isinstance(value, bool) == (fits is bool)):
            faults.append(f"{name}: default {value!r} is no {parameter['dataType']}")
        faults += [f"{name}: default holds a backslash"] if "\\" in str(value) else []
        if "choiceList" in parameter and not all(isinstance(choice, str) for choice in parameter["choiceList"]):
            faults.append(f"{name}: a choice is no text")
    names = [python_name(p["name"]) for p in inputs]
    faults += [f"{name}: no Python name" for name in names if not name.isidentifier() or keyword.iskeyword(name)]
    faults += ["two parameters have one Python name"] if len(set(names)) != len(names) else []
    return faults + _faults_of_source(document, inputs)


def _faults_of_source(document: dict, inputs: list[dict]) -> list[str]:
    arguments = ", ".join(f"{python_name(p['name'])}={p['defaultValue']!r}" for p in inputs)
    told = "\n".join([document["description"], *(p["description"] for p in inputs)])
    try:
        ast.parse(f'def {python_name(document["name"])}({arguments}):\n    """{told}"""\n')
    except SyntaxError as error:
        return [f"not Python: {error.msg}"]
    return []


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["name"])
def test_a_task_survives_being_pasted_into_python_source(document: dict) -> None:
    assert faults_of(document) == []
    assert json.loads(json.dumps(document, allow_nan=False)) == document


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["name"])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"description": 'It says """so""".'}, 'holds """'),
        ({"description": "In C:\\users."}, "holds a backslash"),
        ({"parameter": {"description": 'A """ in it'}}, 'holds """'),
        ({"parameter": {"defaultValue": "C:\\users"}}, "default holds a backslash"),
        ({"parameter": {"dataType": "GPBoolean", "defaultValue": "true"}}, "is no GPBoolean"),
        ({"parameter": {"dataType": "GPDouble", "defaultValue": True}}, "is no GPDouble"),
        ({"parameter": {"dataType": "GPString", "defaultValue": {"a": 1}}}, "is no GPString"),
        ({"parameter": {"name": "class"}}, "no Python name"),
        ({"parameter": {"name": "a-b"}}, "no Python name"),
    ],
)
def test_the_rules_would_notice_each_fault_in_every_task(document: dict, changes: dict, told: str) -> None:
    parameters = document["parameters"]
    if not any(p["direction"] == "esriGPParameterDirectionInput" for p in parameters):
        parameters = [{**parameters[0], "name": "extra", "direction": "esriGPParameterDirectionInput"}, *parameters]
    broken = {**document, **changes, "parameters": parameters}
    if "parameter" in changes:
        broken["parameters"] = [{**parameters[0], **changes["parameter"]}, *parameters[1:]]
    assert any(told in fault for fault in faults_of(broken)), faults_of(broken)


def test_no_metadata_holds_words_that_make_clients_sign_in_again() -> None:
    everything = json.dumps([toolbox_document(TOOLS), *documents()]).lower()

    assert "token required" not in everything
    assert "invalid token" not in everything


def test_the_version_is_a_number() -> None:
    version = toolbox_document(TOOLS)["currentVersion"]

    assert isinstance(version, float)
    assert 11.0 <= version < 12.0


@pytest.mark.parametrize(
    ("name", "shown"), [("runNMS", "Run NMS"), ("inputRaster", "Input Raster"), ("model", "Model")]
)
def test_display_names_are_words(name: str, shown: str) -> None:
    assert display_name(name) == shown
