"""An image service of another server: its description, and the requests that give its pixels as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from affine import Affine
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raster_analysis.errors import RasterError
from raster_analysis.grid import Grid, Window
from raster_analysis.inputs import Extent, SpatialReference
from raster_analysis.rasters.reference import from_spatial_reference

_DTYPES = {
    "U1": "uint8",
    "U2": "uint8",
    "U4": "uint8",
    "U8": "uint8",
    "S8": "int8",
    "U16": "uint16",
    "S16": "int16",
    "U32": "uint32",
    "S32": "int32",
    "F32": "float32",
    "F64": "float64",
}
_LARGEST_SIDE_PX = 2048
_LARGEST_BYTES = 64 * 1024**2
"""Of one request's pixels: a lost connection costs a few seconds (guess)."""

Number = Annotated[float, Field(allow_inf_nan=False)]


class _Document(BaseModel):
    """The keys of a service's description that are used (contract 7.2)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    extent: Extent
    spatial_reference: SpatialReference | None = Field(default=None, alias="spatialReference")
    cell_width: Annotated[Number, Field(gt=0, alias="pixelSizeX")]
    cell_height: Annotated[Number, Field(gt=0, alias="pixelSizeY")]
    band_count: Annotated[int, Field(ge=1, le=2048, alias="bandCount")]
    pixel_type: Annotated[str, Field(alias="pixelType")]
    largest_width: Annotated[int, Field(ge=1, alias="maxImageWidth")] = 4100
    largest_height: Annotated[int, Field(ge=1, alias="maxImageHeight")] = 4100
    lowest: Annotated[tuple[Number, ...], Field(alias="minValues")] = ()
    highest: Annotated[tuple[Number, ...], Field(alias="maxValues")] = ()
    band_names: Annotated[tuple[str, ...], Field(alias="bandNames")] = ()


@dataclass(frozen=True, slots=True)
class ImageService:
    """The facts of a service."""

    grid: Grid
    reference: SpatialReference
    band_count: int
    dtype: str
    pixel_type: str
    block_height: int
    block_width: int
    ranges: tuple[tuple[float, float], ...] = ()
    """Lowest and highest value of each band, where the service tells."""
    band_names: tuple[str, ...] = ()

    @property
    def pixel_bytes(self) -> int:
        """Return the size of one pixel of all bands."""
        return self.band_count * np.dtype(self.dtype).itemsize

    def blocks(self, window: Window) -> Iterator[Window]:
        """Yield the windows of single requests."""
        return window.split(self.block_height, self.block_width)

    def request(self, window: Window) -> dict[str, str]:
        """Return the query that gives a window of the service's own cells, no pixel resampled (contract 7.2)."""
        xmin, ymin, xmax, ymax = self.grid.crop(window).bounds_xyxy
        reference = json.dumps(self.reference.model_dump(by_alias=True, exclude_none=True))
        return {
            "bbox": ",".join(repr(value) for value in (xmin, ymin, xmax, ymax)),
            "bboxSR": reference,
            "imageSR": reference,
            "size": f"{window.width},{window.height}",
            "format": "tiff",
            "pixelType": self.pixel_type,
            "interpolation": "RSP_NearestNeighbor",
            "adjustAspectRatio": "false",
            "f": "image",
        }


def read_service(body: bytes, title: str) -> ImageService:
    """Return the facts in a service's description; raises RasterError when it is none, or not usable."""
    document = _parse(body, title)
    try:
        facts = _Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RasterError(f"image service {title!r} has no usable {where} in its description: {first['msg']}") from None
    if facts.pixel_type.upper() not in _DTYPES:
        raise RasterError(
            f"image service {title!r} has pixel type {facts.pixel_type[:20]!r}; want one of {', '.join(_DTYPES)}"
        )
    return _service(facts, title)


def _parse(body: bytes, title: str) -> Any:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise RasterError(f"image service {title!r} answers with something else than JSON") from None
    refuse_error(document, title)
    return document


def refuse_error(document: Any, title: str) -> None:
    """Raise RasterError when a document is a service's way to say no."""
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        said = " ".join(str(error.get("message", "")).split())[:200]
        raise RasterError(f"image service {title!r} refuses: {said or 'no reason given'} (code {error.get('code')})")


def _service(facts: _Document, title: str) -> ImageService:
    reference = facts.extent.spatial_reference or facts.spatial_reference
    if reference is None:
        raise RasterError(f"image service {title!r} has no spatial reference")
    extent, dtype = facts.extent, _DTYPES[facts.pixel_type.upper()]
    width = round((extent.xmax - extent.xmin) / facts.cell_width)
    height = round((extent.ymax - extent.ymin) / facts.cell_height)
    if width < 1 or height < 1:
        raise RasterError(f"image service {title!r} has an extent of {height} x {width} pixels")
    transform = Affine(facts.cell_width, 0, extent.xmin, 0, -facts.cell_height, extent.ymax)
    count = facts.band_count
    known = len(facts.lowest) == len(facts.highest) == count
    side = max(1, int((_LARGEST_BYTES / (count * np.dtype(dtype).itemsize)) ** 0.5))
    return ImageService(
        grid=Grid(from_spatial_reference(reference, f"image service {title!r}"), transform, height, width),
        reference=reference,
        band_count=count,
        dtype=dtype,
        pixel_type=facts.pixel_type.upper(),
        block_height=min(facts.largest_height, _LARGEST_SIDE_PX, side),
        block_width=min(facts.largest_width, _LARGEST_SIDE_PX, side),
        ranges=tuple(zip(facts.lowest, facts.highest, strict=True)) if known else (),
        band_names=facts.band_names if len(facts.band_names) == count else (),
    )
