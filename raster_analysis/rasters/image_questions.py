"""What can be asked about a raster as a layer: its facts, statistics, images, and values at points."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydantic import JsonValue, TypeAdapter
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from raster_analysis.errors import InputError, RasterError
from raster_analysis.grid import Bounds, Grid, Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import SpatialReference
from raster_analysis.pixels import Pixels
from raster_analysis.question import Content
from raster_analysis.rasters import image_encoding as encoding
from raster_analysis.rasters.dataset import describe_raster, open_raster
from raster_analysis.rasters.image import Frame, Interpolation, place_frame, read_image
from raster_analysis.rasters.image_statistics import compute_statistics, data_bands, find_statistics
from raster_analysis.rasters.reader import NativeBands
from raster_analysis.rasters.reference import from_spatial_reference, project_bounds
from raster_analysis.rasters.rendering import (
    Palette,
    Style,
    colorize,
    palette_of_colors,
    read_palette,
    stretch_bands,
)
from raster_analysis.rasters.resampling import project_points
from raster_analysis.seams import RasterInfo, RasterView

MOST_POINTS = 1000
_WEB_MERCATOR = SpatialReference(wkid=3857)

Arguments = dict[str, JsonValue]
ImageFormat = Literal["png", "png8", "png24", "png32", "jpg", "jpgpng", "tiff", "lerc"]
_RAW: tuple[ImageFormat, ...] = ("tiff", "lerc")
_MEDIA = {"jpg": "image/jpeg", "tiff": "image/tiff", "lerc": "application/octet-stream"}


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """All that decides what an image looks like."""

    frame: Frame
    format: ImageFormat = "png"
    bands: tuple[int, ...] | None = None
    """Zero-based; None: all that hold data, of which a picture shows one or three."""
    interpolation: Interpolation | None = None
    """None: the nearest pixel for classes and for values to compute with, bilinear for pictures."""
    nodata: tuple[float, ...] = ()
    """Values that count as nodata too: one for all bands, or one for each."""
    dtype: str | None = None
    """Of the values in a TIFF or LERC; None: the raster's."""
    compression: Literal["none", "lz77", "lzw"] = "lz77"
    quality: int = 75
    tolerance: float = 0.0
    style: Style = field(default_factory=Style)


@dataclass(frozen=True, slots=True)
class PointsRequest:
    """Places whose values are wanted."""

    points: tuple[tuple[float, float], ...]
    reference: SpatialReference | None = None


@dataclass(frozen=True, slots=True)
class PartRequest:
    """A part of a raster."""

    bounds_xyxy: Bounds
    reference: SpatialReference | None = None


_IMAGE: TypeAdapter[ImageRequest] = TypeAdapter(ImageRequest)
_POINTS: TypeAdapter[PointsRequest] = TypeAdapter(PointsRequest)
_PART: TypeAdapter[PartRequest] = TypeAdapter(PartRequest)
_FRAME: TypeAdapter[Frame] = TypeAdapter(Frame)


def answer_facts(handle: Handle, _arguments: Arguments) -> Content:
    """Return what a raster is: place, bands, classes, and statistics, as JSON."""
    return _json(_facts(handle))


def answer_frame(handle: Handle, arguments: Arguments) -> Content:
    """Return the bounds that an image would have, in its own reference, as JSON; refuses what an image would."""
    frame = _FRAME.validate_python(arguments)
    with open_raster(handle) as dataset:
        grid = place_frame(frame, describe_raster(handle, dataset).grid, handle.title)
    return _json({"bounds": list(grid.bounds_xyxy), "reference": _reference(CRS.from_wkt(grid.crs))})


def answer_statistics(handle: Handle, arguments: Arguments) -> Content:
    """Return the statistics of a part of a raster, as JSON; refuses a part outside of it."""
    request = _PART.validate_python(arguments)
    with open_raster(handle) as dataset:
        native = _require_crs(describe_raster(handle, dataset).grid, handle)
    source = from_spatial_reference(request.reference, "spatialReference") if request.reference else native
    found = compute_statistics(handle, project_bounds(request.bounds_xyxy, source, native, "geometry"))
    return _json({"sampled": found.sampled, "statistics": [_band_figures(band) for band in found.bands]})


def answer_image(handle: Handle, arguments: Arguments) -> Content:
    """Return an image."""
    request = _IMAGE.validate_python(arguments)
    with open_raster(handle) as dataset:
        info = describe_raster(handle, dataset)
        palette = _palette(dataset, request)
        raw = request.format in _RAW and request.style.kind == "default"
        interpolation = request.interpolation or ("nearest" if raw or palette else "bilinear")
        view = _view(handle, info, request, raw=raw)
        pixels = _without(read_image(dataset, view, interpolation), request.nodata)
    if raw:
        return _values(request, view, pixels, info.nodata)
    return _picture(request, view, pixels, palette)


