"""The echo process of the executable test suite: gives each input back as the output of the same name."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import JsonValue, WithJsonSchema
from raster_analysis.tools import TOOLS as REAL_TOOLS

from raster_analysis.errors import RasterError
from raster_analysis.inputs import OutputName, RasterInput
from raster_analysis.perform import perform
from raster_analysis.seams import Reporter
from raster_analysis.task import Done, Task
from raster_analysis.tool import (
    Block,
    BlockResult,
    Context,
    Kind,
    Output,
    OutputInfo,
    Parameters,
    Plan,
    Tool,
    parameter,
)

STRING = {"type": "string"}
NUMBER = {"type": "number"}
ARRAY = {"type": "array", "minItems": 2, "maxItems": 10, "items": {"type": "integer"}}
BBOX = {
    "type": "object",
    "format": "ogc-bbox",
    "required": ["bbox"],
    "properties": {"bbox": {"type": "array", "items": {"type": "number"}}, "crs": {"type": "string"}},
}
OBJECT = {"oneOf": [{"type": "object", "properties": {"property1": {"type": "string"}}}, {"type": "string"}]}
BINARY = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}

Array = Annotated[list[int], WithJsonSchema(ARRAY)]
Bbox = Annotated[dict[str, Any], WithJsonSchema(BBOX)]
Object = Annotated[dict[str, JsonValue] | str, WithJsonSchema(OBJECT)]
Binary = Annotated[str, WithJsonSchema(BINARY)]


class EchoParameters(Parameters):
    string_input: str = parameter("stringInput", "Any text.")
    double_input: float | None = parameter("doubleInput", "A number.", default=None)
    array_input: Array = parameter("arrayInput", "Whole numbers.", default=[])
    bbox_input: Bbox = parameter("boundingBoxInput", "A bounding box.", default={})
    object_input: Object = parameter("complexObjectInput", "An object, or text.", default="")
    image_input: Binary = parameter("imageInput", "An image.", default="")
    pause: int = parameter("pause", "How many tenths of seconds to wait.", default=0)
    wait_for: str = parameter("waitFor", "A file whose end is waited for.", default="")


OUTPUTS = {
    "stringInput": STRING,
    "doubleInput": NUMBER,
    "arrayInput": ARRAY,
    "boundingBoxInput": BBOX,
    "complexObjectInput": OBJECT,
    "imageInput": BINARY,
}


def echo(parameters: EchoParameters, context: Context) -> tuple[Output, ...]:
    if parameters.string_input == "fail":
        raise RasterError("this raster cannot be read; give another")
    while parameters.wait_for and Path(parameters.wait_for).exists():
        context.report.check_cancelled()
        time.sleep(0.002)
    given = parameters.model_dump(by_alias=True)
    return tuple(Output(name, "value", value=given[name]) for name in OUTPUTS)


ECHO = Tool(
    "Echo",
    "Echo Process",
    "Gives back what it is given.",
    EchoParameters,
    tuple(OutputInfo(name, "The input of the same name.", schema=schema) for name, schema in OUTPUTS.items()),
    run=echo,
)


class RasterParameters(Parameters):
    raster: RasterInput = parameter("inputRaster", "A raster.", kind=Kind.RASTER)
    output: OutputName = parameter("outputName", "A result.", kind=Kind.OUTPUT, default="copy")


def copy_raster(_parameters: RasterParameters, context: Context) -> tuple[Output, ...]:
    path = context.folder / "copy.tif"
    path.write_bytes(Path(context.handle("inputRaster").path).read_bytes())
    return (Output("outRaster", "imagery", path=str(path)),)


def plan(parameters: RasterParameters, context: Context) -> Plan:
    return Plan((), {}, 0)


def run_block(block: Block, plan: Plan, parameters: RasterParameters, context: Context) -> BlockResult:
    raise AssertionError("there are no blocks")


COPY = Tool(
    "CopyRaster",
    "Copy Raster",
    "Works in blocks, as far as anybody can see.",
    RasterParameters,
    (OutputInfo("outRaster", "The copy.", source="outputName"),),
    plan=plan,
    run_block=run_block,
    finish=lambda plan, results, parameters, context: copy_raster(parameters, context),
)
TOOLS = {**REAL_TOOLS, "Echo": ECHO, "CopyRaster": COPY}


def open_bench() -> Callable[[Task, Reporter], Done]:
    return run


def run(task: Task, report: Reporter) -> Done:
    nothing: Any = object()
    context = Context(
        folder=Path(task.folder),
        handles=task.handles,
        report=report,
        rasters=nothing,
        models=nothing,
        features=nothing,
        memory_limit=0,
    )
    return perform(task, TOOLS, context)
