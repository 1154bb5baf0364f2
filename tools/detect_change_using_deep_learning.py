"""DetectChangeUsingDeepLearning: what changed between two rasters of one place; the result is one COG."""

from __future__ import annotations

from collections.abc import Sequence

from raster_analysis.inference.classified import classify_to_file, write_classes
from raster_analysis.inference.preparation import Request, make_plan
from raster_analysis.inputs import ContextInput, ModelArguments, ModelInput, OutputName, ProcessingContext, RasterInput
from raster_analysis.model_info import Task
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


class ChangeParameters(Parameters):
    """The parameters of contract 8.7."""

    from_raster: RasterInput = parameter("fromRaster", "The raster of the earlier date", kind=Kind.RASTER)
    to_raster: RasterInput = parameter("toRaster", "The raster of the later date", kind=Kind.RASTER)
    output: OutputName = parameter("outputClassifiedRasterName", "The raster of changes", kind=Kind.OUTPUT)
    model: ModelInput = parameter("modelDefinition", "The model: item id, URL or store path", kind=Kind.MODEL)
    model_arguments: ModelArguments = parameter(
        "modelArguments", "Arguments of the model, by name", kind=Kind.ARGUMENTS, default={}
    )
    context: ContextInput = parameter(
        "context", "Where and how to process", kind=Kind.CONTEXT, default=ProcessingContext()
    )


def plan(parameters: ChangeParameters, context: Context) -> Plan:
    """Settle the common grid, tiles and engine."""
    request = Request(
        Task.PIXELS, "toRaster", "modelDefinition", parameters.model_arguments, parameters.context, before="fromRaster"
    )
    return make_plan(request, context)


def run_block(block: Block, plan: Plan, parameters: ChangeParameters, context: Context) -> BlockResult:
    """Classify one block of both dates into a file of raster values."""
    return classify_to_file(block, plan, context, "modelDefinition")


def finish(
    plan: Plan, results: Sequence[BlockResult], parameters: ChangeParameters, context: Context
) -> tuple[Output, ...]:
    """Assemble the blocks, in block order, into one verified COG."""
    info = context.models.describe(context.handle("modelDefinition"))
    path = context.result or context.folder / "changes.tif"
    statistics = write_classes(path, plan, results, context, info=info)
    return (Output("outputRaster", "imagery", path=str(path), statistics=statistics),)


TOOL = Tool(
    name="DetectChangeUsingDeepLearning",
    title="Detect Change Using Deep Learning",
    help="Run a change detection model over two rasters of one place and write a raster of the changes.",
    parameters=ChangeParameters,
    outputs=(OutputInfo("outputRaster", "The raster of changes", source="outputClassifiedRasterName"),),
    plan=plan,
    run_block=run_block,
    finish=finish,
)
