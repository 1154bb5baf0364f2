"""UninstallDeepLearningModel: forget that a model is to be kept ready. The item stays."""

from __future__ import annotations

from raster_analysis.inputs import RasterInput
from raster_analysis.tool import Catalog, Output, OutputInfo, Parameters, Tool, parameter


class UninstallParameters(Parameters):
    """The parameter of contract 8.1; an object, despite its name."""

    item: RasterInput = parameter("modelItemId", "The item of the installed model: its id or its URL")


def answer(parameters: UninstallParameters, catalog: Catalog) -> tuple[Output, ...]:
    """Ask for the change; the portal makes it once, with the rights of the job's user, when it publishes."""
    return (Output("uninstallSucceed", "uninstallation"),)


TOOL = Tool(
    name="UninstallDeepLearningModel",
    title="Uninstall Deep Learning Model",
    help="Undo the installation of a model. Its item stays and can be used and installed again.",
    parameters=UninstallParameters,
    outputs=(OutputInfo("uninstallSucceed", "The id of the model's item", source="modelItemId"),),
    answer=answer,
)
