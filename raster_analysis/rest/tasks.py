"""Documents of the toolbox and its tasks, made from the tools' declarations (contract 5.1, 5.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from raster_analysis.rest.envelope import Document
from raster_analysis.tool import OutputInfo, ParameterInfo, Tool

CURRENT_VERSION = 11.5
"""A number, never text: clients compare it, and 11.5 makes them send all parameters but those of 12.0."""

_ASYNCHRONOUS = "esriExecutionTypeAsynchronous"
_DIRECTION = "esriGPParameterDirection"
_TYPE = "esriGPParameterType"


def toolbox_document(tools: Mapping[str, Tool[Any]]) -> Document:
    """Return the GPServer root. Clients recurse for ever when `executionType` is missing."""
    return {
        "currentVersion": CURRENT_VERSION,
        "cimVersion": "3.5.0",
        "serviceDescription": "Deep learning on imagery: publish models, detect objects, classify pixels.",
        "tasks": list(tools),
        "executionType": _ASYNCHRONOUS,
        "resultMapServerName": "",
        "maximumRecords": 1000,
        "capabilities": "Uploads",
    }


def task_document(tool: Tool[Any], help_url: str) -> Document:
    """Return a task's document. Python is generated from it, so its text must be safe inside Python source."""
    inputs: Iterable[Document] = (_input_document(info) for info in tool.describe())
    outputs: Iterable[Document] = (_output_document(output) for output in tool.outputs)
    return {
        "name": tool.name,
        "displayName": tool.title,
        "description": tool.help,
        "category": "",
        "helpUrl": help_url,
        "executionType": _ASYNCHRONOUS,
        "parameters": [*inputs, *outputs],
    }


def display_name(wire_name: str) -> str:
    """Return `runNMS` as `Run NMS`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", wire_name)
    return words[:1].upper() + words[1:]


def _input_document(info: ParameterInfo) -> Document:
    document: Document = {
        "name": info.name,
        "dataType": info.data_type,
        "displayName": display_name(info.name),
        "description": info.help,
        "direction": f"{_DIRECTION}Input",
        "defaultValue": info.default,
        "parameterType": f"{_TYPE}{'Required' if info.required else 'Optional'}",
        "category": "",
    }
    return document | {"choiceList": list(info.choices)} if info.choices else document


def _output_document(output: OutputInfo) -> Document:
    return {
        "name": output.name,
        "dataType": "GPString",
        "displayName": display_name(output.name),
        "description": output.help,
        "direction": f"{_DIRECTION}Output",
        "defaultValue": None,
        "parameterType": f"{_TYPE}Derived",
        "category": "",
    }
