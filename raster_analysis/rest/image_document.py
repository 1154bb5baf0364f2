"""Documents of an image service: the service itself, its classes, statistics and tiles (contract 7.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from raster_analysis.rest.envelope import Document
from raster_analysis.rest.image_request import PIXEL_TYPES, Facts
from raster_analysis.rest.image_source import ImageSource
from raster_analysis.rest.tasks import CURRENT_VERSION

MERCATOR_HALF = 20037508.342789244
TILE_PX = 256
DEEPEST_LEVEL = 23
LARGEST_WIDTH, LARGEST_HEIGHT = 15_000, 4_100
_WEB_MERCATOR, _WEB_MERCATOR_OF_CLIENTS = 3857, 102100
_INCHES_PER_METER, _DOTS_PER_INCH = 39.37, 96
_TYPE_NAMES = {dtype: name for name, dtype in PIXEL_TYPES.items()} | {"uint64": "F64", "int64": "F64", "float16": "F32"}
_NONE = "None"
_FUNCTIONS = (
    (_NONE, "The values as they are."),
    ("Colormap", "A colour for each value."),
    ("Stretch", "Values stretched to 8 bits."),
)


def service_document(source: ImageSource, facts: Facts | None) -> Document:
    """Return the service; one that no job has filled yet has an empty extent."""
    place = _place(facts) if facts else _place_of_nothing()
    return {
        "currentVersion": CURRENT_VERSION,
        "name": source.name,
        "description": source.description,
        "serviceDescription": source.description,
        "serviceItemId": source.item_id,
        "copyrightText": source.copyright,
        "capabilities": "Image,Metadata",
        "singleFusedMapCache": False,
        **place,
        "maxImageHeight": LARGEST_HEIGHT,
        "maxImageWidth": LARGEST_WIDTH,
        "maxRecordCount": 1000,
        "supportedImageFormatTypes": "PNG32,PNG24,PNG8,PNG,JPG,JPGPNG,TIFF,LERC",
        "supportsStatistics": True,
        "supportsAdvancedQueries": False,
        "allowRasterFunction": True,
        "rasterFunctionInfos": function_documents(),
        "rasterTypeInfos": [],
        "defaultResamplingMethod": "Nearest" if facts and facts["classes"] else "Bilinear",
        "defaultMosaicMethod": "None",
        "allowedMosaicMethods": "",
        "mosaicOperator": "First",
        "sortField": "",
        "sortValue": None,
        "fields": [],
        "objectIdField": None,
        "timeInfo": None,
        "hasMultidimensions": False,
        "hasTransposedData": False,
        "useStandardizedQueries": True,
        "editFieldsInfo": None,
        "ownershipBasedAccessControlForRasters": None,
        "defaultCompressionQuality": 75,
        "exportTilesAllowed": False,
        "tileInfo": tile_document(),
    }


def function_documents() -> list[JsonValue]:
    """Return the rendering rules that are understood."""
    return [{"name": name, "description": text, "help": ""} for name, text in _FUNCTIONS]


def reference_document(reference: Mapping[str, Any]) -> Document:
    """Return a spatial reference as clients read it; Web Mercator by the code that they know it by."""
    if "code" not in reference:
        return {"wkt": reference["wkt"]}
    code = reference["code"]
    return {"wkid": _WEB_MERCATOR_OF_CLIENTS if code == _WEB_MERCATOR else code, "latestWkid": code}


def extent_document(bounds: Sequence[float], reference: Mapping[str, Any]) -> Document:
    """Return an envelope."""
    xmin, ymin, xmax, ymax = bounds
    place = reference_document(reference)
    return {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax, "spatialReference": place}


def key_properties(facts: Facts) -> Document:
    """Return the names of the bands and what kind of raster it is."""
    bands: list[JsonValue] = [{"BandName": name} for name in facts["band_names"]]
    return {"DataType": "Thematic" if facts["classes"] else "Generic", "BandProperties": bands}


def attribute_table_document(facts: Facts) -> Document:
    """Return the classes as a table of records."""
    fields: list[JsonValue] = [
        _field("OBJECTID", "OID"),
        _field("Value", "Integer"),
        {**_field("Class", "String"), "length": 254},
        *[_field(name, "Integer") for name in ("Red", "Green", "Blue")],
    ]
    rows: list[JsonValue] = [
        {"attributes": {"OBJECTID": number, **class_attributes(row)}} for number, row in enumerate(facts["classes"])
    ]
    return {"objectIdFieldName": "OBJECTID", "fields": fields, "features": rows}


def _field(name: str, kind: str) -> Document:
    return {"name": name, "type": f"esriFieldType{kind}", "alias": name, "domain": None}


def class_attributes(row: Sequence[Any]) -> Document:
    """Return one class as the attributes of a record."""
    value, name, red, green, blue, _ = row
    return {"Value": value, "Class": name, "Red": red, "Green": green, "Blue": blue}


def colormap_document(facts: Facts) -> Document:
    """Return value, red, green and blue of each class."""
    return {"colormap": [[value, red, green, blue] for value, _, red, green, blue, _ in facts["classes"]]}


def statistics_document(facts: Facts) -> Document:
    """Return the figures of each band."""
    rows: list[JsonValue] = [_figures(band) for band in facts["statistics"] if band]
    return {"statistics": rows}


def histograms_document(facts: Facts) -> Document:
    """Return how often each value, or class of values, occurs in each band."""
    rows: list[JsonValue] = [
        {"size": len(band["counts"]), "min": band["low"], "max": band["high"], "counts": band["counts"]}
        for band in facts["statistics"]
        if band
    ]
    return {"histograms": rows}


def tile_document() -> Document:
    """Return the scheme of the tiles: Web Mercator, the one that all maps of the web share."""
    whole = 2 * MERCATOR_HALF / TILE_PX
    levels: list[JsonValue] = [
        {
            "level": level,
            "resolution": whole / 2**level,
            "scale": whole / 2**level * _INCHES_PER_METER * _DOTS_PER_INCH,
        }
        for level in range(DEEPEST_LEVEL + 1)
    ]
    return {
        "rows": TILE_PX,
        "cols": TILE_PX,
        "dpi": _DOTS_PER_INCH,
        "format": "PNG",
        "compressionQuality": 0,
        "origin": {"x": -MERCATOR_HALF, "y": MERCATOR_HALF},
        "spatialReference": {"wkid": _WEB_MERCATOR_OF_CLIENTS, "latestWkid": _WEB_MERCATOR},
        "lods": levels,
    }


def tile_bounds(level: int, row: int, col: int) -> tuple[float, float, float, float]:
    """Return xmin, ymin, xmax, ymax of a tile in Web Mercator."""
    side = 2 * MERCATOR_HALF / 2**level
    # Each edge by the same formula as the neighbour's, so that both are one number.
    xmin, xmax = (-MERCATOR_HALF + edge * side for edge in (col, col + 1))
    ymax, ymin = (MERCATOR_HALF - edge * side for edge in (row, row + 1))
    return xmin, ymin, xmax, ymax


def _place(facts: Facts) -> Document:
    extent = extent_document(facts["bounds"], facts["reference"])
    return {
        "extent": extent,
        "initialExtent": extent,
        "fullExtent": extent,
        "spatialReference": extent["spatialReference"],
        "pixelSizeX": facts["cell_size"][0],
        "pixelSizeY": facts["cell_size"][1],
        "bandCount": len(facts["band_names"]),
        "bandNames": [*facts["band_names"]],
        "pixelType": _TYPE_NAMES[facts["dtype"]],
        "noDataValue": facts["nodata"],
        "serviceDataType": _data_type(facts),
        "minScale": 0,
        "maxScale": 0,
        **_statistics(facts),
        "hasHistograms": any(facts["statistics"]),
        "hasColormap": bool(facts["classes"]),
        "hasRasterAttributeTable": bool(facts["has_names"]),
        "rows": facts["height"],
        "columns": facts["width"],
    }


def _place_of_nothing() -> Document:
    extent = extent_document((0.0, 0.0, 0.0, 0.0), {"code": _WEB_MERCATOR})
    return {
        "extent": extent,
        "initialExtent": extent,
        "fullExtent": extent,
        "spatialReference": extent["spatialReference"],
        "pixelSizeX": 1,
        "pixelSizeY": 1,
        "bandCount": 1,
        "bandNames": [],
        "pixelType": "U8",
        "noDataValue": None,
        "serviceDataType": "esriImageServiceDataTypeGeneric",
        "minScale": 0,
        "maxScale": 0,
        **{name: [] for name in ("minValues", "maxValues", "meanValues", "stdvValues")},
        "hasHistograms": False,
        "hasColormap": False,
        "hasRasterAttributeTable": False,
        "rows": 0,
        "columns": 0,
    }


def _data_type(facts: Facts) -> str:
    if facts["classes"]:
        return "esriImageServiceDataTypeThematic"
    is_photograph = len(facts["band_names"]) == 3 and facts["dtype"] == "uint8"
    return f"esriImageServiceDataType{'RGB' if is_photograph else 'Generic'}"


def _statistics(facts: Facts) -> Document:
    names = {"minValues": "minimum", "maxValues": "maximum", "meanValues": "mean", "stdvValues": "deviation"}
    return {wire: [band[ours] for band in facts["statistics"] if band] for wire, ours in names.items()}


def _figures(band: Mapping[str, Any]) -> Document:
    return {
        "min": band["minimum"],
        "max": band["maximum"],
        "mean": band["mean"],
        "standardDeviation": band["deviation"],
        "median": band["median"],
        "mode": band["mode"],
        "count": band["count"],
        "skipX": 1,
        "skipY": 1,
    }
