"""Copies of rasters: bands, pixel types, nodata, colours and masks as GDAL reads them back."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from raster_analysis.tools import TOOLS
from rasterio.enums import ColorInterp
from rio_cogeo.cogeo import cog_validate

from raster_analysis.errors import Cancelled, NoOverlap, ParameterError
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.perform import perform_all
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

PLACE = Affine(2, 0, 500_000, 0, -2, 4_000_000)


@pytest.fixture
def write(tmp_path):
    def write(pixels, name="a.tif", mask=None, colors=None, colormap=None, **profile):
        bands, height, width = pixels.shape
        profile = {"driver": "GTiff", "crs": "EPSG:32616", "transform": PLACE, "dtype": pixels.dtype.name, **profile}
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", count=bands, height=height, width=width, **profile) as sink,
        ):
            if colors:
                sink.colorinterp = colors
            if colormap:
                sink.write_colormap(1, colormap)
            sink.write(pixels)
            if mask is not None:
                sink.write_mask(mask)
        return path

    return write


@pytest.fixture
def copy(tmp_path):
    bench = make_bench(2**30, tmp_path / "unpacked")

    def copy(path, report=None, **form):
        folder = tmp_path / "job"
        folder.mkdir()
        context = Context(
            folder=folder, handles={"inputRaster": resolve_raster(str(path))}, report=report or ListReporter(),
            rasters=bench.rasters, models=bench.models, features=bench.features, memory_limit=2**30,
        )  # fmt: skip
        (output,) = perform_all(TOOLS["CopyRaster"], {"inputRaster": "a", "outputName": "Copy", **form}, context)
        assert (output.name, output.kind) == ("outputRaster", "imagery")
        return output.path

    return copy


TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]


@pytest.mark.parametrize("dtype", TYPES)
def test_every_pixel_type_and_all_bands_come_back(copy, write, dtype):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 100, (5, 700, 600)).astype(dtype)
    path = copy(write(pixels))
    valid, faults, _ = cog_validate(path)
    assert valid, faults
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert (dataset.dtypes, dataset.transform, dataset.crs) == ((dtype,) * 5, PLACE, "EPSG:32616")
        assert dataset.overviews(1) == [2]


def test_nodata_stays_nodata_in_each_band(copy, write):
    pixels = np.random.default_rng(3).integers(0, 5, (3, 90, 80)).astype(np.int16) - 2
    with rasterio.open(copy(write(pixels, nodata=-2))) as dataset:
        assert dataset.nodata == -2
        np.testing.assert_array_equal(dataset.read(), pixels)


def test_what_is_no_number_stays_so(copy, write):
    pixels = np.random.default_rng(3).random((2, 90, 80)).astype(np.float32)
    pixels[0, :9], pixels[:, -9:] = np.nan, np.nan
    with rasterio.open(copy(write(pixels))) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)


def test_an_alpha_band_stays_one(copy, write):
    pixels = np.random.default_rng(3).integers(1, 255, (4, 90, 80)).astype(np.uint8)
    pixels[3] = np.where(np.arange(80) < 30, 0, 255)
    pixels[:3, :, :30] = 0
    colors = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    with rasterio.open(copy(write(pixels, colors=colors))) as dataset:
        assert dataset.colorinterp == colors
        np.testing.assert_array_equal(dataset.read(), pixels)


def test_a_mask_stays_one(copy, write):
    pixels = np.random.default_rng(3).integers(1, 255, (3, 600, 80)).astype(np.uint8)
    mask = np.broadcast_to(np.arange(80) > 20, (600, 80))
    with rasterio.open(copy(write(pixels, mask=mask))) as dataset:
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, mask)
        np.testing.assert_array_equal(dataset.read(), np.where(mask, pixels, 0))


def test_colours_of_an_index_and_names_of_bands_are_kept(copy, write, tmp_path):
    pixels = np.random.default_rng(3).integers(0, 3, (1, 600, 80)).astype(np.uint8)
    colormap = {0: (0, 0, 0, 255), 1: (9, 99, 199, 255), 2: (1, 2, 3, 255)}
    path = write(pixels, colormap=colormap)
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, "Cover")
    with rasterio.open(copy(path)) as dataset:
        assert dataset.colormap(1)[1] == (9, 99, 199, 255)
        assert dataset.descriptions == ("Cover",)
        np.testing.assert_array_equal(dataset.read(), pixels)
        assert set(np.unique(dataset.read(1, out_shape=(300, 40)))) <= {0, 1, 2}


@pytest.mark.parametrize("method", ["NEAREST", "bilinear", "CUBIC", "AVERAGE"])
def test_another_cell_size_is_resampled_as_asked(copy, write, method):
    rows = np.linspace(10, 200, 120)[:, None] * np.ones((1, 100))
    pixels = np.repeat(rows[np.newaxis], 2, 0).astype(np.uint8)
    with rasterio.open(copy(write(pixels), outputCellsize="3", resamplingMethod=method)) as dataset:
        assert (dataset.transform.a, dataset.shape) == (3, (80, 67))
        found = dataset.read(1)
        assert dataset.dataset_mask()[1:-1, 1:-2].all()
    wanted = np.linspace(10, 200, 80)
    assert np.abs(found[2:-2, 30] - wanted[2:-2]).max() < 3
    if method == "NEAREST":
        assert set(np.unique(found)) <= {0, *np.unique(pixels)}


@pytest.mark.parametrize(
    "clip",
    [
        {"clipSetting": {"xmin": 500_020, "ymin": 3_999_900, "xmax": 500_060, "ymax": 3_999_960}},
        {"clipSetting": '{"extent": {"xmin": 500020, "ymin": 3999900, "xmax": 500060, "ymax": 3999960}}'},
        {"context": {"extent": {"xmin": 500_020, "ymin": 3_999_900, "xmax": 500_060, "ymax": 3_999_960}}},
    ],
    ids=["clip", "text", "context"],
)
def test_a_copy_can_be_cut_to_an_extent(copy, write, clip):
    pixels = np.random.default_rng(3).integers(0, 255, (2, 90, 80)).astype(np.uint8)
    with rasterio.open(copy(write(pixels), **clip)) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels[:, 20:50, 10:30])


def test_a_copy_can_be_cut_to_polygons(copy, write):
    pixels = np.random.default_rng(3).integers(1, 255, (2, 90, 80)).astype(np.uint8)
    ring = [
        [500_000, 4_000_000],
        [500_080, 4_000_000],
        [500_080, 3_999_820],
        [500_000, 3_999_820],
        [500_000, 4_000_000],
    ]
    with rasterio.open(
        copy(write(pixels), clipSetting={"rings": [ring], "spatialReference": {"wkid": 32616}})
    ) as dataset:
        np.testing.assert_array_equal(dataset.read(), np.where(np.arange(80) < 40, pixels, 0))
        assert (dataset.dataset_mask()[:, 40:] == 0).all()


def test_a_folder_is_copied_as_one_raster(copy, write, tmp_path):
    pixels = np.random.default_rng(3).integers(1, 255, (3, 90, 80)).astype(np.uint8)
    for name, row in (("t/a.tif", 0), ("t/b.tif", 40)):
        write(pixels[:, row : row + 50], name, transform=PLACE @ Affine.translation(0, row))
    with rasterio.open(copy(tmp_path / "t")) as dataset:
        np.testing.assert_array_equal(dataset.read(), pixels)


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        ({"resamplingMethod": "MAJORITY"}, ParameterError, "resamplingMethod"),
        ({"outputCellsize": -1}, ParameterError, "outputCellsize"),
        ({"outputCellsize": {"distance": 1, "units": "miles"}}, ParameterError, "outputCellsize"),
        ({"outputCellsize": {"x": 1, "y": 2}}, ParameterError, "one number"),
        ({"clipSetting": {"url": "https://h/FeatureServer/0"}}, ParameterError, "context.mask"),
        (
            {"clipSetting": {"xmin": 1, "ymin": 1, "xmax": 0, "ymax": 0}},
            ParameterError,
            "clipSetting is no extent: [^\\n]*want min < max$",
        ),
        ({"clipSetting": {"xmin": 1, "ymin": 1, "xmax": 2, "ymax": 2}}, NoOverlap, "lies outside"),
    ],
)
def test_what_cannot_be_met_is_refused_and_leaves_nothing(copy, write, tmp_path, form, error, words):
    with pytest.raises(error, match=words):
        copy(write(np.ones((1, 9, 9), np.uint8)), **form)
    assert list((tmp_path / "job").iterdir()) == []


def test_a_cancelled_copy_leaves_nothing(copy, write, tmp_path):
    with pytest.raises(Cancelled):
        copy(write(np.ones((1, 9, 9), np.uint8)), ListReporter(cancel_after=0))
    assert list((tmp_path / "job").iterdir()) == []