def answer_points(handle: Handle, arguments: Arguments) -> Content:
    """Return the values of all bands at each place as JSON; null where there is none."""
    request = _POINTS.validate_python(arguments)
    if len(request.points) > MOST_POINTS:
        raise InputError(f"{len(request.points):,} points are too many; give at most {MOST_POINTS:,}")
    with open_raster(handle) as dataset:
        info = describe_raster(handle, dataset)
        view = RasterView(handle, data_bands(info), info.grid, False, info.dtype)
        bands = NativeBands(dataset, view, raw=True, nearest=True)
        rows: list[JsonValue] = []
        for row, col in _places(handle, info.grid, request):
            pixels = bands.read(Window(row, col, 1, 1))
            rows.append([_number(value) for value in pixels.data[:, 0, 0]] if pixels.mask[0, 0] else None)
    return _json(rows)


def _places(handle: Handle, grid: Grid, request: PointsRequest) -> list[tuple[int, int]]:
    """Return row and column of each point; one outside the raster where it has no counterpart."""
    target, given = _require_crs(grid, handle), request.reference
    source = from_spatial_reference(given, "spatialReference") if given else target
    xs, ys = project_points(source, target, [x for x, _ in request.points], [y for _, y in request.points])
    inverse = ~grid.transform
    found = [inverse @ point for point in zip(xs.tolist(), ys.tolist(), strict=True)]
    # Infinite, where there is no counterpart, is not inside either.
    inside = [0 <= col < grid.width and 0 <= row < grid.height for col, row in found]
    return [(int(row), int(col)) if here else (-1, -1) for (col, row), here in zip(found, inside, strict=True)]


def _palette(dataset: DatasetReader, request: ImageRequest) -> Palette | None:
    if request.style.kind == "colors":
        return palette_of_colors(request.style.colors)
    own = read_palette(dataset)
    # Without a rule the values are smoothed no more than the classes would be.
    return own if request.style.kind == "default" else None


def _view(handle: Handle, info: RasterInfo, request: ImageRequest, *, raw: bool) -> RasterView:
    all_bands = data_bands(info)
    wanted = request.bands if request.bands is not None else tuple(range(len(all_bands)))
    missing = [band for band in wanted if not 0 <= band < len(all_bands)]
    if missing or not wanted:
        raise InputError(f"bandIds {list(wanted)}: the raster has bands 0 to {len(all_bands) - 1}")
    if not raw:
        wanted = wanted[:3] if len(wanted) >= 3 else wanted[:1]
    grid = place_frame(request.frame, info.grid, handle.title)
    return RasterView(handle, tuple(all_bands[band] for band in wanted), grid, True, info.dtype)


def _without(pixels: Pixels, nodata: tuple[float, ...]) -> Pixels:
    """Return pixels that are not valid where a band has a value that the request calls nodata."""
    if not nodata:
        return pixels
    values = nodata if len(nodata) == len(pixels.data) else nodata[:1] * len(pixels.data)
    hit = np.any([band == value for band, value in zip(pixels.data, values, strict=True)], axis=0)
    return Pixels(pixels.data, pixels.mask & ~hit, pixels.window)


def _values(request: ImageRequest, view: RasterView, pixels: Pixels, own_nodata: float | None) -> Content:
    nodata = request.nodata[0] if request.nodata else own_nodata
    if request.dtype and request.dtype != pixels.data.dtype.name:
        pixels = Pixels(_as_type(pixels.data, np.dtype(request.dtype)), pixels.mask, pixels.window)
    if nodata is not None and not _can_hold(pixels.data.dtype, nodata):
        nodata = None
    values = encoding.Values(pixels, view.grid, nodata)
    if request.format == "lerc":
        return Content(encoding.encode_lerc(values, request.tolerance), _MEDIA["lerc"])
    return Content(encoding.encode_tiff(values, request.compression), _MEDIA["tiff"])


