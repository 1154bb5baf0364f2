"""QueryDeepLearningModelInfo: what a model is, and the arguments it takes."""

from __future__ import annotations

import json

from pydantic import JsonValue

from raster_analysis.inputs import ModelInput
from raster_analysis.model_info import Argument, ModelInfo, Task
from raster_analysis.tool import Context, Kind, Output, OutputInfo, Parameters, Tool, parameter


class QueryParameters(Parameters):
    """The model asked about."""

    model: ModelInput = parameter("model", "The model: item id, URL or store path", kind=Kind.MODEL)


def run(parameters: QueryParameters, context: Context) -> tuple[Output, ...]:
    """Describe the model; clients read the text in `modelInfo` as JSON (contract 8.1)."""
    handle = context.handle("model")
    described = {**describe_model(context.models.describe(handle)), "Installed": handle.installed}
    return (Output("outModelInfo", "value", value={"modelInfo": json.dumps(described)}),)


def describe_model(info: ModelInfo) -> dict[str, JsonValue]:
    """Return a model's facts with the names of the wire."""
    return {
        "ModelName": info.name,
        "Framework": info.framework,
        "ModelType": info.model_type,
        "ExtractBands": list(info.bands),
        "ImageHeight": info.tile_height,
        "ImageWidth": info.tile_width,
        "SupportsVariableTileSize": info.variable_tile,
        "ModelPadding": info.model_padding,
        **_crop_keys(info),
        "Classes": [
            {"Value": c.value, "Name": c.name, "Color": list(c.color) if c.color else None} for c in info.classes
        ],
        "ClassRule": info.class_rule,
        "ParameterInfo": [_describe_argument(argument) for argument in info.arguments],
        # Under both names: clients of different ages read one or the other (contract 8.1, dlpk 2.4).
        "arguments": [_describe_argument(argument) for argument in info.arguments],
    }


def _crop_keys(info: ModelInfo) -> dict[str, JsonValue]:
    if info.task is not Task.CROPS:
        return {}
    return {
        "CropSizeFixed": int(info.crop_size_fixed),
        "BlackenAroundFeature": int(info.blacken_around_feature),
    }


def _describe_argument(argument: Argument) -> dict[str, JsonValue]:
    return {
        "name": argument.name,
        "dataType": argument.data_type,
        "value": argument.default,
        "required": False,
        "displayName": argument.name,
        "description": argument.help,
        "domain": list(argument.domain),
    }


TOOL = Tool(
    name="QueryDeepLearningModelInfo",
    title="Query Deep Learning Model Info",
    help="Describe a deep learning model: its type, tile, bands, classes and arguments.",
    parameters=QueryParameters,
    outputs=(OutputInfo("outModelInfo", "An object whose modelInfo is the description as JSON text"),),
    run=run,
)
