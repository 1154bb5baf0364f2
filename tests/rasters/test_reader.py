from __future__ import annotations

import shutil
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

from raster_analysis.errors import InputChanged, RasterError
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


def test_r06_a_truncated_file_is_an_error_that_names_it_and_not_its_place(
    data: Path, rasters: GdalRasters, tmp_path: Path
) -> None:
    whole = (data / "atlanta-buildings" / "atlanta_pan.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    handle = resolve_raster(str(tmp_path / "cut.tif"))
    with pytest.raises(RasterError, match=r"raster 'cut\.tif' cannot be read") as failure:
        read(rasters, handle)
    assert str(tmp_path) not in str(failure.value)


def test_r06_a_truncated_compressed_file_is_an_error_too(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1, 300, 300), dtype=np.uint8)
    path = Path(make_raster(noise, compress="deflate", tiled=True, blockxsize=128, blockysize=128).path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    with pytest.raises(RasterError, match=r"scene\.tif"):
        read(rasters, resolve_raster(str(path)))


def test_r08_files_planted_beside_the_raster_change_nothing(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    scene = np.full((1, 600, 600), 7, np.uint8)
    handle = make_raster(scene, crs=None)
    before = rasters.describe(handle)
    path = Path(handle.path)
    (path.parent / "scene.tif.aux.xml").write_text(
        "<PAMDataset><SRS>EPSG:3857</SRS><PAMRasterBand band='1'><NoDataValue>7</NoDataValue>"
        "<Metadata><MDI key='STATISTICS_MINIMUM'>1</MDI><MDI key='STATISTICS_MAXIMUM'>9</MDI></Metadata>"
        "</PAMRasterBand></PAMDataset>"
    )
    (path.parent / "scene.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    for suffix in (".ovr", ".msk"):
        shutil.copy(path, path.parent / f"scene.tif{suffix}")
    assert rasters.describe(handle) == before
    placed = make_raster(scene, name="placed.tif")
    shutil.copy(path, path.parent / "placed.tif.msk")
    shutil.copy(path.parent / "scene.tif.aux.xml", path.parent / "placed.tif.aux.xml")
    pixels = read(rasters, placed)
    assert pixels.mask.all()
    assert (pixels.data == 7).all()


def test_r12_a_file_replaced_before_it_is_read_is_noticed(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    view = rasters.view(make_raster(np.ones((1, 64, 64), np.uint8)), [0], NO_CONTEXT)
    make_raster(np.full((1, 9, 64), 2, np.uint8), name="other.tif")
    Path(view.handle.path).with_name("other.tif").replace(view.handle.path)
    with pytest.raises(InputChanged), rasters.open(view):
        pass


def test_r12_a_file_written_over_while_it_is_read_is_noticed(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    view = rasters.view(make_raster(np.ones((1, 64, 64), np.uint8)), [0], NO_CONTEXT)
    reader = rasters.open(view)
    with pytest.raises(InputChanged), reader:
        make_raster(np.full((1, 64, 64), 2, np.uint8))


def test_r12_a_deleted_file_is_noticed(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(np.ones((1, 8, 8), np.uint8))
    Path(handle.path).unlink()
    with pytest.raises(InputChanged, match=r"'scene.tif' was changed or removed"):
        rasters.describe(handle)


@pytest.mark.parametrize(
    ("values", "dtype", "nodata", "valid"),
    [
        ([1, 0, 3], "uint8", 0, [1, 0, 1]),
        ([1, -9999, 3], "int16", -9999, [1, 0, 1]),
        ([1, -128, 127], "int8", -128, [1, 0, 1]),
        ([1.5, np.nan, 3], "float32", np.nan, [1, 0, 1]),
        ([1.5, np.nan, np.inf], "float32", None, [1, 0, 0]),
        ([1.5, -3.4028234663852886e38, 3], "float32", -3.4028234663852886e38, [1, 0, 1]),
        ([1.5, 0.1, 3], "float32", 0.1, [1, 0, 1]),
        ([0, 1, 2**31], "uint32", None, [1, 1, 1]),
    ],
)
def test_r11_nodata_of_each_type_is_not_valid_and_reads_as_zero(
    make_raster: MakeRaster,
    rasters: GdalRasters,
    values: list[float],
    dtype: str,
    nodata: float | None,
    valid: list[int],
) -> None:
    scene = np.array(values, dtype).reshape(1, 1, 3)
    pixels = read(rasters, make_raster(scene, nodata=nodata))
    assert pixels.mask.astype(int).tolist() == [valid]
    assert np.array_equal(pixels.data, np.where(pixels.mask, scene, 0))


def test_r11_nodata_outside_the_type_leaves_every_pixel_valid(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    path = Path(make_raster(np.zeros((1, 3, 3), np.int16), nodata=-9999).path)
    path.write_bytes(path.read_bytes().replace(b"-9999", b"99999"))
    assert read(rasters, resolve_raster(str(path))).mask.all()


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
