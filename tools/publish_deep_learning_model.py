"""PublishDeepLearningModel: check a package or a folder, and hand it on to become a portal item."""

from __future__ import annotations

from pathlib import Path

import dlpk
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
    report = dlpk.check(Path(handle.path))
    for finding in report.findings:
        context.report.message(str(finding), "warning" if finding.severity != "info" else "info")
    if not report.valid:
        faults = "; ".join(str(finding) for finding in report.findings if finding.severity == "error")
        raise ModelError(f"package {handle.title!r} cannot be published: {faults}")
    package = context.folder / "model.dlpk"
    dlpk.build(Path(handle.path), package)
    info = context.models.describe(handle)
    context.report.message(f"Model {info.name!r}: {info.task.value}, {len(info.classes)} classes, {info.class_rule}")
    return (Output("outItem", "package", path=str(package), statistics={"title": info.name}),)


TOOL = Tool(
    name="PublishDeepLearningModel",
    title="Publish Deep Learning Model",
    help="Check a deep learning package, or a folder that holds a model, and make a portal item of it.",
    parameters=PublishParameters,
    outputs=(OutputInfo("outItem", "The item, as an object with its itemId", source="outputName"),),
    run=run,
)
