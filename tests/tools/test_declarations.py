"""What every tool declares, and how its parameters are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from raster_analysis.tools import TOOLS

from raster_analysis.errors import ParameterError
from raster_analysis.inference.preparation import TOOL_OF_TASK
from raster_analysis.tool import Kind

FOLDER = Path(__file__).parents[2] / "tools"
MODEL, RASTER = {"itemId": "0" * 32}, "/fileShares/imagery/a.tif"
DETECT = {"inputRaster": RASTER, "outputObjects": "Found", "model": MODEL}
CLASSIFY = {"inputRaster": RASTER, "outputClassifiedRaster": "Cover", "model": MODEL}


def test_each_file_is_one_tool_of_the_same_name():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in TOOLS}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_a_tool_says_what_it_is_and_how_it_runs(tool):
    assert tool.help.endswith(".")
    # Without case: one task of the contract has a lower-case "for" in its name.
    assert tool.title.replace(" ", "").lower() == tool.name.lower()
    assert tool.outputs
    assert all(info.help and not info.help.endswith(".") for info in tool.describe())
    assert all(output.source in (None, *(info.name for info in tool.describe())) for output in tool.outputs)
    stages = (tool.plan, tool.run_block, tool.finish)
    assert (all(stages), bool(tool.run), bool(tool.answer)).count(True) == 1
    assert all(stages) or not any(stages)
    assert set(tool.synonyms.values()) <= {info.name for info in tool.describe()}


@pytest.mark.parametrize("name", [name for name in TOOL_OF_TASK.values() if name in TOOLS])
def test_tools_that_run_a_model_share_their_parameters(name):
    kinds = {info.name: info.kind for info in TOOLS[name].describe()}
    assert kinds["inputRaster"] is Kind.RASTER
    assert kinds["model"] is Kind.MODEL
    assert kinds["modelArguments"] is Kind.ARGUMENTS
    assert kinds["context"] is Kind.CONTEXT
    assert Kind.OUTPUT in kinds.values()


def test_what_is_required_is_named_all_at_once():
    with pytest.raises(ParameterError) as refused:
        TOOLS["DetectObjectsUsingDeepLearning"].parse({"model": "", "runNMS": "perhaps"})
    text = str(refused.value)
    for words in ("inputRaster is missing", "outputObjects is missing", "model is missing", "runNMS = 'perhaps'"):
        assert words in text


def test_the_misspelling_of_the_public_documentation_is_understood():
    form = {key: value for key, value in CLASSIFY.items() if key != "outputClassifiedRaster"}
    parsed = TOOLS["ClassifyPixelsUsingDeepLearning"].parse({**form, "outputClassifedRaster": '{"name": "Cover"}'})
    assert parsed.output.name == "Cover"


@pytest.mark.parametrize(
    "written",
    ['{"padding": 5, "threshold": "0.5"}', "padding 5;threshold 0.5", {"padding": "5", "threshold": 0.5}],
)
def test_model_arguments_come_as_json_or_as_pairs(written):
    parsed = TOOLS["DetectObjectsUsingDeepLearning"].parse({**DETECT, "modelArguments": written})
    assert parsed.model_arguments == {"padding": "5", "threshold": "0.5"}


def test_a_bare_item_id_is_an_item_and_a_bare_path_a_path():
    parsed = TOOLS["DetectObjectsUsingDeepLearning"].parse({**DETECT, "model": "0123456789abcdef0123456789abcdef"})
    assert parsed.model.item_id == "0123456789abcdef0123456789abcdef"
    assert parsed.input_raster.uri == RASTER
    assert TOOLS["DetectObjectsUsingDeepLearning"].parse({**DETECT, "inputRaster": "https://a/b"}).input_raster.url


@pytest.mark.parametrize(
    ("written", "wkid"),
    [("32633", 32633), (32633, 32633), ("EPSG:32633", 32633), ({"wkid": 102100}, 102100), ({"latestWkid": 3857}, None)],
)
def test_a_system_is_a_code_or_an_object(written, wkid):
    parsed = TOOLS["DetectObjectsUsingDeepLearning"].parse({**DETECT, "context": {"outSR": written}})
    assert parsed.context.out_sr.wkid == wkid


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"outSR": "Gauss"}, "want a code such as 32633 or EPSG:32633"),
        ({"device": "gpu"}, "want auto, cpu, cuda or cuda:N"),
        ({"extent": {"xmin": 3, "ymin": 0, "xmax": 1, "ymax": 1}}, "spans no area"),
        ({"batchSize": 0}, "batchSize = 0"),
    ],
)
def test_a_context_that_says_nothing_sensible_is_refused(context, words):
    with pytest.raises(ParameterError, match=words):
        TOOLS["ClassifyPixelsUsingDeepLearning"].parse({**CLASSIFY, "context": context})


def test_environments_of_a_form_reach_the_context():
    parsed = TOOLS["DetectObjectsUsingDeepLearning"].parse({**DETECT, "env:outSR": "3857", "returnZ": "True"})
    assert parsed.context.out_sr.wkid == 3857
