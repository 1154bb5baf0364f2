"""Images of any part of a raster: which pixels they show, and from which overview they are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from raster_analysis.errors import BudgetError, InputError, RasterError
from raster_analysis.grid import Grid
from raster_analysis.handle import Handle
from raster_analysis.inputs import SpatialReference
from raster_analysis.rasters.image import Frame, place_frame
from raster_analysis.rasters.image_questions import answer_facts, answer_image, answer_points, answer_statistics
from raster_analysis.rasters.image_statistics import find_statistics
from raster_analysis.rasters.reference import from_name
from raster_analysis.rasters.resampling import project_points

UTM = "EPSG:32616"
PLACE = Affine(2.0, 0, 500_000, 0, -2.0, 4_000_000)

MakeRaster = Callable[..., Handle]


def frame(bounds: tuple[float, ...], width: int, height: int, **more: Any) -> dict[str, Any]:
    return {"bounds_xyxy": list(bounds), "width": width, "height": height, **more}


def values(handle: Handle, shown: dict[str, Any], **more: Any) -> tuple[np.ndarray, np.ndarray]:
    """The values of an image and where they are valid."""
    content = answer_image(handle, {"frame": shown, "format": "tiff", **more})
    with rasterio.MemoryFile(content.data) as memory, memory.open() as image:
        return image.read(), image.dataset_mask() > 0


def ramp(height: int, width: int, dtype: str = "uint16") -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    return (rows * 10 + cols + 1).astype(dtype)[np.newaxis]


@pytest.mark.parametrize(
    "transform",
    [
        PLACE,
        Affine(2, 0, 500_000, 0, 2, 3_999_800),
        PLACE @ Affine.rotation(30),
        Affine(3, 0, 500_000, 0, -1, 4_000_000),
    ],
    ids=["north-up", "south-up", "rotated", "oblong"],
)
def test_every_pixel_shows_the_place_that_it_lies_on(make_raster: MakeRaster, transform: Affine) -> None:
    pixels = ramp(100, 120)
    handle = make_raster(pixels, transform=transform)
    west, south, east, north = Grid(from_name(UTM), transform, 100, 120).bounds_xyxy
    data, mask = values(handle, frame((west, south, east, north), 160, 140))
    assert mask.any()
    for row, col in ((70, 80), (40, 100), (100, 50), (5, 5)):
        x, y = west + (col + 0.5) * (east - west) / 160, north - (row + 0.5) * (north - south) / 140
        source_col, source_row = (int(np.floor(part)) for part in ~transform @ (x, y))
        inside = 0 <= source_row < 100 and 0 <= source_col < 120
        assert mask[row, col] == inside
        if inside:
            assert abs(int(data[0, row, col]) - int(pixels[0, source_row, source_col])) <= 11


def test_classes_come_from_an_overview_unmixed(tmp_path: Path, make_raster: MakeRaster) -> None:
    pixels = np.where(ramp(1024, 1024) % 2, 1, 9).astype(np.uint8)
    handle = make_raster(pixels, tiled=True, blockxsize=256, blockysize=256)
    with rasterio.open(handle.path, "r+") as sink:
        sink.build_overviews([2, 4, 8], rasterio.enums.Resampling.nearest)
        sink.write_colormap(1, {1: (255, 0, 0, 255), 9: (0, 0, 255, 255)})
    handle = Handle("raster", handle.path, handle.title, handle.driver)
    bounds = (500_000, 4_000_000 - 2048, 502_048, 4_000_000)
    data, _ = values(handle, frame(bounds, 128, 128))
    assert set(np.unique(data)) <= {1, 9}


def test_continuous_values_are_means_of_what_a_pixel_covers(make_raster: MakeRaster) -> None:
    checks = (np.indices((400, 400)).sum(axis=0) % 2 * 200).astype(np.uint8)[np.newaxis]
    handle = make_raster(checks)
    bounds = (500_000, 3_999_200, 500_800, 4_000_000)
    data, _ = values(handle, frame(bounds, 100, 100), interpolation="bilinear")
    assert (abs(data[0, 2:-2, 2:-2].astype(int) - 100) <= 1).all()


def test_nodata_does_not_bleed_and_survives_in_values(make_raster: MakeRaster) -> None:
    pixels = np.full((1, 100, 100), 1000, np.int16)
    pixels[:, :, 50:] = -9999
    handle = make_raster(pixels, nodata=-9999)
    bounds = (500_000, 3_999_800, 500_200, 4_000_000)
    smooth, mask = values(handle, frame(bounds, 130, 130), interpolation="bilinear")
    assert set(np.unique(smooth[0][mask])) == {1000}
    raw, _ = values(handle, frame(bounds, 100, 100))
    assert np.array_equal(raw, pixels)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "cubic"])
def test_a_saturated_band_of_a_photograph_keeps_its_value(make_raster: MakeRaster, interpolation: str) -> None:
    pixels = np.full((3, 50, 50), 90, np.uint8)
    pixels[0, :25] = 255
    pixels[:, :, 40:] = 255
    handle = make_raster(pixels, nodata=255)
    data, mask = values(handle, frame((500_000, 3_999_900, 500_100, 4_000_000), 50, 50), interpolation=interpolation)
    assert np.array_equal(mask, pixels.min(axis=0) < 255)
    assert np.array_equal(data[:, mask], pixels[:, mask])


def test_alpha_and_stored_masks_count(make_raster: MakeRaster) -> None:
    pixels = np.full((4, 60, 60), 90, np.uint8)
    pixels[3] = 255
    pixels[3, :30] = 0
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    handle = make_raster(pixels, colorinterp=colors)
    bounds = (500_000, 3_999_880, 500_120, 4_000_000)
    data, mask = values(handle, frame(bounds, 60, 60))
    assert len(data) == 3
    assert np.array_equal(mask, pixels[3] > 0)
    assert len(json.loads(answer_facts(handle, {}).data)["band_names"]) == 3


def test_nan_is_nothing(make_raster: MakeRaster) -> None:
    pixels = ramp(50, 50, "float32")
    pixels[0, :10] = np.nan
    handle = make_raster(pixels)
    _, mask = values(handle, frame((500_000, 3_999_900, 500_100, 4_000_000), 50, 50))
    assert not mask[:10].any()
    assert mask[10:].all()
    assert find_statistics(handle).bands[0].minimum == pixels[0, 10].min()  # type: ignore[union-attr]
    told = json.loads(answer_points(handle, {"points": [[500_001, 3_999_999], [500_001, 3_999_901]]}).data)
    assert told == [None, [pixels[0, 49, 0]]]


def test_a_raster_without_any_valid_pixel_is_a_layer_too(make_raster: MakeRaster) -> None:
    handle = make_raster(np.zeros((1, 30, 30), np.uint16), nodata=0)
    facts = json.loads(answer_facts(handle, {}).data)
    assert facts["statistics"] == [None]
    shown = frame((500_000, 3_999_940, 500_060, 4_000_000), 30, 30)
    for wanted in ("png", "png8", "jpg", "tiff"):
        assert answer_image(handle, {"frame": shown, "format": wanted}).data


def test_a_large_raster_without_overviews_is_sampled_in_windows(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tif"
    profile = {"driver": "GTiff", "width": 90_000, "height": 90_000, "count": 1, "dtype": "uint8", "tiled": True}
    with rasterio.open(path, "w", crs=UTM, transform=PLACE, sparse_ok=True, compress="deflate", **profile):
        pass
    band = find_statistics(Handle("raster", str(path), "sparse", "GTiff")).bands[0]
    assert band is not None
    assert (band.minimum, band.maximum, band.count) == (0, 0, 64 * 128**2)


def test_stored_statistics_win_over_a_sample(make_raster: MakeRaster) -> None:
    handle = make_raster(ramp(20, 20))
    with rasterio.open(handle.path, "r+") as sink:
        figures = {"MINIMUM": "0", "MAXIMUM": "4000", "MEAN": "77.5", "STDDEV": "5"}
        sink.update_tags(1, **{f"STATISTICS_{name}": text for name, text in figures.items()})
    band = find_statistics(Handle("raster", handle.path, "s", "GTiff")).bands[0]
    assert band is not None
    assert (band.minimum, band.maximum, band.mean, band.deviation) == (0, 4000, 77.5, 5)


def test_statistics_of_a_part_count_its_cells(make_raster: MakeRaster) -> None:
    pixels = ramp(100, 100)
    handle = make_raster(pixels)
    part = {"bounds_xyxy": [500_020, 3_999_900, 500_060, 4_000_000]}
    (band,) = json.loads(answer_statistics(handle, part).data)["statistics"]
    assert (band["count"], band["minimum"], band["maximum"]) == (50 * 20, pixels[0, 0, 10], pixels[0, 49, 29])


@given(
    st.tuples(st.floats(-179, 179), st.floats(-84, 84)),
    st.floats(1e-3, 1.0),
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.sampled_from([4326, 3857]),
)
@settings(max_examples=50, deadline=None)
def test_a_frame_keeps_bounds_and_size(
    corner: tuple[float, float], side: float, size: tuple[int, int], code: int
) -> None:
    native = Grid(from_name("EPSG:4326"), Affine(0.1, 0, -180, 0, -0.1, 90), 1800, 3600)
    bounds = (corner[0], corner[1], corner[0] + side, corner[1] + side)
    shown = Frame(bounds, *size, SpatialReference(wkid=code), SpatialReference(wkid=4326))
    grid = place_frame(shown, native, "world")
    assert (grid.height, grid.width) == size
    xs, ys = project_points(native.crs or "", grid.crs or "", [bounds[0], bounds[2]], [bounds[1], bounds[3]])
    assert grid.bounds_xyxy == pytest.approx((xs[0], ys[0], xs[1], ys[1]), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("bounds", [(1, 1, 1, 2), (0, 0, -1, 1), (float("nan"), 0, 1, 1), (0, 0, float("inf"), 1)])
def test_bounds_that_are_no_rectangle_are_refused(bounds: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="bbox"):
        Frame(bounds, 10, 10)


def test_a_raster_without_a_place_is_no_layer(make_raster: MakeRaster) -> None:
    handle = make_raster(ramp(10, 10), crs=None)
    with pytest.raises(RasterError, match="no coordinate reference system"):
        answer_facts(handle, {})


def test_too_many_bands_of_too_many_pixels_are_refused(make_raster: MakeRaster) -> None:
    handle = make_raster(np.zeros((30, 4, 4), np.float32))
    with pytest.raises(BudgetError, match="at most"):
        answer_image(handle, {"frame": frame((500_000, 3_999_992, 500_008, 4_000_000), 4000, 4000), "format": "tiff"})


def test_a_picture_far_away_is_empty_and_cheap(make_raster: MakeRaster) -> None:
    handle = make_raster(ramp(500, 500))
    shown = frame((0, 0, 1000, 1000), 64, 64, reference={"wkid": 3857})
    _, mask = values(handle, shown)
    assert not mask.any()
