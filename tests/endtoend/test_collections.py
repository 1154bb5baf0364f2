"""Folders of rasters: as one mosaic, or each raster on its own with one result."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from raster_analysis.tools import TOOLS

import raster_analysis
from raster_analysis.errors import AccessError, BudgetError, NoOverlap, RasterError
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.inputs import ProcessingContext
from raster_analysis.perform import perform_all
from raster_analysis.rasters import resolver
from raster_analysis.rasters.joined import OPEN_PARTS
from raster_analysis.rasters.resolver import resolve_package, resolve_raster
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

DETECT, CLASSIFY = "DetectObjectsUsingDeepLearning", "ClassifyPixelsUsingDeepLearning"
WEST, NORTH, CELL = 500_000, 4_000_000, 2
PLACE = Affine(CELL, 0, WEST, 0, -CELL, NORTH)


def write(path, pixels, transform, crs="EPSG:32616"):
    path.parent.mkdir(exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "dtype": pixels.dtype.name, "crs": crs, "transform": transform}
    with rasterio.open(path, "w", height=pixels.shape[0], width=pixels.shape[1], nodata=0, **profile) as sink:
        sink.write(pixels, 1)


@pytest.fixture
def scene():
    return np.random.default_rng(5).integers(1, 256, (120, 150)).astype(np.uint8)


@pytest.fixture
def tiles(tmp_path, scene) -> Path:
    """The scene in four files that overlap by 10 pixels, with a note and a side file beside them."""
    folder = tmp_path / "tiles"
    for row, name in ((0, "a"), (50, "b")):
        for col, side in ((0, "1"), (70, "2")):
            part = scene[row : row + 70, col : col + 80]
            write(folder / f"{name}{side}.tif", part, PLACE @ Affine.translation(col, row))
    (folder / "readme.txt").write_text("four tiles")
    (folder / "a1.tif.aux.xml").write_text("<PAMDataset/>")
    return folder


@pytest.fixture
def run(tmp_path):
    bench, numbers = make_bench(2**30, tmp_path / "unpacked", threads=1), count()

    def run(tool, raster, package, **form):
        folder = tmp_path / f"job-{next(numbers)}"
        folder.mkdir()
        context = Context(
            folder=folder, handles={"inputRaster": resolve_raster(str(raster)), "model": resolve_package(str(package))},
            report=ListReporter(), rasters=bench.rasters, models=bench.models, features=bench.features,
            memory_limit=2**30, threads=1,
        )  # fmt: skip
        names = {"inputRaster": "a", "model": "b", "outputClassifiedRaster": "Out", "outputObjects": "Out"}
        (output,) = perform_all(TOOLS[tool], {**names, "processAllRasterItems": True, **form}, context)
        return output

    return run


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1), dataset.transform


def levels(pixels):
    return np.digitize(pixels, [60, 120, 200], right=True) * 10 + 10


def test_a_folder_is_one_raster(tiles, scene, classifier, tmp_path):
    raster_analysis.classify_pixels(tiles, classifier, tmp_path / "out.tif", precision="fp32")
    found, transform = read(tmp_path / "out.tif")
    np.testing.assert_array_equal(found, levels(scene))
    assert transform == PLACE


def test_where_rasters_overlap_the_first_valid_pixel_wins(tmp_path, scene):
    first, second = np.where(scene > 128, scene, 0).astype(np.uint8), np.full_like(scene, 7)
    write(tmp_path / "two" / "b.tif", second, PLACE @ Affine.translation(0, -20))
    write(tmp_path / "two" / "a.tif", first, PLACE)
    rasters, handle = GdalRasters(), resolve_raster(str(tmp_path / "two"))
    view = rasters.view(handle, [0], ProcessingContext())
    assert (view.grid.height, view.grid.width) == (140, 150)
    with rasters.open(view) as reader:
        pixels = reader.read(view.grid.window).data[0]
    np.testing.assert_array_equal(pixels[:20], 7)
    wanted = np.where(first > 0, first, np.where(np.arange(120)[:, None] < 100, 7, 0))
    np.testing.assert_array_equal(pixels[20:], wanted)


def test_each_raster_on_its_own_gives_one_raster_of_classes(run, tiles, scene, classifier):
    found, transform = read(run(CLASSIFY, tiles, classifier).path)
    np.testing.assert_array_equal(found, levels(scene))
    assert transform == PLACE


def test_each_raster_on_its_own_gives_features_that_name_it(run, tiles, scene, detector):
    output = run(DETECT, tiles, detector)
    _, _, shapes, (classes, _, items) = pyogrio.raw.read(output.path, columns=["Class", "Confidence", "Item"])
    centres = shapely.centroid(shapely.from_wkb(shapes))
    cols, rows = (shapely.get_x(centres) - WEST) / CELL, (NORTH - shapely.get_y(centres)) / CELL
    bright = {(int(row), int(col)) for row, col in zip(*np.nonzero(scene > 250), strict=True)}
    assert {(int(row), int(col)) for row, col in zip(rows, cols, strict=True)} == bright
    assert set(items) == {"a1.tif", "a2.tif", "b1.tif", "b2.tif"}
    assert set(classes) == {"spot"}
    assert ((rows[items == "b1.tif"] >= 50) & (cols[items == "b1.tif"] < 80)).all()
    # As one raster, what two files show is found once, and no feature names a file.
    whole = run(DETECT, tiles, detector, processAllRasterItems=False, outputObjects="Whole")
    assert pyogrio.read_info(whole.path)["fields"].tolist() == ["Class", "Confidence"]


def test_items_of_another_grid_come_onto_the_cells_of_the_first(run, tmp_path, classifier):
    folder = tmp_path / "mixed"
    write(folder / "a.tif", np.full((40, 40), 100, np.uint8), PLACE)
    write(folder / "b.tif", np.full((90, 90), 250, np.uint8), Affine(1, 0, WEST + 60.5, 0, -1, NORTH + 0.5))
    (x,), (y,) = rasterio.warp.transform("EPSG:32616", "EPSG:4326", [WEST], [NORTH - 100])
    write(folder / "c.tif", np.full((30, 30), 10, np.uint8), Affine(2e-5, 0, x, 0, -2e-5, y), "EPSG:4326")
    found, transform = read(run(CLASSIFY, folder, classifier).path)
    assert (transform.a, transform.e) == (2, -2)
    assert {(transform.c - WEST) % 2, (transform.f - NORTH) % 2} == {0}
    row = round((NORTH - transform.f) / -2)
    col = round((WEST - transform.c) / 2)
    down, right = -row if row < 0 else 0, -col if col < 0 else 0
    assert (found[down + 1 : down + 39, right : right + 40] == 20).all()
    assert set(np.unique(found)) == {0, 10, 20, 40}


def test_items_outside_the_extent_are_left_out(run, tiles, detector):
    box = {"xmin": WEST, "ymin": NORTH - 40, "xmax": WEST + 100, "ymax": NORTH}
    output = run(DETECT, tiles, detector, context={"extent": box})
    _, _, _, (items,) = pyogrio.raw.read(output.path, columns=["Item"])
    assert set(items) == {"a1.tif"}
    far = {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}
    with pytest.raises(NoOverlap, match="lies outside"):
        run(DETECT, tiles, detector, context={"extent": far})


@pytest.mark.parametrize("content", [b"no raster at all", b"II*\0\xff\xff\xff\xff"])
def test_a_broken_raster_in_a_folder_is_named(run, tiles, classifier, content):
    (tiles / "b0.tif").write_bytes(content)
    with pytest.raises(RasterError, match=r"tiles/b0\.tif"):
        run(CLASSIFY, tiles, classifier)


def test_a_raster_that_is_cut_short_is_named_when_it_is_read(run, tiles, classifier):
    for each in (True, False):
        data = (tiles / "b2.tif").read_bytes()
        (tiles / "b2.tif").write_bytes(data[:-3000])
        with pytest.raises(RasterError, match=r"tiles/b2\.tif"):
            run(CLASSIFY, tiles, classifier, processAllRasterItems=each)
        (tiles / "b2.tif").write_bytes(data)


def test_few_rasters_of_a_mosaic_are_open_at_once(tmp_path):
    folder = tmp_path / "strip"
    for index in range(3 * OPEN_PARTS):
        write(
            folder / f"{index:03d}.tif", np.full((8, 8), index + 1, np.uint8), PLACE @ Affine.translation(8 * index, 0)
        )
    rasters, handle = GdalRasters(), resolve_raster(str(folder))
    view = rasters.view(handle, [0], ProcessingContext())
    with rasters.open(view) as reader:
        values = reader.read(view.grid.window).data[0, 0, ::8]
        opened = [link for link in Path("/proc/self/fd").iterdir() if str(folder) in str(link.resolve())]
        assert 0 < len(opened) <= OPEN_PARTS
    np.testing.assert_array_equal(values, np.arange(1, 3 * OPEN_PARTS + 1))


def test_a_folder_of_too_many_rasters_or_none_is_refused(tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(resolver, "MOST_MEMBERS", 3)
    with pytest.raises(BudgetError, match=r"holds 4 rasters \(at most 3\)"):
        resolve_raster(str(tiles))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RasterError, match=r"'empty' holds no raster"):
        resolve_raster(str(tmp_path / "empty"))


def test_a_link_out_of_the_folder_is_not_followed(tiles, tmp_path):
    write(tmp_path / "other" / "x.tif", np.ones((4, 4), np.uint8), PLACE)
    (tiles / "x.tif").symlink_to(tmp_path / "other" / "x.tif")
    with pytest.raises(AccessError, match="leads out of its folder"):
        resolve_raster(str(tiles))
