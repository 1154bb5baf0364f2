"""Tools of these tests: one gives back what it was given, one fails, one waits until its file is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from raster_analysis.tools import TOOLS as REAL_TOOLS

from raster_analysis.errors import RasterError
from raster_analysis.inputs import RasterInput
from raster_analysis.perform import perform
from raster_analysis.seams import Reporter
from raster_analysis.task import Done, Task
from raster_analysis.tool import Context, Kind, Output, OutputInfo, Parameters, Tool, parameter


class EchoParameters(Parameters):
    text: str = parameter("inputText", "Any text.")
    loud: bool = parameter("loudOrNot", "Whether to shout.", default=False)
    tempo: Literal["SLOW", "FAST"] = parameter("tempo", "How fast.", default="SLOW", choices=("SLOW", "FAST"))
    overlap: float = parameter("minIoU", "A number.", default=0.5)
    wait_for: str | None = parameter("waitFor", "A file.", default=None)


def echo(parameters: EchoParameters, context: Context) -> tuple[Output, ...]:
    context.report.message(f"heard {parameters.text}")
    if parameters.text == "fail":
        raise RasterError("this raster cannot be read; give another")
    while parameters.wait_for and Path(parameters.wait_for).exists():
        context.report.check_cancelled()
        time.sleep(0.002)
    text = parameters.text.upper() if parameters.loud else parameters.text
    return (Output("outText", "value", value={"result": text}), Output("outNothing", "value", value=None))


ECHO = Tool(
    "EchoText",
    "Echo Text",
    "Say it again.",
    EchoParameters,
    (OutputInfo("outText", "The text."), OutputInfo("outNothing", "Nothing.")),
    run=echo,
    synonyms={"inputTxt": "inputText"},
)


class OpenParameters(Parameters):
    raster: RasterInput = parameter("inputRaster", "A raster.", kind=Kind.RASTER)


def name_raster(_parameters: OpenParameters, context: Context) -> tuple[Output, ...]:
    return (Output("outTitle", "value", value=context.handle("inputRaster").title),)


NAME_RASTER = Tool(
    "NameRaster",
    "Name Raster",
    "Say what it is called.",
    OpenParameters,
    (OutputInfo("outTitle", ""),),
    run=name_raster,
)
TOOLS = {**REAL_TOOLS, "EchoText": ECHO, "NameRaster": NAME_RASTER}


def open_bench() -> Callable[[Task, Reporter], Done]:
    return run


def run(task: Task, report: Reporter) -> Done:
    nothing = object()
    context = Context(
        folder=Path(task.folder),
        handles=task.handles,
        report=report,
        rasters=nothing,  # type: ignore[arg-type]
        models=nothing,  # type: ignore[arg-type]
        features=nothing,  # type: ignore[arg-type]
        memory_limit=0,
    )
    return perform(task, TOOLS, context)
