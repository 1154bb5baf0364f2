"""ComputeAccuracyforObjectDetection: how good detections are against what is really there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator

from raster_analysis.errors import ParameterError
from raster_analysis.inference.accuracy import Accuracy, evaluate
from raster_analysis.inference.accuracy_report import write_report
from raster_analysis.inference.judged import Comparison, Given, prepare
from raster_analysis.inputs import (
    ContextInput,
    FeatureInput,
    FeatureReference,
    OutputName,
    OutputTarget,
    ProcessingContext,
)
from raster_analysis.seams import FeatureTable
from raster_analysis.tool import Context, Kind, Output, OutputInfo, Parameters, Tool, parameter

TABLE = "accuracy"
"""What the table is called when its user did not say."""
_INPUTS = ("detectedFeatures", "groundTruthFeatures")
_WRITTEN_OUT = "written out in the request"


def _named(target: OutputTarget) -> OutputTarget:
    if target.uri:
        raise ValueError("stores are only read here; give a name, and the result becomes an item")
    return target


class AccuracyParameters(Parameters):
    """The parameters of contract 8.8."""

    detected: FeatureInput = parameter("detectedFeatures", "The objects that a model found", kind=Kind.FEATURES)
    truth: FeatureInput = parameter("groundTruthFeatures", "The objects that are really there", kind=Kind.FEATURES)
    table: Annotated[OutputName, AfterValidator(_named)] = parameter(
        "outAccuracyTableName", "The table of accuracies", kind=Kind.OUTPUT
    )
    report: Annotated[OutputName, AfterValidator(_named)] | None = parameter(
        "outAccuracyReportName", "A report to read, as a page; none when left out", kind=Kind.OUTPUT, default=None
    )
    detected_class_field: str = parameter(
        "detectedClassValueField", "Field of a detection's class; Classvalue, Value or Class when left out", default=""
    )
    truth_class_field: str = parameter(
        "groundTruthClassValueField", "Field of a true object's class; as for detections when left out", default=""
    )
    min_iou: float = parameter(
        "minIoU", "Overlap (intersection over union) from which a detection is right, 0 to 1", default=0.5
    )
    mask: FeatureInput | None = parameter(
        "maskFeatures", "Polygons; only what touches them is judged", kind=Kind.FEATURES, default=None
    )
    context: ContextInput = parameter(
        "context", "Accepted as all tools do; nothing in it matters here", kind=Kind.CONTEXT,
        default=ProcessingContext(),
    )  # fmt: skip


def run(parameters: AccuracyParameters, context: Context) -> tuple[Output, ...]:
    """Compare both sides, and write the table and, when it is asked for, the report."""
    _check_overlap(parameters.min_iou)
    compared = _read(parameters, context)
    for note in compared.notes:
        context.report.message(note, "warning")

    def step(share: float) -> None:
        context.report.check_cancelled()
        context.report.progress(share)

    results = evaluate(compared.detected, compared.truth, compared.names, min_iou=parameters.min_iou, step=step)
    context.report.message(_sum_up(results[-1], parameters.min_iou))
    table = context.folder / f"{TABLE}.gpkg"
    context.features.write_rows(table, parameters.table.name or TABLE, _columns(results, parameters.min_iou))
    outputs = (Output("outAccuracyTable", "table", path=str(table)),)
    return outputs if parameters.report is None else (*outputs, _report(parameters, context, results, compared))


def _check_overlap(min_iou: float) -> None:
    if not 0 <= min_iou <= 1:
        raise ParameterError([f"minIoU {min_iou} is not from 0 to 1"])


def _read(parameters: AccuracyParameters, context: Context) -> Comparison:
    detected = _features("detectedFeatures", parameters.detected, context)
    truth = _features("groundTruthFeatures", parameters.truth, context)
    mask = None if parameters.mask is None else _features("maskFeatures", parameters.mask, context)
    return prepare(
        Given("detectedFeatures", detected, parameters.detected_class_field),
        Given("groundTruthFeatures", truth, parameters.truth_class_field),
        mask,
    )


def _features(name: str, reference: FeatureReference, context: Context) -> FeatureTable:
    source = context.handle(name) if reference.collection is None else reference.collection
    return context.features.read(source, reference.filter)


def _report(
    parameters: AccuracyParameters, context: Context, results: Sequence[Accuracy], compared: Comparison
) -> Output:
    path = context.folder / "accuracy.html"
    title = (parameters.report and parameters.report.name) or "Accuracy of object detection"
    named = {name: context.handles[name].title for name in _INPUTS if name in context.handles}
    facts = {
        "Detections": named.get("detectedFeatures", _WRITTEN_OUT),
        "True objects": named.get("groundTruthFeatures", _WRITTEN_OUT),
        "Smallest overlap": f"{parameters.min_iou:g}",
        **({"Notes": " ".join(compared.notes)} if compared.notes else {}),
    }
    path.write_text(write_report(title, facts, results), encoding="utf-8")
    return Output("outAccuracyReport", "report", path=str(path), statistics={"title": title})


def _columns(results: Sequence[Accuracy], min_iou: float) -> dict[str, npt.NDArray[np.generic] | Sequence[str]]:
    """Return the table's columns; the last row is of all classes together."""
    return {
        "Class": [one.name for one in results],
        "Min_IoU": np.full(len(results), min_iou),
        "Precision": np.array([one.precision for one in results]),
        "Recall": np.array([one.recall for one in results]),
        "F1_Score": np.array([one.f1 for one in results]),
        "AP": np.array([one.average_precision for one in results]),
        "AP_50_95": np.array([one.coco_average_precision for one in results]),
        "True_Positive": np.array([one.true_positives for one in results]),
        "False_Positive": np.array([one.false_positives for one in results]),
        "False_Negative": np.array([one.false_negatives for one in results]),
    }


def _sum_up(whole: Accuracy, min_iou: float) -> str:
    return (
        f"At an overlap of {min_iou:g}: {whole.true_positives} right, {whole.false_positives} wrong, "
        f"{whole.false_negatives} missed; precision {whole.precision:.3f}, recall {whole.recall:.3f}, "
        f"F1 {whole.f1:.3f}, AP {whole.average_precision:.3f}, COCO AP {whole.coco_average_precision:.3f}"
    )


TOOL = Tool(
    name="ComputeAccuracyforObjectDetection",
    title="Compute Accuracy for Object Detection",
    help="Compare detected objects with true ones: precision, recall, F1 and average precision by class.",
    parameters=AccuracyParameters,
    outputs=(
        OutputInfo("outAccuracyTable", "The table, as an object with its itemId", source="outAccuracyTableName"),
        OutputInfo(
            "outAccuracyReport", "The report, as an object with its itemId; null when none was asked for",
            source="outAccuracyReportName",
        ),
    ),
    run=run,
)  # fmt: skip
