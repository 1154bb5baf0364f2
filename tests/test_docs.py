"""The pages of the documentation are complete, and what they name is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter
from raster_analysis.tools import TOOLS

from raster_analysis.service_cli import serve_command
from raster_analysis.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
README = PAGES[0].read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return what a page's headings are linked as."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) < 130
    assert {f"docs/{page.name}" for page in DOCS.glob("*.md")} <= set(LINK.findall(README))


def requirement_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=<; ]", requirement)[0] for requirement in requirements}


def test_every_dependency_is_explained() -> None:
    page = (DOCS / "dependencies.md").read_text()
    rows = re.findall(r"(?m)^\| ([a-z0-9, -]+) \|", page)
    core = {name.strip() for row in rows for name in row.split(",")} - {"core", "extra", ""}
    assert core - {"why"} == requirement_names(PROJECT["project"]["dependencies"])
    for extra, requirements in PROJECT["project"]["optional-dependencies"].items():
        row = re.search(rf"(?m)^\| `{extra}` \| (.+)$", page)
        assert row, f"docs/dependencies.md says nothing of the extra {extra}"
        assert {name for name in requirement_names(requirements) if name not in row[1]} == set()


def test_every_package_is_installed() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    there = {path.parent for name in ("dlpk", "raster_analysis") for path in (ROOT / name).rglob("__init__.py")}
    assert listed == {".".join(path.relative_to(ROOT).parts) for path in there} | {"raster_analysis.tools"}


def rooms() -> Iterator[str]:
    """Every module and folder of the package's top level."""
    for path in (ROOT / "raster_analysis").iterdir():
        if path.suffix == ".py" and not path.name.startswith("__"):
            yield path.stem
        if (path / "__init__.py").exists():
            yield path.name


def test_the_table_of_rooms_names_every_room() -> None:
    table = "\n".join(re.findall(r"(?m)^\| .+$", PAGES[1].read_text()))
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", table))))
    assert set(rooms()) <= named


def settings_table() -> dict[str, str]:
    """Return the default that docs/rest.md gives of each setting."""
    section = (DOCS / "rest.md").read_text().split("\n## Settings\n")[1].split("\n## ")[0]
    found: dict[str, str] = {}
    for names, default in re.findall(r"(?m)^\| (`.+?) \| (.+?) \|", section):
        keys = re.findall(r"`(\w+)`", names)
        values = re.findall(r"`([^`]+)`", default)
        found |= dict(zip(keys, values if len(values) == len(keys) else [default.strip("`")] * len(keys), strict=True))
    return found


def test_the_table_of_settings_is_complete() -> None:
    assert list(settings_table()) == list(dict.fromkeys(settings_table()))
    assert set(settings_table()) == set(Settings.model_fields)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_table_tells_the_default_of_a_setting(name: str) -> None:
    field, told = Settings.model_fields[name], settings_table()[name]
    default: Any = field.get_default(call_default_factory=True)
    if default in (None, (), {}):
        assert told in ("none", "from host and port", "self-signed")
    elif isinstance(default, bool):
        assert told == str(default).lower()
    else:
        assert TypeAdapter(field.annotation).validate_python(told) == default


def test_the_help_of_serve_names_every_setting() -> None:
    told = CliRunner().invoke(serve_command, ["--help"]).output
    missing = [name for name in Settings.model_fields if f"RASTER_ANALYSIS_{name.upper()}" not in told]
    assert missing == []


@pytest.mark.parametrize(
    "part", ["/portal/sharing/rest", "/arcgis/admin", "/arcgis/rest/services/Hosted", "RasterAnalysisTools/GPServer"]
)
def test_the_page_of_compatibility_names_every_operation(part: str) -> None:
    routes = re.findall(r"(?m)^\| `([^`]+)` \|", (DOCS / "routes.md").read_text())
    words = {route.rstrip("/").split("/")[-1] for route in routes if part in route}
    told = set(re.findall(r"\w+", (DOCS / "compatibility.md").read_text()))
    assert {word for word in words if not word.startswith("{")} - told == set()


def test_the_page_of_compatibility_names_every_tool() -> None:
    assert set(TOOLS) <= set(re.findall(r"`(\w+)`", (DOCS / "compatibility.md").read_text()))


def test_the_changes_are_told_once() -> None:
    lines = [line for line in PAGES[2].read_text().splitlines() if line.startswith("- ")]
    assert sorted(lines) == sorted(set(lines))
