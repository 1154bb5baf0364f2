"""Task documents become Python source in clients: names and texts are checked with the rules of that translation."""

from __future__ import annotations

import ast
import json
import keyword
import re

import pytest
from contract_tasks import TASKS
from raster_analysis.tools import TOOLS

from raster_analysis.rest.tasks import display_name, task_document, toolbox_document


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


def inputs_of(document: dict) -> dict[str, dict]:
    return {p["name"]: p for p in document["parameters"] if p["direction"] == "esriGPParameterDirectionInput"}


def test_every_task_has_the_name_that_clients_call() -> None:
    assert {document["name"] for document in documents()} <= TASKS.keys()
    assert len({python_name(name) for name in TASKS}) == len(TASKS)


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["name"])
def test_a_task_takes_every_keyword_that_clients_send(document: dict) -> None:
    wanted = TASKS[document["name"]]
    declared = inputs_of(document)
    derived = [p for p in document["parameters"] if p["direction"] == "esriGPParameterDirectionOutput"]

    assert wanted.parameters.keys() <= declared.keys()
    # What clients call in Python: two names of ours must not become one of theirs.
    assert {python_name(name) for name in wanted.parameters} <= {python_name(name) for name in declared}
    assert len({python_name(name) for name in declared}) == len(declared)
    assert tuple(p["name"] for p in derived) == wanted.outputs
    assert {p["parameterType"] for p in derived} == {"esriGPParameterTypeDerived"}


@pytest.mark.parametrize("document", documents(), ids=lambda document: document["name"])
def test_types_and_requiredness_are_those_of_the_contract(document: dict) -> None:
    wanted = TASKS[document["name"]]
    for name, parameter in inputs_of(document).items():
        required = parameter["parameterType"] == "esriGPParameterTypeRequired"
        assert required == (name in wanted.required) or name in wanted.undecided, name
        assert parameter["dataType"] == wanted.parameters.get(name, parameter["dataType"]), name


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
