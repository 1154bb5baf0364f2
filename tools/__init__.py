"""One geoprocessing task a file; ships as `raster_analysis.tools`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

if __name__ != "raster_analysis.tools":
    raise ImportError("this folder is the package raster_analysis.tools: import it by that name")

from raster_analysis.tools import (
    classify_objects_using_deep_learning,
    classify_pixels_using_deep_learning,
    compute_accuracyfor_object_detection,
    copy_raster,
    detect_change_using_deep_learning,
    detect_objects_using_deep_learning,
    install_deep_learning_model,
    list_datastore_content,
    list_deep_learning_models,
    publish_deep_learning_model,
    query_deep_learning_model_info,
    uninstall_deep_learning_model,
)

from raster_analysis.tool import Tool

TOOLS: Mapping[str, Tool[Any]] = MappingProxyType(
    {
        module.TOOL.name: module.TOOL
        for module in (
            publish_deep_learning_model,
            list_deep_learning_models,
            query_deep_learning_model_info,
            install_deep_learning_model,
            uninstall_deep_learning_model,
            list_datastore_content,
            compute_accuracyfor_object_detection,
            detect_objects_using_deep_learning,
            classify_pixels_using_deep_learning,
            classify_objects_using_deep_learning,
            detect_change_using_deep_learning,
            copy_raster,
        )
    }
)
"""Every tool by its name on the wire."""
