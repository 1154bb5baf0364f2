from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from raster_analysis.errors import RasterError
from raster_analysis.grid import Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.reader import NativeBands
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rasters.source import GdalRasters

MakeRaster = Callable[..., Handle]
REAL = (
    "landsat/RGB.byte.tif",
    "atlanta-buildings/atlanta_pan.tif",
    "ortho/fotomap_small.tif",
    "neon-trees/OSBS_029.tif",
)
NO_CONTEXT = ProcessingContext()
windows = st.builds(Window, st.integers(-40, 60), st.integers(-40, 60), st.integers(0, 70), st.integers(0, 70))


def read(rasters: GdalRasters, handle: Handle, bands: list[int] | None = None, window: Window | None = None):
    view = rasters.view(handle, bands or [0], NO_CONTEXT)
    with rasters.open(view) as reader:
        return reader.read(window or view.grid.window)


@pytest.mark.parametrize("name", REAL)
def test_real_rasters_are_read_as_rasterio_reads_them(rasters: GdalRasters, data: Path, name: str) -> None:
    handle = resolve_raster(str(data / name))
    count = sum(1 for _ in filter(lambda band: band != "alpha", _colors(handle)))
    window = Window(300, 250, 90, 130)
    pixels = read(rasters, handle, list(range(count)), window)
    with rasterio.open(handle.path) as oracle:
        place = RasterioWindow(250, 300, 130, 90)
        masks = oracle.read_masks(list(range(1, count + 1)), window=place)
        expected = oracle.read(list(range(1, count + 1)), window=place)
    assert np.array_equal(pixels.mask, (masks > 0).any(axis=0))
    assert np.array_equal(pixels.data, expected * (masks > 0))
    assert pixels.data.dtype == expected.dtype


def _colors(handle: Handle) -> list[str]:
    with rasterio.open(handle.path) as oracle:
        return [color.name for color in oracle.colorinterp]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(window=windows)
def test_any_window_is_the_whole_raster_with_nothing_around_it(
    make_raster: MakeRaster, rasters: GdalRasters, window: Window
) -> None:
    rng = np.random.default_rng(3)
    scene = rng.integers(1, 60_000, (3, 33, 47), dtype=np.uint16)
    handle = make_raster(scene, tiled=True, blockxsize=16, blockysize=16)
    pixels = read(rasters, handle, [2, 0], window)
    around = np.zeros((2, 33 + 400, 47 + 400), np.uint16)
    around[:, 200:233, 200:247] = scene[[2, 0]]
    place = window.shift(200, 200).slices
    assert np.array_equal(pixels.data, around[:, *place])
    assert np.array_equal(pixels.mask, around[0][place] > 0)


def test_a_view_that_does_not_fit_its_raster_leaves_no_file_open(
    make_raster: MakeRaster, rasters: GdalRasters, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = rasters.view(make_raster(np.ones((1, 4, 4), np.uint8)), [0], ProcessingContext())
    opened: list[NativeBands] = []

    def remember(*arguments: Any) -> NativeBands:
        opened.append(NativeBands(*arguments))
        return opened[-1]

    monkeypatch.setattr("raster_analysis.rasters.reader.NativeBands", remember)
    between = replace(view.grid, transform=view.grid.transform @ Affine.translation(0.5, 0.5))
    reader = rasters.open(replace(view, grid=between))
    with pytest.raises(RasterError, match="own grid"), reader:
        pass
    assert opened[0].dataset.closed


def test_a_view_of_an_extent_is_read_from_its_own_corner(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    scene = np.arange(1, 101, dtype=np.uint8).reshape(1, 10, 10)
    handle = make_raster(scene)
    extent = {"xmin": 500_006, "ymin": 3_999_990, "xmax": 500_010, "ymax": 3_999_996}
    view = rasters.view(handle, [0], ProcessingContext.model_validate({"extent": extent}))
    with rasters.open(view) as reader:
        inner, outer = reader.read(view.grid.window), reader.read(view.grid.window.pad(1))
    assert np.array_equal(inner.data, scene[:, 2:5, 3:5])
    # The processing extent does not cut: neighbours are real pixels for whoever pads.
    assert np.array_equal(outer.data, scene[:, 1:6, 2:6])


def test_a_pixel_is_valid_where_any_band_read_is_and_nodata_reads_as_zero(
    make_raster: MakeRaster, rasters: GdalRasters
) -> None:
    scene = np.array([[[1, 9, 9]], [[1, 2, 9]]], np.uint8)
    handle = make_raster(scene, nodata=9)
    assert read(rasters, handle, [0, 1]).mask.tolist() == [[True, True, False]]
    assert read(rasters, handle, [0, 1]).data.tolist() == [[[1, 0, 0]], [[1, 2, 0]]]
    assert read(rasters, handle, [0]).mask.tolist() == [[True, False, False]]


def test_alpha_and_a_stored_mask_make_pixels_invalid(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    scene = np.array([[[5, 6, 7]], [[255, 0, 1]]], np.uint8)
    alpha = make_raster(scene, photometric="minisblack", colorinterp=[ColorInterp.gray, ColorInterp.alpha])
    assert read(rasters, alpha).data.tolist() == [[[5, 0, 7]]]
    plain = make_raster(scene[:1], name="masked.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(plain.path, "r+") as sink:
        sink.write_mask(np.array([[255, 255, 0]], np.uint8))
    assert read(rasters, resolve_raster(plain.path)).mask.tolist() == [[True, True, False]]


def test_bands_of_different_types_come_in_the_widest(
    tmp_path: Path, rasters: GdalRasters, make_raster: MakeRaster
) -> None:
    # GeoTIFF has one type for all bands; HFA does not.
    path = tmp_path / "x.img"
    with rasterio.open(path, "w", driver="HFA", width=4, height=4, count=2, dtype="float32", crs="EPSG:32616",
                       transform=rasterio.Affine(2, 0, 5e5, 0, -2, 4e6)) as sink:  # fmt: skip
        sink.write(np.full((2, 4, 4), 1.5, np.float32))
    pixels = read(rasters, resolve_raster(str(path)), [0, 1])
    assert pixels.data.dtype == np.float32
    assert (pixels.data == 1.5).all()


@pytest.mark.parametrize(
    ("driver", "suffix"), [("PNG", "png"), ("JP2OpenJPEG", "jp2"), ("HFA", "img"), ("NITF", "ntf")]
)
def test_every_allowed_lossless_format_is_read(
    make_raster: MakeRaster, rasters: GdalRasters, driver: str, suffix: str, tmp_path: Path
) -> None:
    scene = np.random.default_rng(0).integers(0, 255, (1, 40, 50), dtype=np.uint8)
    source = make_raster(scene, crs="EPSG:4326", transform=rasterio.Affine(0.01, 0, 10, 0, -0.01, 50))
    path = tmp_path / f"x.{suffix}"
    options = {"QUALITY": "100", "REVERSIBLE": "YES"} if driver == "JP2OpenJPEG" else {}
    rasterio.shutil.copy(source.path, path, driver=driver, **options)
    handle = resolve_raster(str(path))
    assert handle.driver == driver
    assert rasters.describe(handle).grid.width == 50
    if driver != "PNG":
        assert np.array_equal(read(rasters, handle).data, scene)
