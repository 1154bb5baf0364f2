"""The direction of imports, read from the source: nothing is imported here but the standard library."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"dlpk": ROOT / "dlpk", "raster_analysis": ROOT / "raster_analysis", "raster_analysis.tools": ROOT / "tools"}

RANKS: list[set[str]] = [
    {"dlpk"},
    {"settings", "errors"},
    {
        "grid",
        "pixels",
        "detections",
        "handle",
        "composite",
        "inputs",
        "model_info",
        "seams",
        "tool",
        "task",
        "question",
        "perform",
        "greedy",
        "redaction",
    },
    {"models", "rasters"},
    {"jobs", "executors", "inference", "portal", "layers"},
    {"tools"},
    {"rest"},
    {"ogc"},
    {
        "app",
        "worker",
        "reader",
        "api",
        "batch",
        "progress",
        "rest_client",
        "demo",
        "cli",
        "service_cli",
        "user_errors",
        "__main__",
    },
]
HEAVY = {
    "torch": {"raster_analysis.models"},
    "torchvision": {"raster_analysis.models"},
    "openvino": {"raster_analysis.models"},
    "onnxruntime": {"raster_analysis.models"},
    "rasterio": {"raster_analysis.rasters"},
    "pyogrio": {"raster_analysis.rasters", "raster_analysis.layers"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(part for part in parts if part != "__init__"), ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module imported anywhere in the file; what only type checkers see is left out."""
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[0] if parts[0] == "dlpk" else parts[1] if len(parts) > 1 else ""


def rank(name: str) -> int:
    return next(level for level, names in enumerate(RANKS) if name in names)


def test_every_room_has_a_rank() -> None:
    known = set().union(*RANKS)
    assert {room(name) for name, _ in modules()} - {""} <= known


def test_imports_point_down() -> None:
    wrong = []
    for name, tree in modules():
        here = room(name)
        for target in imports(tree):
            if target.split(".")[0] not in ("dlpk", "raster_analysis") or not here:
                continue
            there = room(target)
            if there in ("", here):
                continue
            level, below = rank(here), rank(there)
            values = level in (2, len(RANKS) - 1)  # values and composition roots know their neighbours
            if below > level or (below == level and not values):
                wrong.append(f"{name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_heavy_libraries_are_imported_in_their_rooms_only() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, tree in modules()
        for target in imports(tree)
        for library, rooms in HEAVY.items()
        if target.split(".")[0] == library and not any(name.startswith(allowed) for allowed in rooms)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_list_of_packages_is_complete() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    mapped = {name: ROOT / folder for name, folder in project["package-dir"].items()}
    found = set(mapped)
    for name in ("dlpk", "raster_analysis"):
        found |= {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / name).rglob("__init__.py")}
    assert set(project["packages"]) == found


def test_tools_cannot_be_imported_by_the_name_of_its_folder() -> None:
    done = subprocess.run([sys.executable, "-c", "import tools"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "raster_analysis.tools" in done.stderr


@pytest.mark.parametrize("library", ["torch", "rasterio", "pyogrio", "openvino"])
def test_the_server_process_never_imports(library: str) -> None:
    code = f"import sys, raster_analysis.app, raster_analysis.tools; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
