"""ListDatastoreContent: the names in a folder of a data store."""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.tool import Catalog, Output, OutputInfo, Parameters, Tool, parameter


class ContentParameters(Parameters):
    """The parameters of contract 8.9."""

    store: str = parameter(
        "dataStoreName", "A store, by name or as /fileShares/name or /rasterStores/name, perhaps with a folder in it"
    )
    filter: str = parameter(
        "filter", "Which names: a pattern such as *.tif, or several with commas between; all when left out", default=""
    )


def answer(parameters: ContentParameters, catalog: Catalog) -> tuple[Output, ...]:
    """List what jobs can name. Folders end with a slash, so that they can be told from files."""
    names: list[JsonValue] = list(catalog.stored(parameters.store, parameters.filter))
    return (Output("contentList", "value", value={"contentList": names}),)


TOOL = Tool(
    name="ListDatastoreContent",
    title="List Datastore Content",
    help="List the files and folders in a folder of a data store.",
    parameters=ContentParameters,
    outputs=(OutputInfo("contentList", "An object whose contentList is the names; folders end with a slash"),),
    answer=answer,
)
