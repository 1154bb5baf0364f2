"""Deep learning on imagery: detect objects and classify pixels with packaged models."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raster_analysis.api import Result, classify_objects, classify_pixels, detect_change, detect_objects

__all__ = ["Result", "classify_objects", "classify_pixels", "detect_change", "detect_objects"]


def __getattr__(name: str) -> object:
    """Import the batch functions when they are first asked for: they bring GDAL, which the server keeps out."""
    if name in __all__:
        return getattr(importlib.import_module("raster_analysis.api"), name)
    raise AttributeError(f"module 'raster_analysis' has no attribute {name!r}")
