"""ClassifyPixelsUsingDeepLearning: every pixel of a raster gets a class; the result is one COG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.grid import Window
from raster_analysis.inference.blocks import load_labels, save_labels
from raster_analysis.inference.merge import OutputValues
from raster_analysis.inference.pipeline import Inference, classify_block
from raster_analysis.inference.preparation import Request, make_plan, read_preparation
from raster_analysis.inputs import ContextInput, ModelArguments, ModelInput, OutputName, ProcessingContext, RasterInput
from raster_analysis.model_info import ModelInfo, Task
from raster_analysis.seams import LegendEntry
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

UNCOLOURED = (128, 128, 128)
"""Colour of a class whose definition gives none."""


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
    return make_plan(request, context)


def run_block(block: Block, plan: Plan, parameters: ClassifyParameters, context: Context) -> BlockResult:
    """Classify one block into a file of raster values."""
    preparation = read_preparation(plan)
    # The plan settled every choice: another slot, or a run after a crash, computes the same values.
    model = context.models.load(context.handle("model"), preparation.engine)
    with context.rasters.open(preparation.view) as reader:
        inference = Inference(reader, model, preparation.tiling, preparation.value_range, merge=preparation.merge)
        labels, statistics = classify_block(block, inference, context.report)
    file = f"block-{block.index:06d}.npy"
    digest = save_labels(context.folder / file, labels)
    return BlockResult(block.index, file, digest, statistics)


def finish(
    plan: Plan, results: Sequence[BlockResult], parameters: ClassifyParameters, context: Context
) -> tuple[Output, ...]:
    """Assemble the blocks, in block order, into one verified COG."""
    info = context.models.describe(context.handle("model"))
    # From the model alone, so that blocks of different slots mean the same by a value.
    values = OutputValues.of(info)
    path = context.result or context.folder / "classified.tif"
    context.rasters.write_classified(
        path,
        read_preparation(plan).view.grid,
        _assemble(plan, results, context),
        legend=_legend(info),
        nodata=values.nodata,
        dtype=values.dtype,
    )
    statistics = _shares(info, results)
    context.report.message(_summary(statistics))
    return (Output("outRaster", "imagery", path=str(path), statistics=statistics),)


def _assemble(
    plan: Plan, results: Sequence[BlockResult], context: Context
) -> Iterator[tuple[Window, npt.NDArray[np.generic]]]:
    windows = {block.index: block.window for block in plan.blocks}
    for done, result in enumerate(sorted(results, key=lambda result: result.index)):
        context.report.check_cancelled()
        # Compared with its digest: a block that changed on disk is not built into a result.
        yield windows[result.index], load_labels(context.folder / result.file, result.sha256)
        context.report.progress((done + 1) / len(results))


def _legend(info: ModelInfo) -> list[LegendEntry]:
    # A network may have a background that the definition has no class for (dlpk 1.3).
    by_value = {entry.value: entry for entry in info.classes}
    named = {value: by_value[value].name if value in by_value else "Background" for value in info.values}
    colors = {value: by_value[value].color if value in by_value else None for value in info.values}
    return [LegendEntry(value, named[value], colors[value] or UNCOLOURED) for value in sorted(set(info.values))]


def _shares(info: ModelInfo, results: Sequence[BlockResult]) -> dict[str, JsonValue]:
    """Return the share of the grid that each class and nodata cover (users look for blank results, dlpk P7)."""
    counts: dict[str, float] = {}
    for result in results:
        for name, count in result.statistics.items():
            counts[name] = counts.get(name, 0.0) + count
    pixels = {name.removeprefix("value "): n for name, n in counts.items() if name.startswith("value ")}
    total = sum(pixels.values()) + counts.get("nodata", 0.0) or 1.0
    names = {str(entry.value): entry.name for entry in info.classes}
    shares: dict[str, JsonValue] = {names.get(v, v): round(n / total, 6) for v, n in sorted(pixels.items())}
    return {"classes": shares, "nodata": round(counts.get("nodata", 0.0) / total, 6), "tiles": counts.get("tiles", 0.0)}


def _summary(statistics: dict[str, JsonValue]) -> str:
    classes = statistics["classes"]
    shares = [f"{name} {share:.1%}" for name, share in classes.items()] if isinstance(classes, dict) else []
    return f"Classified: {', '.join(shares) or 'no valid pixel'}; no data {statistics['nodata']:.1%}"


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
