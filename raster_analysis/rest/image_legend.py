"""The legend of an image service: a swatch for each class, or a ramp from the lowest to the highest value."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import JsonValue

from raster_analysis.rest.envelope import Document
from raster_analysis.rest.image_request import Facts
from raster_analysis.rest.swatch import draw_rows, draw_swatch

_SIDE_PX = 20
_MOST_CLASSES = 1000


def legend_document(title: str, facts: Facts) -> Document:
    """Return the legend of a service with one layer."""
    classes = facts["classes"][:_MOST_CLASSES]
    rows: list[JsonValue] = [_class_row(row) for row in classes] or _ramp_rows(facts)
    layer: Document = {
        "layerId": 0,
        "layerName": title,
        "layerType": "Raster Layer",
        "minScale": 0,
        "maxScale": 0,
        "legendType": "Unique Values" if classes else "Stretched",
        "legend": rows,
    }
    return {"layers": [layer]}


def _class_row(row: list[Any]) -> Document:
    value, name, red, green, blue, alpha = row
    return {**_picture(draw_swatch((red, green, blue, alpha), _SIDE_PX, _SIDE_PX), name), "values": [value]}


def _ramp_rows(facts: Facts) -> list[JsonValue]:
    """Return what white, the middle and black stand for, as far as the first band's statistics tell."""
    band = next((band for band in facts["statistics"] if band), None)
    if band is None:
        return []
    ends = (("High", 255, "maximum"), ("", 128, "mean"), ("Low", 0, "minimum"))
    return [
        _picture(draw_rows([(grey, grey, grey, 255)] * _SIDE_PX, _SIDE_PX), f"{word} : {band[figure]:g}".strip(" :"))
        for word, grey, figure in ends
    ]


def _picture(png: bytes, label: str) -> Document:
    return {
        "label": label,
        "url": "",
        "imageData": base64.b64encode(png).decode(),
        "contentType": "image/png",
        "height": _SIDE_PX,
        "width": _SIDE_PX,
    }
