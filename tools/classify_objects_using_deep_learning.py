"""ClassifyObjectsUsingDeepLearning: each feature gets the class of the piece of the raster around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from raster_analysis.errors import ParameterError
from raster_analysis.inference.blocks import save_labels
from raster_analysis.inference.crop_labels import NO_LABEL, Labels, classify_crops, load_all
from raster_analysis.inference.crop_plan import CropPlan, plan_crops, read_crop_plan, whole_raster
from raster_analysis.inference.polygons import reproject
from raster_analysis.inference.preparation import Request
from raster_analysis.inputs import (
    ContextInput,
    FeatureInput,
    ModelArguments,
    ModelInput,
    OutputName,
    ProcessingContext,
    RasterInput,
)
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

LABEL_FIELD, CONFIDENCE_FIELD = "ClassLabel", "Confidence"
SOURCE_ID_FIELD = "ORIG_FID"
"""Keeps the ids of the input where the output's own, which count from 1, are others."""


class ClassifyObjectsParameters(Parameters):
    """The parameters of contract 8.4."""

    input_raster: RasterInput = parameter("inputRaster", "The raster that shows the features", kind=Kind.RASTER)
    input_features: FeatureInput | None = parameter(
        "inputFeatures",
        "The features to classify; without them the whole raster is one",
        kind=Kind.FEATURES,
        default=None,
    )
    output: OutputName = parameter("outputFeatureClass", "The features with their labels", kind=Kind.OUTPUT)
    model: ModelInput = parameter("model", "The model: item id, URL or store path", kind=Kind.MODEL)
    model_arguments: ModelArguments = parameter(
        "modelArguments", "Arguments of the model, by name", kind=Kind.ARGUMENTS, default={}
    )
    class_label_field: str = parameter("classLabelField", "Field that the label is written to", default=LABEL_FIELD)
    process_all_raster_items: bool = parameter(
        "processAllRasterItems", "Whether each item of a mosaic is processed on its own", default=False
    )
    context: ContextInput = parameter(
        "context", "Where and how to process", kind=Kind.CONTEXT, default=ProcessingContext()
    )


def plan(parameters: ClassifyObjectsParameters, context: Context) -> Plan:
    """Settle the engine and list the features that touch the raster."""
    _check_field(parameters.class_label_field)
    if parameters.process_all_raster_items and context.handle("inputRaster").members:
        # A feature gets one label; several pictures of it would give several.
        context.report.message("The items of the raster are read as one mosaic: each feature gets one label", "warning")
    request = Request(Task.CROPS, "inputRaster", "model", parameters.model_arguments, parameters.context)
    parts = _read(parameters, context) if parameters.input_features else None
    return plan_crops(request, parts, context)


def run_block(block: Block, plan: Plan, parameters: ClassifyObjectsParameters, context: Context) -> BlockResult:
    """Classify the features of one block."""
    crops = read_crop_plan(plan)
    model = context.models.load(context.handle("model"), crops.engine)
    with context.rasters.open(crops.view) as reader:
        found, statistics = classify_crops(block, crops, model, reader=reader, context=context)
    file = f"block-{block.index:06d}.npy"
    digest = save_labels(context.folder / file, found)
    return BlockResult(block.index, file, digest, statistics)


def finish(
    plan: Plan, results: Sequence[BlockResult], parameters: ClassifyObjectsParameters, context: Context
) -> tuple[Output, ...]:
    """Write all features again, in their order, each with its label."""
    crops = read_crop_plan(plan)
    info = context.models.describe(context.handle("model"))
    labels = load_all(results, crops, context)
    path = context.result or context.folder / "labelled.gpkg"
    labelling = Labelling(parameters, crops, info, parameters.output.name or path.stem)
    parts = _read(parameters, context) if parameters.input_features else iter([whole_raster(crops)])
    context.features.write_parts(path, labelling.apply(parts, labels))
    statistics = _counts(labels, info)
    done, count = statistics["labelled"], statistics["count"]
    context.report.message(f"Classified {done} of {count} features: {_words(statistics)}")
    return (Output("outObjects", "features", path=str(path), statistics=statistics),)


