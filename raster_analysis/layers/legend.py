"""Classes of a layer with the colours of their model: kept in the metadata of a GeoPackage, as rasters keep theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from raster_analysis.layers.palette import Color, color_of
from raster_analysis.model_info import ModelInfo
from raster_analysis.rasters.attribute_table import read_classes, tag_classes
from raster_analysis.seams import Legend, LegendEntry

FIELD_TAG = "CLASS_FIELD"
"""Tag of a layer: the field that holds the names of the classes."""
_LONGEST = 1_000_000
"""Characters; more classes than anybody can tell apart."""


def legend_of(info: ModelInfo, field: str) -> Legend:
    """Return a model's classes, which a field names; those without a colour get one of the palette."""
    entries = (
        LegendEntry(entry.value, entry.name, entry.color or color_of(place)) for place, entry in enumerate(info.classes)
    )
    return Legend(field, tuple(entries))


def tag_legend(legend: Legend | None) -> dict[str, str]:
    """Return the tags of a layer that hold its classes, none without any."""
    classes = tag_classes(legend.entries) if legend else {}
    return {FIELD_TAG: legend.field, **classes} if legend and classes else {}


def read_legend(metadata: str) -> Legend | None:
    """Return the classes in a layer's metadata, which is XML of GDAL; None when there are none of ours."""
    if len(metadata) > _LONGEST or "<!" in metadata:
        return None
    try:
        tags = {item.get("key", ""): item.text or "" for item in ET.fromstring(metadata).iterfind("Metadata/MDI")}  # noqa: S314 - no entities
    except ET.ParseError:
        return None
    entries = read_classes(tags)
    return Legend(tags.get(FIELD_TAG, ""), entries) if entries else None


def colors_of(values: Iterable[str], legend: Legend | None) -> Mapping[str, Color]:
    """Return a colour for each class that occurs: those of the legend in its order, then others by the palette."""
    entries = legend.entries if legend else ()
    names = [entry.name for entry in entries]
    known = {entry.name: entry.color for entry in reversed(entries)}  # of two of a name the first counts
    ordered = sorted(values, key=lambda value: names.index(value) if value in known else len(names))
    return {value: known.get(value) or color_of(place) for place, value in enumerate(ordered)}
