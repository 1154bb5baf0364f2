"""A picture of a feature layer in the colours of its renderer: runs in a reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from pydantic import JsonValue, TypeAdapter
from shapely.geometry.base import BaseGeometry

from raster_analysis.handle import Handle
from raster_analysis.inputs import SpatialReference
from raster_analysis.layers.drawing import MOST_FEATURES, Canvas, Color, draw_svg, write_svg
from raster_analysis.layers.feature_query import FeatureQuery, Place, Rows, Shapes
from raster_analysis.layers.feature_reading import find_layer, read_rows
from raster_analysis.layers.palette import color_of
from raster_analysis.question import Content
from raster_analysis.rest.feature_questions import classes_of

_OTHER: Color = (128, 128, 128)
_LARGEST_PX = 4000


@dataclass(frozen=True, slots=True)
class Frame:
    """The rectangle to draw, in its reference, and the picture's size."""

    bounds_xyxy: tuple[float, float, float, float]
    height: int
    width: int
    reference: SpatialReference | None = None
    bounds_reference: SpatialReference | None = None


@dataclass(frozen=True, slots=True)
class DrawingRequest:
    """What is drawn: all of a layer, or what lies in a frame."""

    longest_px: int
    layer: int = 0
    frame: Frame | None = None


_REQUEST: TypeAdapter[DrawingRequest] = TypeAdapter(DrawingRequest)


def answer_feature_drawing(handle: Handle, arguments: dict[str, JsonValue]) -> Content:
    """Return an SVG of a layer's features; without a frame, of all its extent in its own reference."""
    return _draw(handle, _REQUEST.validate_python(arguments))


@lru_cache(maxsize=32)
def _draw(handle: Handle, request: DrawingRequest) -> Content:
    layer = find_layer(handle, request.layer)
    if layer.geometry_kind is None:
        noun = "row" if layer.count == 1 else "rows"
        return Content(write_svg(f"A table of {layer.count:,} {noun}, without geometry"), "image/svg+xml")
    canvas, place, reference = _canvas(request, layer.bounds or (0.0, 0.0, 1.0, 1.0))
    class_field, known = classes_of(handle, request.layer)
    query = FeatureQuery(
        place=place,
        fields=(class_field,) if class_field else (),
        limit=MOST_FEATURES,
        shapes=Shapes(reference),
    )
    rows = read_rows(handle, request.layer, query)
    shapes = rows.shapes if rows.shapes is not None else np.empty(0, dtype=object)
    return Content(draw_svg(shapes, _colors(rows, class_field, known), canvas), "image/svg+xml")


def _canvas(
    request: DrawingRequest, bounds: tuple[float, float, float, float]
) -> tuple[Canvas, Place | None, SpatialReference | None]:
    frame = request.frame
    if frame is None:
        return Canvas.around(bounds, min(request.longest_px, _LARGEST_PX)), None, None
    canvas = Canvas(frame.bounds_xyxy, min(frame.height, _LARGEST_PX), min(frame.width, _LARGEST_PX))
    box: BaseGeometry = shapely.box(*frame.bounds_xyxy)
    reference = frame.bounds_reference or frame.reference
    return canvas, Place(box.wkt, reference), reference


def _colors(rows: Rows, class_field: str | None, known: Mapping[str, Color]) -> list[Color]:
    if class_field is None:
        return [color_of(0)] * len(rows.cells)
    names = [field.name for field in rows.fields]
    column = names.index(class_field)
    return [known.get(str(cells[column]), _OTHER) for cells in rows.cells]
