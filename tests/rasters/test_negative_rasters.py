"""R01 to R14: what must happen to rasters that are hostile, broken or odd."""

from __future__ import annotations

import shutil
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from raster_analysis.errors import BudgetError, InputChanged, InputError, OutputError, RasterError
from raster_analysis.handle import Handle
from raster_analysis.inference.blocks import load_labels, save_labels
from raster_analysis.inputs import ProcessingContext
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.dataset import open_raster, read_errors
from raster_analysis.rasters.resolver import resolve_features, resolve_package, resolve_raster
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import RasterView

MakeRaster = Callable[..., Handle]
ONE = np.ones((1, 8, 8), np.uint8)
NO_CONTEXT = ProcessingContext()
UTM_16 = {"wkid": 32616}
SQUARE = (500_010, 3_999_900, 500_050, 3_999_960)
HOLE = (500_020, 3_999_920, 500_030, 3_999_940)
DISGUISED = {
    "VRT": b'<VRTDataset rasterXSize="1" rasterYSize="1"><SourceFilename>/etc/passwd</SourceFilename></VRTDataset>',
    "VRT with a declaration": b'<?xml version="1.0"?>\n<!-- a comment -->\n<VRTDataset rasterXSize="1"></VRTDataset>',
    "WMS": b'<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/</ServerUrl></Service></GDAL_WMS>',
    "WMTS": b"<GDAL_WMTS><GetCapabilitiesUrl>http://127.0.0.1:9/</GetCapabilitiesUrl></GDAL_WMTS>",
    "MRF": b"<MRF_META><Raster><DataFile>/tmp/written</DataFile></Raster></MRF_META>",
    "tile index": b"<GDALTileIndexDataset><IndexDataset>x</IndexDataset></GDALTileIndexDataset>",
    "GDALG": b'{"type": "gdal_streamed_alg", "command_line": "gdal raster info x"}',
    "STAC": b'{"stac_version": "1.0.0", "type": "Feature", "geometry": null}',
}


def context(**values: Any) -> ProcessingContext:
    return ProcessingContext.model_validate(values)


def read(rasters: GdalRasters, handle: Handle) -> Pixels:
    view = rasters.view(handle, [0], NO_CONTEXT)
    with rasters.open(view) as reader:
        return reader.read(view.grid.window)


def mask_of(rasters: GdalRasters, view: RasterView) -> np.ndarray:
    with rasters.open(view) as reader:
        return reader.read(view.grid.window).mask


@pytest.fixture
def scene(make_raster: MakeRaster) -> Handle:
    """60 x 80 pixels of 2 m, top-left corner at 500000, 4000000; every pixel of another value."""
    return make_raster(np.arange(1, 4801, dtype=np.uint16).reshape(1, 60, 80))


@pytest.mark.parametrize("kind", DISGUISED)
def test_R01_a_description_of_other_files_named_tif_is_refused_and_called_by_its_name(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "innocent.tif"
    path.write_bytes(DISGUISED[kind])
    with pytest.raises(RasterError, match=kind.split(maxsplit=1)[0]) as refusal:
        resolve_raster(str(path))
    assert str(tmp_path) not in str(refusal.value)
    assert "GTiff" in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        '<VRTDataset rasterXSize="1"/>',
        '{"type": "gdal_streamed_alg"}',
        "vrt:///data/x.tif",
        "/vsicurl/http://127.0.0.1/x.tif",
        "/vsicurl?header_file=/etc/passwd&url=http://127.0.0.1/",
        "/vsizip/x.zip",
        "//VSIZIP//x.zip",
        "/vsisubfile/0_100,x.tif",
        "/vsistdin/",
        "/vsimem/x.tif",
        "/data/../vsimem/../vsicurl/x",
        "GTIFF_DIR:1:/data/x.tif",
        'ZARR:"/vsicurl/http://127.0.0.1"',
        "HDF5:x.h5://band",
        "PG:host=127.0.0.1",
        "http://127.0.0.1/x.tif",
        "file:///etc/passwd",
        "x\0.tif",
        "x\n.tif",
        "x\x7f.tif",
        "",
        "  ",
    ],
)
@pytest.mark.parametrize("in_store", [False, True])
def test_R02_text_that_gdal_would_interpret_is_refused_before_the_disk_is_asked(
    text: str, in_store: bool, tmp_path: Path
) -> None:
    for resolve in (resolve_raster, resolve_features, resolve_package):
        with pytest.raises(InputError, match="may be opened"):
            resolve(text, root=tmp_path if in_store else None)


