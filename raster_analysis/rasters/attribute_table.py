"""The attribute table of a classified raster (`Value, Class, Red, Green, Blue`), as GDAL keeps it.

rasterio cannot write one, so the side file `<name>.aux.xml` is written here; GDAL, QGIS and ArcGIS read it. The same
classes are kept in a tag of the band: it stays with the raster when the file is published and the side file is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from raster_analysis.seams import LegendEntry

CLASSES_TAG = "CLASSES"
"""Tag of band 1: a JSON list of value, name, red, green, blue for each class."""
_INTEGER, _STRING = "0", "2"
# Name, GDAL's field type and field usage (GDALRATFieldType, GDALRATFieldUsage).
_COLUMNS = (
    ("Value", _INTEGER, "5"),
    ("Class", _STRING, "2"),
    ("Red", _INTEGER, "6"),
    ("Green", _INTEGER, "7"),
    ("Blue", _INTEGER, "8"),
)


def attribute_table_path(raster: Path) -> Path:
    """Return where a raster's attribute table lies; who moves the raster moves it too."""
    return raster.with_name(f"{raster.name}.aux.xml")


def build_attribute_table(legend: Sequence[LegendEntry]) -> bytes:
    """Return the side file's content; the same legend gives the same bytes."""
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = text
    for index, entry in enumerate(legend):
        row = ET.SubElement(table, "Row", index=str(index))
        for value in (entry.value, entry.name, *entry.color):
            ET.SubElement(row, "F").text = _printable(str(value))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=False)) + b"\n"


def tag_classes(legend: Sequence[LegendEntry]) -> dict[str, str]:
    """Return the band's tag that holds the classes, none without any."""
    rows = [[entry.value, _printable(entry.name), *entry.color] for entry in legend]
    return {CLASSES_TAG: json.dumps(rows, ensure_ascii=False, separators=(",", ":"))} if rows else {}


def read_classes(tags: Mapping[str, str]) -> tuple[LegendEntry, ...]:
    """Return the classes in a band's tags; none when there is no such tag, or not one of ours."""
    try:
        rows = json.loads(tags.get(CLASSES_TAG, "[]"))
        entries = [LegendEntry(int(value), str(name), (int(r), int(g), int(b))) for value, name, r, g, b in rows]
    except (ValueError, TypeError, RecursionError):
        return ()
    return tuple(entry for entry in entries if all(0 <= part <= 255 for part in entry.color))


def _printable(text: str) -> str:
    """Return the text without control characters, which XML cannot hold."""
    return "".join(char for char in text if char.isprintable() or char == " ")
