"""What a file is, by its first bytes: exactly one driver, or words for what was found instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

HEAD_BYTES = 4096
"""Enough for every signature here; XML may open with a declaration and comments."""

RASTERS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG", "HFA", "NITF")
"""GDAL names of the drivers that may open a raster."""

FEATURES = ("GPKG", "GeoJSON", "FlatGeobuf", "Parquet", "ESRI Shapefile")
"""Names of the formats that may hold features; Parquet is read without GDAL."""


class PackageForm(StrEnum):
    """How a package that is one file is kept."""

    ARCHIVE = "archive"
    DEFINITION = "definition"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file is: its driver when it has an allowed one, and what to call it."""

    words: str
    driver: str | None = None
    way_out: str = ""


_INDIRECT = "; it points to other files or servers, which is not allowed here: convert it with gdal_translate first"

_SIGNATURES: tuple[tuple[bytes, Content], ...] = (
    (b"II*\0", Content("a TIFF", "GTiff")),
    (b"MM\0*", Content("a TIFF", "GTiff")),
    (b"II+\0", Content("a BigTIFF", "GTiff")),
    (b"MM\0+", Content("a BigTIFF", "GTiff")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Content("a JPEG 2000", "JP2OpenJPEG")),
    (b"\xff\x4f\xff\x51", Content("a JPEG 2000 code stream", "JP2OpenJPEG")),
    (b"\x89PNG\r\n\x1a\n", Content("a PNG", "PNG")),
    (b"\xff\xd8\xff", Content("a JPEG", "JPEG")),
    (b"EHFA_HEADER_TAG", Content("an Erdas Imagine file", "HFA")),
    (b"NITF0", Content("a NITF", "NITF")),
    (b"NSIF0", Content("a NSIF", "NITF")),
    (b"fgb\x03fgb", Content("a FlatGeobuf", "FlatGeobuf")),
    (b"PAR1", Content("a Parquet file", "Parquet")),
    (b"\0\0\x27\x0a", Content("a shapefile", "ESRI Shapefile")),
    (b"PK\x03\x04", Content("a ZIP archive", way_out="; unpack it first")),
    (b"\x1f\x8b", Content("a gzip file", way_out="; unpack it first")),
    (b"7z\xbc\xaf\x27\x1c", Content("a 7-Zip archive", way_out="; unpack it first")),
    (b"\x89HDF\r\n\x1a\n", Content("an HDF5 or netCDF file", way_out="; convert it with gdal_translate first")),
    (b"CDF", Content("a netCDF file", way_out="; convert it with gdal_translate first")),
    (b"GIF8", Content("a GIF", way_out="; convert it with gdal_translate first")),
    (b"RIFF", Content("a WebP or other RIFF file", way_out="; convert it with gdal_translate first")),
    (b"%PDF", Content("a PDF")),
    (b"version https://git-lfs", Content("a git-lfs pointer, not the file itself", way_out="; run git lfs pull")),
)

_XML: tuple[tuple[str, str], ...] = (
    ("VRTDataset", "a VRT (virtual raster)"),
    ("OGRVRTDataSource", "a VRT (virtual vector layer)"),
    ("GDAL_WMS", "a GDAL WMS description"),
    ("GDAL_WMTS", "a GDAL WMTS description"),
    ("WCS_GDAL", "a GDAL WCS description"),
    ("MRF_META", "an MRF header"),
    ("GDALTileIndexDataset", "a tile index"),
)

_JSON: tuple[tuple[str, str], ...] = (
    (r'"gdal_streamed_alg"', "a GDALG pipeline"),
    (r'"STACTA"|"stac_version"|"tiled_assets', "a STAC document"),
    (r'"vrt:', "a VRT (virtual raster)"),
)

_GEOJSON_TYPES = re.compile(
    r'"type"\s*:\s*"(FeatureCollection|Feature|GeometryCollection|(Multi)?(Point|LineString|Polygon))"'
)


def name_content(head: bytes) -> Content:
    """Return what a file that begins with `head` is."""
    for signature, content in _SIGNATURES:
        if head.startswith(signature):
            return content
    if head.startswith(b"SQLite format 3\0"):
        return _name_database(head)
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("<"):
        return _name_xml(text)
    if text.startswith("{"):
        return _name_json(text)
    return Content("empty" if not head else "of an unknown format")


def name_package(head: bytes) -> PackageForm | str:
    """Return the form of a package that is one file, or words for what the file is instead."""
    if head.startswith(b"PK\x03\x04"):
        return PackageForm.ARCHIVE
    if head.decode("utf-8-sig", errors="replace").lstrip().startswith("{"):
        return PackageForm.DEFINITION
    return name_content(head).words


def _name_database(head: bytes) -> Content:
    # application_id at byte 68: GeoPackage 1.2 and later, 1.0, 1.1.
    if head[68:72] in (b"GPKG", b"GP10", b"GP11"):
        return Content("a GeoPackage", "GPKG")
    return Content("an SQLite database, but not a GeoPackage")


def _name_xml(text: str) -> Content:
    for tag, words in _XML:
        if f"<{tag}" in text:
            return Content(words, way_out=_INDIRECT)
    return Content("an HTML page" if "<html" in text.lower() else "an XML document")


def _name_json(text: str) -> Content:
    for pattern, words in _JSON:
        if re.search(pattern, text):
            return Content(words, way_out=_INDIRECT)
    if _GEOJSON_TYPES.search(text):
        return Content("a GeoJSON", "GeoJSON")
    return Content("a JSON document")
