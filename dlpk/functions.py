"""What a Python raster function declares, read from its text: it is parsed, never imported."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

MAX_SOURCE_BYTES = 2**20

_MARK_METHOD = "getParameterInfo"


class FunctionFault(Exception):
    """The text is not a raster function; the code is that of the finding."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """What the text of a raster function tells."""

    class_name: str
    methods: frozenset[str]
    has_foreign_base: bool
    """Whether the class inherits from one of another file, which may bring further methods."""
    takes_rasters: bool
    """Whether a parameter is called `rasters`, as functions that classify objects have."""
    imports: tuple[str, ...]
    """Top-level names of all imported modules, sorted."""


def inspect_function(source: bytes, name: str) -> FunctionFacts:
    """Find the class of a raster function and what it defines.

    Raises:
        FunctionFault: The text is not Python, or no class in it is a raster function.
    """
    tree = parse_source(source)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    stem = PurePosixPath(name).stem
    # Templates name their class otherwise than the file; then this method marks it.
    candidates = [node for node in classes.values() if _MARK_METHOD in _methods_of(node, classes)]
    chosen = classes.get(stem) or (candidates[0] if len(candidates) == 1 else None)
    if chosen is None:
        found = ", ".join(node.name for node in candidates) or "none"
        message = f"no class is called {stem!r}, and not exactly one class defines {_MARK_METHOD} (found: {found})."
        raise FunctionFault("function.class", message)
    # Parameters are declared as dictionaries of literals, so their names stand in the text.
    texts = (node.value for node in ast.walk(chosen) if isinstance(node, ast.Constant))
    return FunctionFacts(
        class_name=chosen.name,
        methods=frozenset(_methods_of(chosen, classes)),
        has_foreign_base=_has_foreign_base(chosen, classes),
        takes_rasters="rasters" in {text for text in texts if isinstance(text, str)},
        imports=tuple(sorted(_imports_of(tree))),
    )


def parse_source(source: bytes) -> ast.Module:
    """Parse Python text of bounded size.

    Raises:
        FunctionFault: It is too large or not Python.
    """
    if len(source) > MAX_SOURCE_BYTES:
        raise FunctionFault("function.syntax", f"it has {len(source)} bytes; {MAX_SOURCE_BYTES} are allowed.")
    try:
        with warnings.catch_warnings():
            # Odd escapes in someone's Windows paths are not ours to report.
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as fault:
        raise FunctionFault("function.syntax", f"line {fault.lineno}: {fault.msg}.") from None
    except (ValueError, RecursionError, MemoryError) as fault:
        raise FunctionFault("function.syntax", f"it cannot be parsed: {type(fault).__name__}.") from None


def _methods_of(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> set[str]:
    """Give the methods of a class and of its bases in the same file."""
    functions = (item for member in _ancestors(node, classes) for item in member.body)
    return {item.name for item in functions if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef))}


def _ancestors(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    found = [node]
    for member in found:
        names = (base.id for base in member.bases if isinstance(base, ast.Name))
        found += [classes[name] for name in dict.fromkeys(names) if name in classes and classes[name] not in found]
    return found


def _has_foreign_base(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    local = {"object", *classes}
    bases = (base for member in _ancestors(node, classes) for base in member.bases)
    return any(not (isinstance(base, ast.Name) and base.id in local) for base in bases)


def _imports_of(tree: ast.Module) -> Iterator[str]:
    seen: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            seen |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            seen.add(node.module.split(".")[0])
    yield from seen
