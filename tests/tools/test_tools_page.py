"""docs/tools.md has every tool with every parameter and output as they are declared."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from raster_analysis.tools import TOOLS

sys.path.insert(0, str(Path(__file__).parent))

from write_tools_page import PAGE, render

TEXT = PAGE.read_text()


@pytest.mark.parametrize("tool", TOOLS.values(), ids=lambda tool: tool.name)
def test_a_tool_has_a_section_with_a_row_for_each_parameter_and_output(tool):
    assert f"\n## {tool.name}\n" in TEXT, "run `python tests/tools/write_tools_page.py` and add what people should know"
    section = re.split(r"(?m)^## ", TEXT.split(f"\n## {tool.name}\n")[1])[0]
    rows = re.findall(r"(?m)^\| `(\w+)` \|", section)
    assert rows == [*(info.name for info in tool.describe()), *(output.name for output in tool.outputs)]


def test_the_tables_are_those_of_the_declarations():
    assert render(TEXT, TOOLS) == TEXT, "run `python tests/tools/write_tools_page.py`"


def test_writing_the_tables_keeps_what_people_wrote_and_adds_what_is_new():
    assert render(render(TEXT, TOOLS), TOOLS) == render(TEXT, TOOLS)
    only = {"QueryDeepLearningModelInfo": TOOLS["QueryDeepLearningModelInfo"]}
    page = render(
        "# Tools\n\nAbout.\n\n## QueryDeepLearningModelInfo\n\nBy hand.\n\n| parameter |\nold\n\n## Gone\n\nx\n", only
    )
    assert page.startswith("# Tools\n\nAbout.\n\n## QueryDeepLearningModelInfo\n\nBy hand.\n\n| parameter | what |")
    assert "old" not in page
    assert "Gone" not in page
    assert "\n## ListDatastoreContent\n\nList the files" in render("# Tools\n", TOOLS)
