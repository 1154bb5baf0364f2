"""An exportImage request as the question that a reader answers (contract 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.image_values import (
    read_bounds,
    read_numbers,
    read_reference,
    read_rule,
    read_whole_numbers,
)

PIXEL_TYPES = {
    "U8": "uint8", "S8": "int8", "U16": "uint16", "S16": "int16", "U32": "uint32", "S32": "int32",
    "F32": "float32", "F64": "float64",
}  # fmt: skip
_SMALL_TYPES = {"U1": "uint8", "U2": "uint8", "U4": "uint8", "UNKNOWN": None}
_FORMATS = ("png", "png8", "png24", "png32", "jpg", "jpgpng", "tiff", "lerc")
_NAMES_OF_FORMATS = {"jpeg": "jpg", "tif": "tiff"}
_COMPRESSIONS = {"none": "none", "lz77": "lz77", "deflate": "lz77", "lzw": "lzw", "": "lz77"}
_INTERPOLATIONS = {
    "": None,
    "rsp_nearestneighbor": "nearest",
    "rsp_majority": "nearest",
    "rsp_bilinearinterpolation": "bilinear",
    "rsp_cubicconvolution": "cubic",
}
_DEFAULT_SIZE = "400,400"
_QUALITIES = (1, 100)

Facts = Mapping[str, Any]
Arguments = dict[str, JsonValue]


def image_arguments(fields: Mapping[str, str], facts: Facts) -> Arguments:
    """Return what decides an image; raises Refusal for the first parameter that cannot be used."""
    arguments: Arguments = {
        "frame": frame_arguments(fields, facts),
        "format": _format(fields),
        "bands": _bands(fields, len(facts["band_names"])),
        "interpolation": _interpolation(fields),
        "nodata": [*read_numbers(fields["noData"], "noData")] if fields.get("noData", "").strip() else [],
        "dtype": _dtype(fields),
        "compression": _compression(fields),
        "quality": _quality(fields),
        "tolerance": _tolerance(fields),
        "style": read_rule(fields.get("renderingRule", "")),
    }
    return arguments


def frame_arguments(fields: Mapping[str, str], facts: Facts) -> Arguments:
    """Return which rectangle is asked for, in which reference and size; without a bbox, all of the raster."""
    width, height = _size(fields)
    image_reference = read_reference(fields.get("imageSR", ""), "imageSR")
    if fields.get("bbox", "").strip():
        bounds, inner = read_bounds(fields["bbox"], "bbox")
        # Clients leave bboxSR away when it is the raster's own.
        given = read_reference(fields.get("bboxSR", ""), "bboxSR") or inner or own_reference(facts)
    else:
        bounds, given = list(facts["bounds"]), own_reference(facts)
    bounds = _with_aspect(bounds, width / height) if is_true(fields.get("adjustAspectRatio", "")) else bounds
    return {
        "bounds_xyxy": [*bounds],
        "bounds_reference": given,
        "reference": image_reference or given,
        "height": height,
        "width": width,
    }


def own_reference(facts: Facts) -> dict[str, JsonValue]:
    """Return the raster's reference as its reader understands it."""
    reference = facts["reference"]
    return {"wkid": reference["code"]} if "code" in reference else {"wkt": reference["wkt"]}


def is_true(text: str) -> bool:
    """Tell whether a parameter says yes, in any of the spellings that clients send (contract 1.14)."""
    return text.strip().lower() in ("true", "1", "yes")


def _size(fields: Mapping[str, str]) -> tuple[int, int]:
    text = fields.get("size", "").strip() or _DEFAULT_SIZE
    size = read_whole_numbers(text, "size")
    if len(size) != 2 or min(size) < 1:
        raise Refusal(400, f"size {text[:80]!r}: want width,height in pixels, each at least 1.")
    return size[0], size[1]


def _with_aspect(bounds: list[float], ratio: float) -> list[float]:
    """Return bounds grown around their middle until pixels are square."""
    xmin, ymin, xmax, ymax = bounds
    width, height = max(xmax - xmin, (ymax - ymin) * ratio), max(ymax - ymin, (xmax - xmin) / ratio)
    x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def _format(fields: Mapping[str, str]) -> str:
    given = fields.get("format", "").strip().lower() or "jpgpng"
    name = _NAMES_OF_FORMATS.get(given, given)
    if name not in _FORMATS:
        raise Refusal(400, f"format {given[:40]!r} is not supported; use one of {', '.join(_FORMATS)}.")
    return name


def _bands(fields: Mapping[str, str], count: int) -> list[JsonValue] | None:
    text = fields.get("bandIds", "").strip()
    if not text:
        return None
    bands = read_whole_numbers(text, "bandIds")
    if not all(0 <= band < count for band in bands):
        raise Refusal(400, f"bandIds {text[:80]!r}: the raster has bands 0 to {count - 1}.")
    return [*bands]


def _dtype(fields: Mapping[str, str]) -> str | None:
    given = fields.get("pixelType", "").strip().upper() or "UNKNOWN"
    known = {**PIXEL_TYPES, **_SMALL_TYPES}
    if given not in known:
        raise Refusal(400, f"pixelType {given[:40]!r} is not supported; use one of {', '.join(PIXEL_TYPES)}.")
    return known[given]


def _compression(fields: Mapping[str, str]) -> str:
    given = fields.get("compression", "").strip().lower()
    # What loses values (JPEG) or is not written here is answered without loss instead: any reader can tell.
    return _COMPRESSIONS.get(given, "lz77")


def _quality(fields: Mapping[str, str]) -> int:
    text = fields.get("compressionQuality", "").strip()
    if not text:
        return 75
    quality = read_whole_numbers(text, "compressionQuality")[0]
    return min(max(quality, _QUALITIES[0]), _QUALITIES[1])


def _tolerance(fields: Mapping[str, str]) -> float:
    text = fields.get("compressionTolerance", "").strip()
    return max(0.0, read_numbers(text, "compressionTolerance")[0]) if text else 0.0


def _interpolation(fields: Mapping[str, str]) -> str | None:
    given = fields.get("interpolation", "").strip().lower()
    if given not in _INTERPOLATIONS:
        raise Refusal(400, f"interpolation {given[:40]!r} is not known; RSP_NearestNeighbor is one.")
    return _INTERPOLATIONS[given]
