"""InstallDeepLearningModel: prove that a published model runs here, and keep it ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, JsonValue

import dlpk
from raster_analysis.inputs import ModelInput, ModelReference
from raster_analysis.tool import Context, Kind, Output, OutputInfo, Parameters, Tool, parameter


def _of_an_item(reference: ModelReference) -> ModelReference:
    if not (reference.item_id or reference.url):
        raise ValueError('want a published model: {"itemId": ".."} or the URL of an item')
    return reference


class InstallParameters(Parameters):
    """The parameter of contract 8.1."""

    package: Annotated[ModelInput, AfterValidator(_of_an_item)] = parameter(
        "modelPackage", "The item of the model: its id or its URL", kind=Kind.MODEL
    )


def run(parameters: InstallParameters, context: Context) -> tuple[Output, ...]:
    """Read the unpacked package as a model, which warms this slot's copy, and say what is to be recorded."""
    handle = context.handle("modelPackage")
    info = context.models.describe(handle)
    context.report.message(f"Model {info.name!r}: {info.task.value}, {len(info.classes)} classes, {info.class_rule}")
    proved: dict[str, JsonValue] = {"digest": handle.digest, "definition": dlpk.open(Path(handle.path)).emd_name}
    return (Output("installSucceed", "installation", value=proved),)


TOOL = Tool(
    name="InstallDeepLearningModel",
    title="Install Deep Learning Model",
    help="Check that a published model runs on this server, and keep it unpacked and ready until it is uninstalled.",
    parameters=InstallParameters,
    outputs=(OutputInfo("installSucceed", "Where the installed model is, as text", source="modelPackage"),),
    run=run,
)
