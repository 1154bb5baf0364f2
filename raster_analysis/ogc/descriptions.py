"""Descriptions of processes: what a tool takes and gives, as documents of the standard."""

from __future__ import annotations

from typing import Any

from pydantic import JsonValue

from raster_analysis.ogc.links import EXECUTE_REL, Link, Links
from raster_analysis.ogc.schemas import input_schemas, is_item, output_schema
from raster_analysis.rest.envelope import Document
from raster_analysis.rest.tasks import display_name
from raster_analysis.tool import Tool

VERSION = "1.0.0"
"""Of the processes' interfaces, not of the program."""


def summary(tool: Tool[Any], links: Links) -> Document:
    """Return a process as lists show it."""
    modes: list[JsonValue] = ["sync-execute", "async-execute"] if may_wait(tool) else ["async-execute"]
    own: list[JsonValue] = [links.to("self", "processes", tool.name, title=tool.title)]
    return {
        "id": tool.name,
        "title": tool.title,
        "description": tool.help,
        "version": VERSION,
        "jobControlOptions": modes,
        "outputTransmission": list(transmissions(tool)),
        "links": own,
    }


def description(tool: Tool[Any], links: Links) -> Document:
    """Return a process with its inputs and outputs."""
    schemas = input_schemas(tool)
    inputs: Document = {
        info.name: {
            "title": display_name(info.name),
            "description": info.help,
            "minOccurs": int(info.required),
            "maxOccurs": 1,
            "schema": schemas[info.name],
        }
        for info in tool.describe()
    }
    outputs: Document = {
        output.name: {
            "title": display_name(output.name),
            "description": output.help,
            "schema": output_schema(tool, output),
        }
        for output in tool.outputs
    }
    every: list[Link] = [
        *links.of_itself("processes", tool.name, title=tool.title),
        links.to(EXECUTE_REL, "processes", tool.name, "execution", title="Execute"),
    ]
    return {**summary(tool, links), "inputs": inputs, "outputs": outputs, "links": [*every]}


def may_wait(tool: Tool[Any]) -> bool:
    """Tell whether a client may wait for the end: what works in blocks takes minutes or hours."""
    return tool.plan is None


def transmissions(tool: Tool[Any]) -> tuple[str, ...]:
    """Return how outputs can be had: items by reference only, as their size has no bound."""
    return ("reference",) if all(is_item(tool, output) for output in tool.outputs) else ("value", "reference")
