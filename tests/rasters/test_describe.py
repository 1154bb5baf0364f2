from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from raster_analysis.errors import BudgetError, RasterError
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import RasterInfo

MakeRaster = Callable[..., Handle]
ONE = np.ones((1, 8, 8), np.uint8)
NO_CONTEXT = ProcessingContext()


def facts(info: RasterInfo) -> tuple[object, ...]:
    return info.band_count, info.dtype, info.nodata, info.band_names, info.alpha_band, info.value_range


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("landsat/RGB.byte.tif", (718, 791), (3, "uint8", 0.0, ("Red", "Green", "Blue"), None, (0.0, 255.0))),
        ("atlanta-buildings/atlanta_pan.tif", (900, 900), (1, "uint16", 0.0, ("band_0",), None, (0.0, 65535.0))),
        (
            "ortho/fotomap_small.tif",
            (841, 1243),
            (4, "uint8", None, ("Red", "Green", "Blue", "band_3"), 3, (0.0, 255.0)),
        ),
        ("neon-trees/OSBS_029.tif", (400, 400), (3, "uint8", 255.0, ("Red", "Green", "Blue"), None, (12.0, 255.0))),
    ],
)
def test_real_rasters_are_described(
    rasters: GdalRasters, data: Path, name: str, shape: tuple[int, int], expected: tuple[object, ...]
) -> None:
    info = rasters.describe(resolve_raster(str(data / name)))
    with rasterio.open(data / name) as oracle:
        assert info.grid.transform == oracle.transform
        assert rasterio.crs.CRS.from_wkt(info.grid.crs) == oracle.crs
    assert (info.grid.height, info.grid.width) == shape
    assert facts(info) == expected


@pytest.mark.parametrize(
    ("side", "profile", "words"),
    [
        (40_000, {"tiled": True, "blockxsize": 40_000, "blockysize": 40_000}, "1,600,000,000 bytes in one block"),
        (1_000_000, {"tiled": True, "blockxsize": 16_384, "blockysize": 16_384}, "1,000,000,000,000 pixels"),
        (16, {"count": 3_000}, "3,000 bands"),
        (80_000, {"tiled": True, "blockxsize": 16, "blockysize": 16}, "25,000,000 blocks"),
    ],
)
def test_r04_a_header_that_asks_for_too_much_is_refused_with_figures(
    rasters: GdalRasters, tmp_path: Path, side: int, profile: dict[str, object], words: str
) -> None:
    path = tmp_path / "huge.tif"
    settings = {"driver": "GTiff", "dtype": "uint8", "count": 1, "sparse_ok": True, "crs": "EPSG:32616", **profile}
    settings |= {"transform": Affine.scale(2, -2), "BIGTIFF": "YES", "compress": "deflate"}
    with rasterio.open(path, "w", width=side, height=side, **settings):
        pass
    handle = resolve_raster(str(path))
    start = time.monotonic()
    with pytest.raises(BudgetError, match=words) as refusal:
        rasters.describe(handle)
    assert time.monotonic() - start < 5
    assert "at most" in str(refusal.value)
    assert "'huge.tif'" in str(refusal.value)


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_r04_complex_numbers_are_refused(rasters: GdalRasters, tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "radar.tif"
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype=dtype, transform=Affine.scale(2)):
        pass
    with pytest.raises(RasterError, match="complex"):
        rasters.describe(resolve_raster(str(path)))


@pytest.mark.parametrize("tag", [256, 257, 277])
def test_r04_a_raster_of_no_width_height_or_bands_is_refused(
    make_raster: MakeRaster, rasters: GdalRasters, tag: int
) -> None:
    path = Path(make_raster(ONE).path)
    content = bytearray(path.read_bytes())
    entry = struct.pack("<H", tag)
    at = content.index(entry, struct.unpack_from("<I", content, 4)[0])
    content[at + 8 : at + 12] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(RasterError, match=r"scene\.tif"):
        rasters.describe(resolve_raster(str(path)))


def test_r05_a_chain_of_directories_that_ends_in_itself_is_an_error_or_ends(
    make_raster: MakeRaster, rasters: GdalRasters
) -> None:
    path = Path(make_raster(ONE).path)
    content = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    after = first + 2 + 12 * struct.unpack_from("<H", content, first)[0]
    struct.pack_into("<I", content, after, first)
    path.write_bytes(content)
    start = time.monotonic()
    rasters.describe(resolve_raster(str(path)))
    assert time.monotonic() - start < 2


def test_r09_without_a_crs_the_facts_are_given_but_no_view(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, crs=None)
    assert rasters.describe(handle).grid.crs is None
    with pytest.raises(RasterError, match=r"'scene.tif' has no coordinate reference system; .*gdal_edit.py -a_srs"):
        rasters.view(handle, [0], NO_CONTEXT)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_r09_a_crs_without_a_position_is_refused(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, transform=Affine.identity())
    with pytest.raises(RasterError, match="no position"):
        rasters.view(handle, [0], NO_CONTEXT)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_r09_ground_control_points_alone_are_refused(tmp_path: Path, rasters: GdalRasters) -> None:
    points = [GroundControlPoint(r, c, 5e5 + c, 4e6 - r) for r, c in ((0, 0), (0, 4), (4, 0))]
    path = tmp_path / "photo.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8", "crs": "EPSG:32616"}
    with rasterio.open(path, "w", gcps=points, **profile):
        pass
    with pytest.raises(RasterError, match="3 ground control points only; warp it first"):
        rasters.describe(resolve_raster(str(path)))


