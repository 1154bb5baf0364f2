"""DetectObjectsUsingDeepLearning: the objects that a detector finds in a raster, as polygon features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.detections import Detections, concatenate
from raster_analysis.errors import ParameterError
from raster_analysis.inference.blocks import load_detections, save_detections
from raster_analysis.inference.items import Item, items_of, plan_items, preparation_of
from raster_analysis.inference.pipeline import Inference, detect_block
from raster_analysis.inference.polygons import reproject, to_map
from raster_analysis.inference.preparation import Request, read_preparation
from raster_analysis.inference.suppression import merge_blocks, suppress
from raster_analysis.inputs import ContextInput, ModelArguments, ModelInput, OutputName, ProcessingContext, RasterInput
from raster_analysis.layers.legend import legend_of
from raster_analysis.model_info import ModelInfo, Task
from raster_analysis.seams import FeatureTable
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

CLASS_FIELD, CONFIDENCE_FIELD = "Class", "Confidence"
ITEM_FIELD = "Item"
"""Names the raster of a collection in which a feature was found, when each was searched on its own."""


class DetectParameters(Parameters):
    """The parameters of contract 8.2."""

    input_raster: RasterInput = parameter("inputRaster", "The raster to search", kind=Kind.RASTER)
    output: OutputName = parameter("outputObjects", "The features found", kind=Kind.OUTPUT)
    model: ModelInput = parameter("model", "The model: item id, URL or store path", kind=Kind.MODEL)
    model_arguments: ModelArguments = parameter(
        "modelArguments", "Arguments of the model, by name", kind=Kind.ARGUMENTS, default={}
    )
    run_nms: bool = parameter(
        "runNMS", "Whether overlapping features are thinned out over the whole output", default=False
    )
    confidence_score_field: str = parameter(
        "confidenceScoreField", "Field that says which of two features stays", default=CONFIDENCE_FIELD
    )
    class_value_field: str = parameter(
        "classValueField", "Field of the class; without it all features count as one class", default=""
    )
    max_overlap_ratio: float = parameter(
        "maxOverlapRatio", "Share of overlap (intersection over union) above which the weaker feature goes", default=0.0
    )
    process_all_raster_items: bool = parameter(
        "processAllRasterItems", "Whether each item of a mosaic is processed on its own", default=False
    )
    context: ContextInput = parameter(
        "context", "Where and how to process", kind=Kind.CONTEXT, default=ProcessingContext()
    )


def plan(parameters: DetectParameters, context: Context) -> Plan:
    """Settle tiles and engine."""
    _check_suppression(parameters)
    request = Request(Task.OBJECTS, "inputRaster", "model", parameters.model_arguments, parameters.context)
    return plan_items(request, context, each=parameters.process_all_raster_items)


def run_block(block: Block, plan: Plan, parameters: DetectParameters, context: Context) -> BlockResult:
    """Search one block."""
    preparation = preparation_of(plan, block)
    model = context.models.load(context.handle("model"), preparation.engine)
    with context.rasters.open(preparation.view) as reader:
        inference = Inference(
            reader, model, preparation.tiling, preparation.value_range,
            exclude_pad_detections=preparation.exclude_pad_detections,
        )  # fmt: skip
        detections, statistics = detect_block(block, inference, context.report)
    # After the edge rules, which look at the boxes in any case.
    if preparation.return_bboxes:
        detections = replace(detections, outlines=Detections.empty().outlines)
    file = f"block-{block.index:06d}.npz"
    digest = save_detections(context.folder / file, detections)
    return BlockResult(block.index, file, digest, statistics)


def finish(
    plan: Plan, results: Sequence[BlockResult], parameters: DetectParameters, context: Context
) -> tuple[Output, ...]:
    """Bring all blocks together, suppress over the whole output when asked, and write the features."""
    info = context.models.describe(context.handle("model"))
    items = items_of(plan)
    found = [_found_in(item, results, parameters, info=info, context=context) for item in items]
    path = context.result or context.folder / "objects.gpkg"
    context.features.write(path, _table(items, found, info, parameters.output.name or path.stem))
    whole = concatenate(found)
    statistics = _counts(whole, info, results)
    context.report.message(f"Found {len(whole)} objects: {_by_class(statistics)}")
    return (Output("outObjects", "features", path=str(path), statistics=statistics),)


def _found_in(
    item: Item, results: Sequence[BlockResult], parameters: DetectParameters, *, info: ModelInfo, context: Context
) -> Detections:
    """Return what was found in one raster, in its pixels, suppressed when that was asked for."""
    preparation = read_preparation(item.plan)
    # By block, not by who was done first: ties in suppression are settled by order.
    parts = [load_detections(context.folder / r.file, r.sha256) for r in item.own(results)]
    chosen = preparation.engine.nms_overlap  # 0 is a choice
    found = merge_blocks(parts, preparation.tiling, nms_overlap=info.nms_overlap if chosen is None else chosen)
    if not parameters.run_nms:
        return found
    by_class = parameters.class_value_field.lower() == CLASS_FIELD.lower()
    kept = suppress(found, max_overlap=parameters.max_overlap_ratio, by_class=by_class)
    context.report.message(f"Suppression: {len(kept)} of {len(found)} features kept{item.name and f' in {item.name}'}")
    return kept


def _check_suppression(parameters: DetectParameters) -> None:
    if not parameters.run_nms:
        return
    # The only two fields there are; named by clients as they please, so compared without case.
    faults = []
    if parameters.confidence_score_field.lower() != CONFIDENCE_FIELD.lower():
        faults.append(
            f"confidenceScoreField {parameters.confidence_score_field!r} is no field; want {CONFIDENCE_FIELD}"
        )
    if parameters.class_value_field.lower() not in ("", CLASS_FIELD.lower()):
        faults.append(f"classValueField {parameters.class_value_field!r} is no field; want {CLASS_FIELD} or nothing")
    if not 0 <= parameters.max_overlap_ratio <= 1:
        faults.append(f"maxOverlapRatio {parameters.max_overlap_ratio} is not from 0 to 1")
    if faults:
        raise ParameterError(faults)


def _table(items: Sequence[Item], found: Sequence[Detections], info: ModelInfo, layer: str) -> FeatureTable:
    """Return the features of all items in the reference system of the first."""
    names = [entry.name for entry in info.classes]
    settled = [read_preparation(item.plan) for item in items]
    crs = settled[0].view.grid.crs
    shapes = [
        reproject(to_map(part, own.view.grid.transform), own.view.grid.crs, crs)
        for part, own in zip(found, settled, strict=True)
    ]
    whole = concatenate(found)
    columns: dict[str, npt.NDArray[np.generic] | Sequence[str]] = {
        CLASS_FIELD: [names[label] for label in whole.labels],
        # Percent, as the current generation of inference functions writes it (dlpk 3.9).
        CONFIDENCE_FIELD: np.round(whole.scores.astype(np.float64) * 100, 4),
    }
    if items[0].name:
        columns[ITEM_FIELD] = [item.name for item, part in zip(items, found, strict=True) for _ in range(len(part))]
    return FeatureTable(
        geometries=np.concatenate(shapes),
        crs=crs,
        columns=columns,
        layer=layer,
        geometry_type="MultiPolygon" if info.instances and not settled[0].return_bboxes else "Polygon",
        legend=legend_of(info, CLASS_FIELD),
    )


def _counts(found: Detections, info: ModelInfo, results: Sequence[BlockResult]) -> dict[str, JsonValue]:
    counted = Counter(info.classes[label].name for label in found.labels)
    tiles = sum(result.statistics.get("tiles", 0.0) for result in results)
    return {"count": len(found), "classes": dict(sorted(counted.items())), "tiles": tiles}


def _by_class(statistics: dict[str, JsonValue]) -> str:
    classes = statistics["classes"]
    counted = [f"{name} {count}" for name, count in classes.items()] if isinstance(classes, dict) else []
    return ", ".join(counted) or "none"


TOOL = Tool(
    name="DetectObjectsUsingDeepLearning",
    title="Detect Objects Using Deep Learning",
    help="Run an object detection model over a raster and write what it finds as polygon features.",
    parameters=DetectParameters,
    outputs=(OutputInfo("outObjects", "The features found, with Class and Confidence", source="outputObjects"),),
    plan=plan,
    run_block=run_block,
    finish=finish,
)
