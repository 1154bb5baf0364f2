"""Change between two dates, with a network whose answer numpy knows: 2 where the dates differ by more than 50."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import rasterio
import rasterio.warp
from affine import Affine
from onnx import TensorProto, helper, numpy_helper
from raster_analysis.tools import TOOLS
from rio_cogeo.cogeo import cog_validate

from raster_analysis.errors import RasterError
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.perform import perform_all
from raster_analysis.rasters.resolver import resolve_package, resolve_raster
from raster_analysis.rasters.several import split_bands
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

TOOL = "DetectChangeUsingDeepLearning"
PLACE = Affine(1, 0, 500_000, 0, -1, 4_000_000)


@pytest.fixture
def write_package(tmp_path):
    def write(bands=(0, 1)):
        nodes = [
            helper.make_node("Split", ["x"], ["before", "after"], axis=1),
            helper.make_node("Sub", ["before", "after"], ["step"]),
            helper.make_node("Abs", ["step"], ["size"]),
            helper.make_node("Conv", ["size", "k", "b"], ["y"]),
        ]
        half = len(bands) // 2 or 1
        kernel = np.array([[0] * half, [1] * half], np.float32).reshape(2, half, 1, 1)
        initial = [numpy_helper.from_array(kernel, "k"), numpy_helper.from_array(np.array([0, -50.5], "f4"), "b")]
        entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(bands), "h", "w"])
        scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, "h", "w"])
        graph = helper.make_graph(nodes, "g", [entry], [scores], initial)
        folder = tmp_path / "package"
        folder.mkdir()
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        (folder / "net.onnx").write_bytes(model.SerializeToString())
        definition = {
            "Framework": "ONNX", "ModelName": "Difference", "ModelType": "ImageClassification",
            "ModelFile": "net.onnx", "ImageHeight": 32, "ImageWidth": 32, "ExtractBands": list(bands),
            "Classes": [{"Value": 1, "Name": "same"}, {"Value": 2, "Name": "changed", "Color": [255, 0, 0]}],
            "RasterAnalysis": {
                "Version": 1, "Input": {"Scale": 1.0}, "Output": {"Decoder": "pixels"}, "Context": 0,
            },
        }  # fmt: skip
        (folder / "model.emd").write_text(json.dumps(definition))
        return folder

    return write


@pytest.fixture
def write_raster(tmp_path):
    def write(name, pixels, *, transform=PLACE, crs="EPSG:32616", nodata=0):
        pixels = pixels if pixels.ndim == 3 else pixels[np.newaxis]
        bands, height, width = pixels.shape
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", count=bands, height=height, width=width, dtype=pixels.dtype.name,
            crs=crs, transform=transform, nodata=nodata,
        ) as dataset:  # fmt: skip
            dataset.write(pixels)
        return str(tmp_path / name)

    return write


@pytest.fixture
def detect(tmp_path):
    bench = make_bench(2**30, tmp_path / "unpacked", threads=1)

    def run(before, after, package, **form):
        folder = tmp_path / "job"
        folder.mkdir()
        handles = {
            "fromRaster": resolve_raster(before),
            "toRaster": resolve_raster(after),
            "modelDefinition": resolve_package(str(package)),
        }
        context = Context(
            folder=folder, handles=handles, report=ListReporter(), rasters=bench.rasters, models=bench.models,
            features=bench.features, memory_limit=2**30, threads=1,
        )  # fmt: skip
        names = {"fromRaster": "a", "toRaster": "b", "modelDefinition": "c", "outputClassifiedRasterName": "Changes"}
        (output,) = perform_all(TOOLS[TOOL], {**names, **form}, context)
        return output

    return run


def read(output):
    with rasterio.open(output.path) as dataset:
        return dataset.read(1), dataset.transform, dataset.crs


def test_two_dates_on_one_grid_are_compared_pixel_by_pixel(detect, write_package, write_raster):
    rng = np.random.default_rng(1)
    before, after = rng.integers(0, 200, (2, 70, 90)).astype(np.uint8)
    output = detect(write_raster("a.tif", before), write_raster("b.tif", after), write_package())
    changed = np.abs(before.astype(int) - after.astype(int)) > 50
    wanted = np.where((before == 0) | (after == 0), 0, np.where(changed, 2, 1))
    np.testing.assert_array_equal(read(output)[0], wanted)
    assert (output.name, output.kind) == ("outputRaster", "imagery")
    assert output.statistics["classes"]["changed"] == pytest.approx((wanted == 2).mean(), abs=1e-6)
    valid, faults, _ = cog_validate(output.path)
    assert valid, faults


def test_dates_of_other_extent_cell_size_and_type_meet_on_the_later_ones_cells(detect, write_package, write_raster):
    rng = np.random.default_rng(2)
    # Cells of 1 m within fields of 8 m, against cells of 4 m: means over whole fields are exact.
    fields = rng.integers(1, 200, (12, 16)).astype(np.uint8)
    before = np.kron(fields, np.ones((8, 8), np.uint8))
    after = rng.integers(1, 1000, (30, 30)).astype(np.uint16)
    corner = Affine(4, 0, 500_032, 0, -4, 4_000_016)
    output = detect(write_raster("a.tif", before), write_raster("b.tif", after, transform=corner), write_package())
    found, transform, _ = read(output)
    # The part in common: from 32 m to 128 m across, from 0 m to 96 m down, on the cells of the later date.
    assert transform == Affine(4, 0, 500_032, 0, -4, 4_000_000)
    assert found.shape == (24, 24)
    inner = after[4:28, :24]
    difference = np.abs(np.kron(fields[:, 4:], np.ones((2, 2), int)) - inner.astype(int))
    wanted = np.where(difference > 50, 2, 1)
    # Where a cell lies between fields of the earlier date, its mean is a blend: those whose answer hangs on it are few.
    assert (found == wanted).mean() > 0.97


def test_another_reference_system_is_aligned_on_the_fly(detect, write_package, write_raster):
    before = np.full((120, 120), 100, np.uint8)
    wgs = rasterio.warp.transform("EPSG:32616", "EPSG:4326", [500_050], [3_999_950])
    degrees = Affine(1e-5, 0, wgs[0][0] - 6e-4, 0, -1e-5, wgs[1][0] + 6e-4)
    after = np.where(np.arange(100)[:, None] < 50, 120, 220).astype(np.uint8) * np.ones((1, 100), np.uint8)
    output = detect(
        write_raster("a.tif", before, transform=degrees, crs="EPSG:4326"), write_raster("b.tif", after), write_package()
    )
    found, _, crs = read(output)
    assert crs == "EPSG:32616"
    assert (found[5:50, 5:-5] == 1).all()
    assert (found[50:-5, 5:-5] == 2).all()


def test_cell_sizes_of_both_dates_count_for_maxof_and_minof(detect, write_package, write_raster):
    one, two = np.full((64, 64), 9, np.uint8), np.full((16, 16), 99, np.uint8)
    coarse = write_raster("a.tif", two, transform=Affine(4, 0, 500_000, 0, -4, 4_000_000))
    output = detect(coarse, write_raster("b.tif", one), write_package(), context={"cellSize": "MaxOf"})
    found, transform, _ = read(output)
    assert (transform.a, found.shape, set(found.ravel())) == (4, (16, 16), {2})


def test_an_extent_wins_over_the_common_area_and_leaves_the_rest_empty(detect, write_package, write_raster):
    before, after = np.full((40, 40), 10, np.uint8), np.full((40, 40), 90, np.uint8)
    shifted = write_raster("b.tif", after, transform=Affine(1, 0, 500_020, 0, -1, 4_000_000))
    extent = {"xmin": 500_020, "ymin": 3_999_960, "xmax": 500_060, "ymax": 4_000_000}
    found, _, _ = read(detect(write_raster("a.tif", before), shifted, write_package(), context={"extent": extent}))
    assert found.shape == (40, 40)
    assert (found[:, :20] == 2).all()
    assert (found[:, 20:] == 0).all()


def test_bands_beyond_those_of_the_model_are_left_out_of_either_date(detect, write_package, write_raster):
    before = np.stack([np.full((40, 40), value, np.uint8) for value in (10, 20, 200)])
    after = np.stack([np.full((40, 40), value, np.uint8) for value in (20, 30, 10)])
    output = detect(write_raster("a.tif", before), write_raster("b.tif", after), write_package((0, 1, 2, 3)))
    assert set(read(output)[0].ravel()) == {1}


def test_dates_with_no_common_area_are_refused_with_both_extents(detect, write_package, write_raster):
    pixels = np.ones((8, 8), np.uint8)
    far = write_raster("b.tif", pixels, transform=Affine(1, 0, 600_000, 0, -1, 4_000_000))
    with pytest.raises(RasterError, match=r"'a\.tif'.*\(500000, .*have no area in common"):
        detect(write_raster("a.tif", pixels), far, write_package())


def test_a_model_of_an_odd_number_of_bands_is_no_change_model(detect, write_package, write_raster):
    pixels = np.ones((8, 8), np.uint8)
    package = write_package((0, 1))
    definition = json.loads((package / "model.emd").read_text())
    network = onnx.load(package / "net.onnx")
    network.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "bands"
    onnx.save(network, package / "net.onnx")
    (package / "model.emd").write_text(json.dumps({**definition, "ExtractBands": [0, 1, 2]}))
    with pytest.raises(RasterError, match=r"reads 3 bands, which cannot be two dates of 'a\.tif' and 'b\.tif'"):
        detect(write_raster("a.tif", pixels), write_raster("b.tif", pixels), package)


def test_dates_with_no_common_area_in_the_extent_are_refused_too(detect, write_package, write_raster):
    pixels = np.ones((40, 40), np.uint8)
    far = write_raster("b.tif", pixels, transform=Affine(1, 0, 500_020, 0, -1, 4_000_000))
    extent = {"xmin": 500_042, "ymin": 3_999_960, "xmax": 500_060, "ymax": 4_000_000}
    with pytest.raises(RasterError, match=r"'a\.tif'.*have no area in common"):
        detect(write_raster("a.tif", pixels), far, write_package(), context={"extent": extent})


@pytest.mark.parametrize(
    ("bands", "halves"),
    [
        ((0, 1, 2, 3), ([0, 1], [0, 1])),
        ((0, 1, 4, 5), ([0, 1], [0, 1])),
        ((1, 2, 5, 6), ([1, 2], [1, 2])),
        ((1, 0, 3, 2), ([1, 0], [1, 0])),
        ((0, 1, 0, 1), ([0, 1], [0, 1])),
        ((0, 1, 3, 2), ([0, 1], [1, 0])),
        (("Red", "Green", "Red", "Green"), (["Red", "Green"], ["Red", "Green"])),
    ],
)
def test_bands_count_on_through_both_dates(bands, halves):
    before, after = split_bands(bands, "two dates")
    assert (list(before), list(after)) == halves
