"""Which imports of a raster function can be had here, found without importing anything."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable

from dlpk.archive import Member


def missing_imports(names: Iterable[str], members: Iterable[Member]) -> list[str]:
    """Give the top-level modules that are neither in the package, nor in Python, nor installed."""
    # Functions put their own folder and its sub-folders on the path, so any place in the package counts.
    parts = {part.removesuffix(".py") for member in members for part in member.name.split("/")}
    return [name for name in names if name not in parts and not _is_available(name)]


def _is_available(name: str) -> bool:
    if name in sys.stdlib_module_names:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