@pytest.mark.parametrize(
    ("side", "profile", "words"),
    [
        (40_000, {"tiled": True, "blockxsize": 40_000, "blockysize": 40_000}, "1,600,000,000 bytes in one block"),
        (1_000_000, {"tiled": True, "blockxsize": 16_384, "blockysize": 16_384}, "1,000,000,000,000 pixels"),
        (16, {"count": 3_000}, "3,000 bands"),
        (80_000, {"tiled": True, "blockxsize": 16, "blockysize": 16}, "25,000,000 blocks"),
    ],
)
def test_R04_a_header_that_asks_for_too_much_is_refused_with_figures(
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
def test_R04_complex_numbers_are_refused(rasters: GdalRasters, tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "radar.tif"
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype=dtype, transform=Affine.scale(2)):
        pass
    with pytest.raises(RasterError, match="complex"):
        rasters.describe(resolve_raster(str(path)))


@pytest.mark.parametrize("tag", [256, 257, 277])
def test_R04_a_raster_of_no_width_height_or_bands_is_refused(
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


def test_R05_a_chain_of_directories_that_ends_in_itself_is_an_error_or_ends(
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


def test_R06_a_truncated_file_is_an_error_that_names_it_and_not_its_place(
    data: Path, rasters: GdalRasters, tmp_path: Path
) -> None:
    whole = (data / "atlanta-buildings" / "atlanta_pan.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    handle = resolve_raster(str(tmp_path / "cut.tif"))
    with pytest.raises(RasterError, match=r"raster 'cut\.tif' cannot be read") as failure:
        read(rasters, handle)
    assert str(tmp_path) not in str(failure.value)


def test_R06_a_truncated_compressed_file_is_an_error_too(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1, 300, 300), dtype=np.uint8)
    path = Path(make_raster(noise, compress="deflate", tiled=True, blockxsize=128, blockysize=128).path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    with pytest.raises(RasterError, match=r"scene\.tif"):
        read(rasters, resolve_raster(str(path)))


def test_R08_files_planted_beside_the_raster_change_nothing(make_raster: MakeRaster, rasters: GdalRasters) -> None:
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


def test_R09_without_a_crs_the_facts_are_given_but_no_view(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, crs=None)
    assert rasters.describe(handle).grid.crs is None
    with pytest.raises(RasterError, match=r"'scene.tif' has no coordinate reference system; .*gdal_edit.py -a_srs"):
        rasters.view(handle, [0], NO_CONTEXT)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_R09_a_crs_without_a_position_is_refused(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, transform=Affine.identity())
    with pytest.raises(RasterError, match="no position"):
        rasters.view(handle, [0], NO_CONTEXT)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_R09_ground_control_points_alone_are_refused(tmp_path: Path, rasters: GdalRasters) -> None:
    points = [GroundControlPoint(r, c, 5e5 + c, 4e6 - r) for r, c in ((0, 0), (0, 4), (4, 0))]
    path = tmp_path / "photo.tif"
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8", "crs": "EPSG:32616"}
    with rasterio.open(path, "w", gcps=points, **profile):
        pass
    with pytest.raises(RasterError, match="3 ground control points only; warp it first"):
        rasters.describe(resolve_raster(str(path)))


def test_R09_a_rotated_grid_is_kept_as_it_is(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    turned = Affine(1.5, 0.5, 5e5, 0.5, -1.5, 4e6)
    view = rasters.view(make_raster(ONE, transform=turned), [0], NO_CONTEXT)
    assert view.grid.transform == turned
    assert not view.resample


@pytest.mark.parametrize("scale", [0.0, float("nan")])
def test_R09_a_cell_of_no_size_is_refused(make_raster: MakeRaster, rasters: GdalRasters, scale: float) -> None:
    path = Path(make_raster(ONE).path)
    content = path.read_bytes()
    assert struct.pack("<d", 2.0) in content
    path.write_bytes(content.replace(struct.pack("<dd", 2.0, 2.0), struct.pack("<dd", scale, scale)))
    handle = resolve_raster(str(path))
    with pytest.raises(RasterError, match=r"scene\.tif"):
        rasters.view(handle, [0], NO_CONTEXT)


def test_R09_a_local_crs_is_used_as_it_is_and_cannot_be_projected(
    make_raster: MakeRaster, rasters: GdalRasters
) -> None:
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    handle = make_raster(ONE, crs=rasterio.crs.CRS.from_wkt(local))
    assert not rasters.view(handle, [0], NO_CONTEXT).resample
    with pytest.raises(RasterError, match="cannot be projected"):
        rasters.view(handle, [0], ProcessingContext.model_validate({"outSR": 4326}))


def test_R09_geographic_axes_are_longitude_then_latitude(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, crs="EPSG:4326", transform=Affine(0.1, 0, 10, 0, -0.1, 50))
    context = ProcessingContext.model_validate(
        {"extent": {"xmin": 10.2, "xmax": 10.3, "ymin": 49.8, "ymax": 49.9, "spatialReference": {"wkid": 4326}}}
    )
    assert rasters.view(handle, [0], context).grid.bounds_xyxy == pytest.approx((10.2, 49.8, 10.3, 49.9))


def test_R10_an_extent_beside_the_raster_is_refused_with_both_extents(rasters: GdalRasters, scene: Handle) -> None:
    extent = {"xmin": 0, "ymin": 0, "xmax": 9, "ymax": 9}
    with pytest.raises(
        RasterError, match=r"\(0, 0, 9, 9\) lies outside raster 'scene.tif'.*\(500000, 3999880, 500160, 4000000\)"
    ):
        rasters.view(scene, [0], context(extent=extent))


def test_R10_an_extent_over_the_antimeridian_is_refused(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    handle = make_raster(np.ones((1, 8, 8), np.uint8), crs="EPSG:4326", transform=Affine(1, 0, 176, 0, -1, -10))
    extent = {"xmin": 2e7, "ymin": -2e6, "xmax": 2.01e7, "ymax": -1.2e6, "spatialReference": {"wkid": 3857}}
    with pytest.raises(RasterError, match="antimeridian"):
        rasters.view(handle, [0], context(extent=extent))


@pytest.mark.filterwarnings("ignore:Use `@` matmul")
def test_R10_a_raster_that_a_projection_tears_apart_is_refused(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    fiji = make_raster(np.ones((1, 64, 64), np.uint8), crs="EPSG:4326", transform=Affine(0.1, 0, 178, 0, -0.1, -15))
    with pytest.raises(RasterError, match="antimeridian"):
        rasters.view(fiji, [0], context(outSR={"wkid": 3857}))
    assert rasters.view(fiji, [0], context(outSR={"wkid": 3460})).grid.width > 60  # Fiji's own


def test_R10_a_polygon_that_crosses_itself_is_mended(rasters: GdalRasters, scene: Handle) -> None:
    x0, y0, x1, y1 = SQUARE
    bow = {"rings": [[[x0, y0], [x1, y1], [x1, y0], [x0, y1], [x0, y0]]], "spatialReference": UTM_16}
    assert mask_of(rasters, rasters.view(scene, [0], context(mask=bow))).sum() == pytest.approx(300, abs=30)


def test_R10_a_polygon_of_many_vertices_is_read_exactly(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    handle = make_raster(np.ones((1, 300, 300), np.uint8))
    angle = np.linspace(0, 2 * np.pi, 200_000)
    radius = 200 + 5 * np.sin(angle * 400)
    star = np.column_stack([500_300 + radius * np.cos(angle), 3_999_700 + radius * np.sin(angle)])
    star[-1] = star[0]
    view = rasters.view(handle, [0], context(mask={"rings": [star.tolist()], "spatialReference": UTM_16}))
    xs, ys = np.meshgrid(500_001 + 2 * np.arange(300), 3_999_999 - 2 * np.arange(300))
    expected = shapely.contains_xy(shapely.Polygon(star), xs, ys)
    assert np.array_equal(mask_of(rasters, view), expected)


@pytest.mark.parametrize(
    ("dtype", "profile", "expected"),
    [
        ("int8", {}, (-128.0, 127.0)),
        ("uint16", {"NBITS": 12}, (0.0, 4095.0)),
        ("int16", {"nodata": -32768}, (-32768.0, 32767.0)),
        ("float32", {}, (0.0, 1.0)),
    ],
)
def test_R11_without_statistics_the_range_is_that_of_the_bits_in_use(
    make_raster: MakeRaster, rasters: GdalRasters, dtype: str, profile: dict[str, object], expected: tuple[float, float]
) -> None:
    assert rasters.describe(make_raster(ONE.astype(dtype), **profile)).value_range == expected


def test_R11_a_nodata_that_no_pixel_can_have_is_none(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    path = Path(make_raster(ONE.astype("int16"), nodata=-9999).path)
    path.write_bytes(path.read_bytes().replace(b"-9999", b"99999"))
    assert rasters.describe(resolve_raster(str(path))).nodata is None


def test_R11_a_palette_is_one_band_of_indexes(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(ONE, photometric="palette", colorinterp=None)
    assert rasters.describe(handle).band_count == 1
    with pytest.raises(RasterError, match="has 1 data band "):
        rasters.view(handle, [0, 1, 2], NO_CONTEXT)


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
def test_R11_nodata_of_each_type_is_not_valid_and_reads_as_zero(
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


def test_R11_nodata_outside_the_type_leaves_every_pixel_valid(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    path = Path(make_raster(np.zeros((1, 3, 3), np.int16), nodata=-9999).path)
    path.write_bytes(path.read_bytes().replace(b"-9999", b"99999"))
    assert read(rasters, resolve_raster(str(path))).mask.all()


def test_R12_a_file_replaced_before_it_is_read_is_noticed(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    view = rasters.view(make_raster(np.ones((1, 64, 64), np.uint8)), [0], NO_CONTEXT)
    make_raster(np.full((1, 9, 64), 2, np.uint8), name="other.tif")
    Path(view.handle.path).with_name("other.tif").replace(view.handle.path)
    with pytest.raises(InputChanged), rasters.open(view):
        pass


def test_R12_a_file_written_over_while_it_is_read_is_noticed(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    view = rasters.view(make_raster(np.ones((1, 64, 64), np.uint8)), [0], NO_CONTEXT)
    reader = rasters.open(view)
    with pytest.raises(InputChanged), reader:
        make_raster(np.full((1, 64, 64), 2, np.uint8))


def test_R12_a_deleted_file_is_noticed(make_raster: MakeRaster, rasters: GdalRasters) -> None:
    handle = make_raster(np.ones((1, 8, 8), np.uint8))
    Path(handle.path).unlink()
    with pytest.raises(InputChanged, match=r"'scene.tif' was changed or removed"):
        rasters.describe(handle)


def test_R03_a_file_of_headers_is_neither_read_nor_sent(tmp_path: Path) -> None:
    (tmp_path / "headers.txt").write_text("X-Secret: s3cret")
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.1)
        url = f"http://127.0.0.1:{canary.getsockname()[1]}/x.tif"
        for spelling in (
            "/vsicurl?header_file={}&url={}",
            "/vsicurl/header_file={}&url={}",
            "//vsicurl?a=1&header_file={}&url={}",
        ):
            for root in (None, tmp_path):
                with pytest.raises(RasterError, match="may be opened"):
                    resolve_raster(spelling.format(tmp_path / "headers.txt", url), root=root)
        with pytest.raises(TimeoutError):
            canary.accept()


def tiff(entries: list[tuple[int, int, int, int]], after: bytes = bytes(4), *, pixels: int = 64) -> bytes:
    """A little-endian TIFF: pixels at 8, then one directory of (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHIi", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + pixels) + bytes(pixels) + directory + after


PLAIN = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]
STRIP = [(273, 4, 1, 8), (278, 4, 1, 8), (279, 4, 1, 64)]
CHAIN = 50_000
BROKEN = {
    "strip beyond the end": tiff([*PLAIN, (273, 4, 1, 2**31 - 1), *STRIP[1:]]),
    "negative strip offset": tiff([*PLAIN, (273, 9, 1, -64), *STRIP[1:]]),
    "negative tile size": tiff([*PLAIN, (322, 9, 1, -16), (323, 9, 1, -16), (324, 4, 1, 8), (325, 4, 1, 64)]),
    "tile of no size": tiff([*PLAIN, (322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8), (325, 4, 1, 64)]),
    "a directory beyond the end": b"II*\0" + struct.pack("<I", 2**31) + bytes(64),
    "an offset that overflows": b"II+\0" + struct.pack("<HHQ", 8, 0, 2**64 - 16) + bytes(64),
    "an entry count that overflows": b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + b"\xff" * 64,
    "a count that overflows": tiff([*PLAIN, (273, 4, 2**31 - 1, 8), *STRIP[1:]]),
}


def read_all(rasters: GdalRasters, path: Path) -> np.ndarray:
    handle = resolve_raster(str(path))
    rasters.describe(handle)
    with open_raster(handle) as dataset, read_errors(handle):
        pixels: np.ndarray = dataset.read()
        return pixels


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_R05_a_broken_directory_is_an_error_at_once(tmp_path: Path, rasters: GdalRasters, kind: str) -> None:
    (tmp_path / "broken.tif").write_bytes(BROKEN[kind])
    start = time.monotonic()
    with pytest.raises((RasterError, BudgetError), match=r"broken\.tif") as refused:
        read_all(rasters, tmp_path / "broken.tif")
    assert time.monotonic() - start < 2
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_R05_a_long_chain_of_overviews_ends_at_once(tmp_path: Path, rasters: GdalRasters) -> None:
    overview = [(254, 4, 1, 1), *PLAIN, *STRIP]
    size = 2 + 12 * len(overview) + 4
    start = len(tiff([*PLAIN, *STRIP]))
    chain = [
        struct.pack("<H", len(overview))
        + b"".join(struct.pack("<HHIi", *entry) for entry in sorted(overview))
        + struct.pack("<I", start + size * (number + 1) if number + 1 < CHAIN else 0)
        for number in range(CHAIN)
    ]
    (tmp_path / "broken.tif").write_bytes(tiff([*PLAIN, *STRIP], struct.pack("<I", start)) + b"".join(chain))
    began = time.monotonic()
    with suppress(RasterError, BudgetError):
        rasters.describe(resolve_raster(str(tmp_path / "broken.tif")))
    assert time.monotonic() - began < 2


def test_R07_a_flipped_bit_is_found_where_a_digest_is_stored(tmp_path: Path) -> None:
    digest = save_labels(tmp_path / "block.npy", np.arange(100, dtype=np.uint8).reshape(10, 10))
    content = bytearray((tmp_path / "block.npy").read_bytes())
    content[-7] ^= 0x10
    (tmp_path / "block.npy").write_bytes(content)
    with pytest.raises(OutputError, match="is not the one that was recorded"):
        load_labels(tmp_path / "block.npy", digest)


def test_R10_a_raster_over_the_pole_is_all_round_in_degrees(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    handle = make_raster(
        np.ones((1, 200, 200), np.uint8), crs="EPSG:3413", transform=Affine(1e4, 0, -1e6, 0, -1e4, 1e6)
    )
    extent = {"xmin": -180, "ymin": 85, "xmax": 180, "ymax": 90, "spatialReference": {"wkid": 4326}}
    west, south, east, north = rasters.view(handle, [0], context(extent=extent)).grid.bounds_xyxy
    assert -6e5 < west < -5e5 < 5e5 < east < 6e5
    assert -6e5 < south < -5e5 < 5e5 < north < 6e5
    whole = rasters.view(handle, [0], context(outSR=4326)).grid.bounds_xyxy
    assert (whole[0], whole[2]) == pytest.approx((-180, 180), abs=0.3)
    assert whole[3] == pytest.approx(90, abs=0.1)


def test_R11_an_alpha_band_alone_is_no_data(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    handle = make_raster(ONE, photometric="minisblack", colorinterp=[ColorInterp.alpha])
    with pytest.raises(RasterError, match="has 0 data bands"):
        rasters.view(handle, [0], NO_CONTEXT)


def test_R12_a_raster_of_a_folder_that_is_replaced_is_noticed(
    rasters: GdalRasters, make_raster: MakeRaster, tmp_path: Path
) -> None:
    (tmp_path / "f").mkdir()
    for name in ("f/a.tif", "f/b.tif"):
        make_raster(ONE, name)
    handle = resolve_raster(str(tmp_path / "f"))
    view = rasters.view(handle, [0], NO_CONTEXT)
    make_raster(np.full((1, 8, 9), 3, np.uint8), "f/b.tif")
    with pytest.raises(InputChanged, match=r"f/b\.tif"):
        handle.verify_unchanged()
    with pytest.raises(InputChanged, match=r"f/b\.tif"), rasters.open(view.parts[1]):
        pass
