"""CopyRaster: any raster that a job can read becomes a hosted image service, a COG with all its bands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, JsonValue, ValidationError

from raster_analysis.composite import parse_composite
from raster_analysis.errors import ParameterError
from raster_analysis.inputs import (
    CellSize,
    ContextInput,
    Extent,
    OutputName,
    ProcessingContext,
    RasterInput,
)
from raster_analysis.seams import ContextLayers, Resampling
from raster_analysis.tool import Context, Kind, Output, OutputInfo, Parameters, Tool, parameter

Method = Literal["NEAREST", "BILINEAR", "CUBIC", "AVERAGE"]
_METHODS: dict[Method, Resampling] = {
    "NEAREST": "nearest",
    "BILINEAR": "bilinear",
    "CUBIC": "cubic",
    "AVERAGE": "average",
}
Clip = Annotated[dict[str, JsonValue] | None, BeforeValidator(parse_composite)]


class CopyParameters(Parameters):
    """The parameters of contract 8.9."""

    input_raster: RasterInput = parameter("inputRaster", "The raster to copy", kind=Kind.RASTER)
    output: OutputName = parameter("outputName", "The copy", kind=Kind.OUTPUT)
    cell_size: CellSize | None = parameter(
        "outputCellsize", "Cell size of the copy, in units of its coordinate system", default=None
    )
    method: Annotated[Method, BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v)] = parameter(
        "resamplingMethod", "How pixels are made on other cells", default="NEAREST", choices=tuple(_METHODS)
    )
    clip: Clip = parameter("clipSetting", "An extent or polygons to cut the copy to, written out", default=None)
    context: ContextInput = parameter(
        "context", "Where and how to process", kind=Kind.CONTEXT, default=ProcessingContext()
    )


def run(parameters: CopyParameters, context: Context) -> tuple[Output, ...]:
    """Copy a raster."""
    handle = context.handle("inputRaster")
    info = context.rasters.describe(handle)
    bands = range(info.band_count - (info.alpha_band is not None))
    view = context.rasters.view(
        handle, list(bands), _processing(parameters), ContextLayers.of(context.handles),
        resampling=_METHODS[parameters.method],
    )  # fmt: skip
    words = "on its own cells" if not view.resample else f"by {parameters.method.lower()} resampling"
    context.report.message(f"Copying {len(bands)} bands of {view.grid.height:,} x {view.grid.width:,} pixels {words}")
    path = context.result or context.folder / "copy.tif"
    context.rasters.copy(path, view, context.report)
    size: dict[str, JsonValue] = {"bands": len(bands), "rows": view.grid.height, "columns": view.grid.width}
    return (Output("outputRaster", "imagery", path=str(path), statistics=size),)


def _processing(parameters: CopyParameters) -> ProcessingContext:
    """Return the context with what the tool's own parameters say, which win."""
    own: dict[str, object] = {}
    if parameters.cell_size is not None:
        own["cell_size"] = parameters.cell_size
    if parameters.clip:
        own |= _clip(parameters.clip)
    return parameters.context.model_copy(update=own)


def _clip(clip: dict[str, JsonValue]) -> dict[str, object]:
    wrapped = clip.get("extent") or clip.get("geometry") or clip
    inner = wrapped if isinstance(wrapped, dict) else clip
    if {"itemId", "url", "uri"} & inner.keys():
        raise ParameterError(
            ["clipSetting refers to a layer; write the polygons out, or give the layer as context.mask"]
        )
    if "xmin" not in inner:
        return {"mask": inner}
    try:
        return {"extent": Extent.model_validate(inner)}
    except ValidationError as error:
        said = "; ".join(str(fault["msg"]) for fault in error.errors(include_url=False, include_input=False))
        raise ParameterError([f"clipSetting is no extent: {said}"]) from None


TOOL = Tool(
    name="CopyRaster",
    title="Copy Raster",
    help="Copy a raster into a hosted image service, with its bands, pixel type, nodata and colours.",
    parameters=CopyParameters,
    outputs=(OutputInfo("outputRaster", "The copy", source="outputName"),),
    run=run,
)