@dataclass(frozen=True, slots=True)
class Labelling:
    """How labels are written beside what the features have."""

    parameters: ClassifyObjectsParameters
    crops: CropPlan
    info: ModelInfo
    layer: str

    def apply(self, parts: Iterator[FeatureTable], labels: Labels) -> Iterator[FeatureTable]:
        """Yield the features with their labels, part by part."""
        first = 0
        for part in parts:
            stop = first + len(part.geometries)
            own = Labels(labels.classes[first:stop], labels.scores[first:stop])
            yield self._label(part, own)
            first = stop

    def _label(self, part: FeatureTable, labels: Labels) -> FeatureTable:
        field = self.parameters.class_label_field
        columns = {name: values for name, values in part.columns.items() if name.lower() != field.lower()}
        if part.ids is not None and not self.crops.numbered:
            columns[_free(SOURCE_ID_FIELD, columns)] = part.ids
        confidence = _free(CONFIDENCE_FIELD, {**columns, field: part.geometries})
        columns[field] = self._names(labels.classes)
        # Percent, as the features of DetectObjectsUsingDeepLearning have it.
        columns[confidence] = np.round(labels.scores.astype(np.float64) * 100, 4)
        moved = self.parameters.context.out_sr is not None
        target = self.crops.view.grid.crs if moved else part.crs
        return replace(
            part,
            geometries=reproject(part.geometries, part.crs, target),
            crs=target,
            columns=columns,
            layer=self.layer,
            geometry_type=self.crops.geometry_type,
            legend=legend_of(self.info, field),
        )

    def _names(self, classes: npt.NDArray[np.int32]) -> npt.NDArray[np.object_]:
        names = np.array([*(entry.name for entry in self.info.classes), None], object)
        chosen: npt.NDArray[np.object_] = names[classes]  # the last name stands for NO_LABEL, -1
        return chosen


def _read(parameters: ClassifyObjectsParameters, context: Context) -> Iterator[FeatureTable]:
    wanted = parameters.input_features
    if wanted is None or wanted.collection is None:
        return context.features.read_parts(context.handle("inputFeatures"), wanted.filter if wanted else "")
    return context.features.read_parts(wanted.collection, wanted.filter)


def _check_field(name: str) -> None:
    if not name.strip() or len(name) > 64 or not name.isprintable() or name.lower() in ("fid", "geom"):
        raise ParameterError([f"classLabelField {name[:80]!r} cannot be a field; want a name such as {LABEL_FIELD}"])


def _free(wanted: str, columns: Mapping[str, object]) -> str:
    """Return a name that no column has: what the input says is kept."""
    taken = {name.lower() for name in columns}
    names = (wanted, *(f"{wanted}_{number}" for number in range(1, len(taken) + 2)))
    return next(name for name in names if name.lower() not in taken)


def _counts(labels: Labels, info: ModelInfo) -> dict[str, JsonValue]:
    counted = Counter(info.classes[index].name for index in labels.classes if index != NO_LABEL)
    return {"count": len(labels.classes), "labelled": counted.total(), "classes": dict(sorted(counted.items()))}


def _words(statistics: dict[str, JsonValue]) -> str:
    classes = statistics["classes"]
    counted = [f"{name} {count}" for name, count in classes.items()] if isinstance(classes, dict) else []
    return ", ".join(counted) or "none"


TOOL = Tool(
    name="ClassifyObjectsUsingDeepLearning",
    title="Classify Objects Using Deep Learning",
    help="Run an object classification model over the raster around each feature and write the features with labels.",
    parameters=ClassifyObjectsParameters,
    outputs=(OutputInfo("outObjects", "The features with their labels", source="outputFeatureClass"),),
    plan=plan,
    run_block=run_block,
    finish=finish,
)
