"""ClassifyPixelsUsingDeepLearning: every pixel of a raster gets a class; the result is one COG."""

from __future__ import annotations

from collections.abc import Sequence

from raster_analysis.inference.classified import classify_to_file, write_classes
from raster_analysis.inference.items import plan_items
from raster_analysis.inference.preparation import Request
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


class ClassifyParameters(Parameters):
    """The parameters of contract 8.3."""

    input_raster: RasterInput = parameter("inputRaster", "The raster to classify", kind=Kind.RASTER)
    output: OutputName = parameter("outputClassifiedRaster", "The classified raster", kind=Kind.OUTPUT)
    model: ModelInput = parameter("model", "The model: item id, URL or store path", kind=Kind.MODEL)
    model_arguments: ModelArguments = parameter(
        "modelArguments", "Arguments of the model, by name", kind=Kind.ARGUMENTS, default={}
    )
    process_all_raster_items: bool = parameter(
        "processAllRasterItems", "Whether each item of a mosaic is processed on its own", default=False
    )
    context: ContextInput = parameter(
        "context", "Where and how to process", kind=Kind.CONTEXT, default=ProcessingContext()
    )


def plan(parameters: ClassifyParameters, context: Context) -> Plan:
    """Settle tiles and engine."""
    request = Request(Task.PIXELS, "inputRaster", "model", parameters.model_arguments, parameters.context)
    return plan_items(request, context, each=parameters.process_all_raster_items)


def run_block(block: Block, plan: Plan, parameters: ClassifyParameters, context: Context) -> BlockResult:
    """Classify one block into a file of raster values."""
    return classify_to_file(block, plan, context, "model")


def finish(
    plan: Plan, results: Sequence[BlockResult], parameters: ClassifyParameters, context: Context
) -> tuple[Output, ...]:
    """Assemble the blocks, in block order, into one verified COG."""
    info = context.models.describe(context.handle("model"))
    path = context.result or context.folder / "classified.tif"
    statistics = write_classes(path, plan, results, context, info=info)
    return (Output("outRaster", "imagery", path=str(path), statistics=statistics),)


TOOL = Tool(
    name="ClassifyPixelsUsingDeepLearning",
    title="Classify Pixels Using Deep Learning",
    help="Run a pixel classification model over a raster and write a classified raster.",
    parameters=ClassifyParameters,
    outputs=(OutputInfo("outRaster", "The classified raster", source="outputClassifiedRaster"),),
    plan=plan,
    run_block=run_block,
    finish=finish,
    # The public documentation misspells it; clients need it spelled right (contract, rule 7).
    synonyms={"outputClassifedRaster": "outputClassifiedRaster"},
)