def _as_type(data: np.ndarray[Any, Any], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return values in another type, cut to what it can hold."""
    if kind.kind == "f":
        return data.astype(kind)
    bounds = np.iinfo(kind)
    cut: np.ndarray[Any, Any] = np.nan_to_num(data.astype(np.float64)).clip(bounds.min, bounds.max).astype(kind)
    return cut


def _can_hold(kind: np.dtype[Any], value: float) -> bool:
    return kind.kind == "f" or (float(value).is_integer() and np.iinfo(kind).min <= value <= np.iinfo(kind).max)


def _picture(request: ImageRequest, view: RasterView, pixels: Pixels, palette: Palette | None) -> Content:
    wanted = request.format
    if palette and palette.is_small and wanted in ("png", "png8", "jpgpng") and pixels.data.dtype.kind in "iu":
        return Content(encoding.encode_classes_png(pixels.data[0], pixels.mask, palette), "image/png")
    rgba = colorize(pixels.data[0], pixels.mask, palette) if palette else _stretched(request, view, pixels)
    if wanted == "tiff":
        drawn = Pixels(rgba, rgba[3] > 0, pixels.window)
        return Content(encoding.encode_tiff(encoding.Values(drawn, view.grid, None), request.compression), "image/tiff")
    if wanted == "lerc":
        drawn = Pixels(rgba[:3], rgba[3] > 0, pixels.window)
        return Content(encoding.encode_lerc(encoding.Values(drawn, view.grid, None), 0), _MEDIA["lerc"])
    if wanted == "jpg" or (wanted == "jpgpng" and rgba[3].all()):
        return Content(encoding.encode_jpeg(rgba, request.quality), "image/jpeg")
    if wanted == "png8":
        return Content(encoding.encode_small_png(rgba), "image/png")
    return Content(encoding.encode_png(rgba, alpha=wanted != "png24"), "image/png")


def _stretched(request: ImageRequest, view: RasterView, pixels: Pixels) -> np.ndarray[Any, Any]:
    style = request.style
    plain = style.kind == "none" or (style.kind == "default" and pixels.data.dtype == np.uint8)
    if plain:
        return stretch_bands(pixels.data, pixels.mask, [(0.0, 255.0)] * len(pixels.data))
    found = dict(zip(_data_bands_of(view.handle), find_statistics(view.handle).bands, strict=True))
    ranges = [style.stretch.range_of(place, found[band]) for place, band in enumerate(view.bands)]
    return stretch_bands(pixels.data, pixels.mask, ranges)


def _data_bands_of(handle: Handle) -> tuple[int, ...]:
    with open_raster(handle) as dataset:
        return data_bands(describe_raster(handle, dataset))


@lru_cache(maxsize=64)
def _facts(handle: Handle) -> Mapping[str, JsonValue]:
    with open_raster(handle) as dataset:
        info = describe_raster(handle, dataset)
        palette = read_palette(dataset)
    statistics = find_statistics(handle)
    wkt = _require_crs(info.grid, handle)
    return {
        "bounds": list(info.grid.bounds_xyxy),
        "mercator_bounds": _mercator_bounds(info.grid),
        "height": info.grid.height,
        "width": info.grid.width,
        "cell_size": list(info.grid.cell_size),
        "reference": _reference(CRS.from_wkt(wkt)),
        "dtype": info.dtype,
        "nodata": _number(info.nodata) if info.nodata is not None else None,
        "band_names": [info.band_names[band] for band in data_bands(info)],
        "classes": _classes(palette),
        "has_names": bool(palette and palette.names),
        "sampled": statistics.sampled,
        "statistics": [_band_figures(band) for band in statistics.bands],
    }


def _classes(palette: Palette | None) -> list[JsonValue]:
    """Return value, name and four colour parts of each class."""
    if palette is None:
        return []
    return [[value, palette.names.get(value, str(value)), *color] for value, color in palette.colors.items()]


def _band_figures(band: Any) -> JsonValue:
    if band is None:
        return None
    names = ("minimum", "maximum", "mean", "deviation", "median", "mode", "count", "low", "high")
    figures: dict[str, JsonValue] = {name: getattr(band, name) for name in names}
    return {**figures, "counts": list(band.counts)}


def _mercator_bounds(grid: Grid) -> list[JsonValue] | None:
    target = from_spatial_reference(_WEB_MERCATOR, "tiles")
    try:
        return list(project_bounds(grid.bounds_xyxy, str(grid.crs), target, "raster"))
    except RasterError:
        return None


def _reference(crs: CRS) -> dict[str, JsonValue]:
    """Return a system as clients of the dialect above name it: by its code, else as WKT."""
    found = crs.to_authority()
    if found and found[1].isdigit():
        return {"code": int(found[1])}
    return {"wkt": crs.to_wkt(version="WKT1_ESRI")}


def _require_crs(grid: Grid, handle: Handle) -> str:
    if grid.crs is None:
        raise RasterError(f"raster {handle.title!r} has no coordinate reference system, so it is no layer of a map")
    return grid.crs


def _number(value: Any) -> JsonValue:
    number = float(value)
    if not np.isfinite(number):
        return None
    return int(number) if number.is_integer() else number


def _json(value: Any) -> Content:
    return Content(json.dumps(value, allow_nan=False).encode())