def test_r09_a_rotated_grid_is_kept_as_it_is(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    turned = Affine(1.5, 0.5, 5e5, 0.5, -1.5, 4e6)
    view = rasters.view(make_raster(ONE, transform=turned), [0], NO_CONTEXT)
    assert view.grid.transform == turned
    assert not view.resample


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_r09_a_cell_of_no_size_is_refused(make_raster: MakeRaster, rasters: GdalRasters, scale: float) -> None:
    path = Path(make_raster(ONE).path)
    content = path.read_bytes()
    assert struct.pack("<d", 2.0) in content
    path.write_bytes(content.replace(struct.pack("<dd", 2.0, 2.0), struct.pack("<dd", scale, scale)))
    handle = resolve_raster(str(path))
    with pytest.raises(RasterError, match=r"scene\.tif"):
        rasters.view(handle, [0], NO_CONTEXT)


def test_r09_a_local_crs_is_used_as_it_is_and_cannot_be_projected(
    make_raster: MakeRaster, rasters: GdalRasters
) -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    handle = make_raster(ONE, crs=rasterio.crs.CRS.from_wkt(local))
    assert not rasters.view(handle, [0], NO_CONTEXT).resample
    with pytest.raises(RasterError, match="cannot be projected"):
        rasters.view(handle, [0], ProcessingContext.model_validate({"outSR": 4326}))


def test_r09_geographic_axes_are_longitude_then_latitude(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, crs="EPSG:4326", transform=Affine(0.1, 0, 10, 0, -0.1, 50))
    context = ProcessingContext.model_validate(
        {"extent": {"xmin": 10.2, "xmax": 10.3, "ymin": 49.8, "ymax": 49.9, "spatialReference": {"wkid": 4326}}}
    )
    assert rasters.view(handle, [0], context).grid.bounds_xyxy == pytest.approx((10.2, 49.8, 10.3, 49.9))


@pytest.mark.parametrize(
    ("dtype", "profile", "expected"),
    [
        ("int8", {}, (-128.0, 127.0)),
        ("uint16", {"NBITS": 12}, (0.0, 4095.0)),
        ("int16", {"nodata": -32768}, (-32768.0, 32767.0)),
        ("float32", {}, (0.0, 1.0)),
    ],
)
def test_r11_without_statistics_the_range_is_that_of_the_bits_in_use(
    make_raster: MakeRaster, rasters: GdalRasters, dtype: str, profile: dict[str, object], expected: tuple[float, float]
) -> None:
    assert rasters.describe(make_raster(ONE.astype(dtype), **profile)).value_range == expected


def test_r11_a_nodata_that_no_pixel_can_have_is_none(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    path = Path(make_raster(ONE.astype("int16"), nodata=-9999).path)
    path.write_bytes(path.read_bytes().replace(b"-9999", b"99999"))
    assert rasters.describe(resolve_raster(str(path))).nodata is None


def test_r11_a_palette_is_one_band_of_indexes(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, photometric="palette", colorinterp=None)
    assert rasters.describe(handle).band_count == 1
    with pytest.raises(RasterError, match="has 1 data band "):
        rasters.view(handle, [0, 1, 2], NO_CONTEXT)


def test_bands_are_named_by_description_then_colour(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(
        np.ones((5, 4, 4), np.uint8),
        photometric="minisblack",
        colorinterp=[ColorInterp.red, *3 * [ColorInterp.undefined], ColorInterp.red],
    )
    with rasterio.open(handle.path, "r+") as sink:
        sink.descriptions = ("", "near infrared", "NIR", "B12", "")
    handle = resolve_raster(handle.path)
    assert rasters.describe(handle).band_names == ("Red", "NearInfrared", "band_2", "band_3", "band_4")
    assert rasters.view(handle, ["nearinfrared", "RED", "band_3", 2], NO_CONTEXT).bands == (1, 0, 3, 2)


def test_alpha_never_counts_as_a_band(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(np.ones((3, 4, 4), np.uint8), photometric="minisblack",
                         colorinterp=[ColorInterp.gray, ColorInterp.alpha, ColorInterp.undefined])  # fmt: skip
    assert rasters.view(handle, [0, 1], NO_CONTEXT).bands == (0, 2)
    with pytest.raises(RasterError, match=r"has 2 data bands \(band_0, band_2; band 1 is its mask .*2 is missing"):
        rasters.view(handle, [0, 1, 2], NO_CONTEXT)


def test_every_missing_band_is_named_with_those_there_are(data: Path, rasters: GdalRasters) -> None:
    handle = resolve_raster(str(data / "landsat" / "RGB.byte.tif"))
    with pytest.raises(RasterError, match=r"\(Red, Green, Blue\), .* NearInfrared, 7 are missing"):
        rasters.view(handle, ["Red", "NearInfrared", 7], NO_CONTEXT)
