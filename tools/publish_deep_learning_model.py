"""PublishDeepLearningModel: check a package or a folder, and hand it on to become a portal item."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dlpk
from dlpk.build import build
from raster_analysis.errors import ModelError
from raster_analysis.inputs import OutputName, RasterInput
from raster_analysis.tool import Context, Kind, Output, OutputInfo, Parameters, Tool, parameter


class PublishParameters(Parameters):
    """Where the model lies and what becomes of it."""

    model_location: RasterInput = parameter(
        "modelLocation",
        "Store path of a .dlpk, or of a folder with an .emd and its model files, e.g. /fileShares/models/trees.dlpk",
        kind=Kind.PACKAGE,
    )
    output_name: OutputName = parameter(
        "outputName", "A name and perhaps a folderId for a new item, or the itemId of one to update", kind=Kind.OUTPUT
    )
    overwrite_model: bool = parameter("overwriteModel", "Whether an item of that name may be replaced", default=False)


def run(parameters: PublishParameters, context: Context) -> tuple[Output, ...]:
    """Check every rule, build the one archive that the item will hold, and read it back as a model."""
    handle = context.handle("modelLocation")
    package = context.folder / "model.dlpk"
    # Checked is what will be published: the source may change between two looks.
    try:
        report = _pack(Path(handle.path), package)
    except dlpk.PackageRefused as refusal:
        _report(refusal.findings, context)
        raise ModelError(f"package {handle.title!r} cannot be published: {refusal}") from None
    _report(report.findings, context)
    info = context.models.describe(replace(handle, path=str(package), stamp=None, digest=None))
    context.report.message(f"Model {info.name!r}: {info.task.value}, {len(info.classes)} classes, {info.class_rule}")
    return (Output("outItem", "package", path=str(package), statistics={"title": info.name}),)


def _pack(source: Path, package: Path) -> dlpk.Report:
    """Put the one archive in place: a copy of an archive, or one built from a folder or the folder of an .emd."""
    if source.is_dir() or source.suffix.lower() == ".emd":
        return build(source if source.is_dir() else source.parent, package, replace=True)
    # Not rebuilt: the item holds the very bytes that its author may have signed or hashed.
    shutil.copyfile(source, package)
    report = dlpk.check(package)
    if not report.valid:
        raise dlpk.PackageRefused(report.findings)
    return report


def _report(findings: Sequence[dlpk.Finding], context: Context) -> None:
    for finding in findings:
        context.report.message(str(finding), finding.severity.value)


TOOL = Tool(
    name="PublishDeepLearningModel",
    title="Publish Deep Learning Model",
    help="Check a deep learning package, or a folder that holds a model, and make a portal item of it.",
    parameters=PublishParameters,
    outputs=(OutputInfo("outItem", "The item, as an object with its itemId", source="outputName"),),
    run=run,
)
