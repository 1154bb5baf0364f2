"""Write the tables of docs/tools.md from the tools' declarations: `python tests/tools/write_tools_page.py`.

What is written between a heading and its tables is kept; a new tool gets its section at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raster_analysis.tools import TOOLS

from raster_analysis.tool import Kind, ParameterInfo, Tool

PAGE = Path(__file__).parents[2] / "docs" / "tools.md"
_SECTION = re.compile(r"(?m)^## (\w+)\n")
_TYPES = {"GPString": "text", "GPBoolean": "true or false", "GPDouble": "number", "GPLong": "whole number"}


def render(page: str, tools: Mapping[str, Tool[Any]]) -> str:
    """Return the page with every table as the declarations have it."""
    intro, *parts = _SECTION.split(page)
    prose = {name: body.split("\n| parameter |")[0].split("\n| output |")[0].strip() for name, body in _pairs(parts)}
    names = [name for name in prose if name in tools] + [name for name in tools if name not in prose]
    sections = [_section(tools[name], prose.get(name) or tools[name].help) for name in names]
    return "\n\n".join([intro.strip(), *sections]) + "\n"


def _pairs(parts: list[str]) -> list[tuple[str, str]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


def _section(tool: Tool[Any], prose: str) -> str:
    tables = []
    if tool.describe():
        rows = [_row(info) for info in tool.describe()]
        tables.append("\n".join(["| parameter | what | given as | default |", "|---|---|---|---|", *rows]))
    outputs = [f"| `{output.name}` | {_cell(output.help)} |" for output in tool.outputs]
    tables.append("\n".join(["| output | what |", "|---|---|", *outputs]))
    return "\n\n".join([f"## {tool.name}", prose, *tables])


def _row(info: ParameterInfo) -> str:
    kind = _TYPES[info.data_type] if info.kind is Kind.VALUE else info.kind.value
    if info.choices:
        kind = " or ".join(f"`{choice}`" for choice in info.choices)
    default = "required" if info.required else "" if info.default in (None, "") else f"`{_shown(info.default)}`"
    return f"| `{info.name}` | {_cell(info.help)} | {kind} | {default} |"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(), TOOLS))
