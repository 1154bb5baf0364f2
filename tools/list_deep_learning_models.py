"""ListDeepLearningModels: the model items that the user can read."""

from __future__ import annotations

from raster_analysis.tool import Catalog, Output, OutputInfo, Parameters, Tool


class ListParameters(Parameters):
    """The tool takes nothing."""


def answer(parameters: ListParameters, catalog: Catalog) -> tuple[Output, ...]:
    """List the items. Clients fail on an id that they cannot read, so only readable ones are listed."""
    return (Output("deepLearningModels", "value", value=list(catalog.models())),)


TOOL = Tool(
    name="ListDeepLearningModels",
    title="List Deep Learning Models",
    help="List the deep learning packages that you can use.",
    parameters=ListParameters,
    outputs=(OutputInfo("deepLearningModels", "The packages, a list of items with their id"),),
    answer=answer,
)
