"""Rasters as they come: 16 bits, nodata, alpha. The oracle is numpy on what rasterio reads."""

from __future__ import annotations

import re

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from rio_cogeo import cog_validate

import raster_analysis
from raster_analysis.errors import RasterError

NAMES = {
    "pan": "atlanta-buildings/atlanta_pan.tif",
    "landsat": "landsat/RGB.byte.tif",
    "alpha": "ortho/fotomap_small.tif",
    "trees": "neon-trees/OSBS_029.tif",
}
CUTS = {"pan": [300, 450, 700], "landsat": [60, 150, 400], "alpha": [250, 420], "trees": [200, 330, 500]}


def valid_pixels(dataset):
    """Return the data bands, nodata as 0, and where some band holds a value and alpha, if there is one, is not 0."""
    count = 3 if dataset.count == 4 else dataset.count
    data = dataset.read(list(range(1, count + 1)))
    holds = np.ones(data.shape, bool) if dataset.nodata is None else data != dataset.nodata
    valid = holds.any(axis=0)
    if dataset.count == 4:
        valid &= dataset.read(4) > 0
    return np.where(holds, data, 0), valid


@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_of_a_real_raster_is_as_numpy_says(shared, make_classifier, tmp_path, gdalinfo, name):
    raster, out = shared / NAMES[name], tmp_path / "out.tif"
    with rasterio.open(raster) as dataset:
        data, valid = valid_pixels(dataset)
        grid = (dataset.crs, dataset.transform, dataset.shape, dataset.bounds)
    model = make_classifier(CUTS[name], len(data))
    # Two tile sizes in one: blocks that do not divide the raster, and a border.
    result = raster_analysis.classify_pixels(raster, model, out, precision="fp32", tile_size=192, padding=8)
    wanted = np.where(valid, 10 + 10 * np.digitize(data.astype(int).sum(axis=0), CUTS[name], right=True), 0)
    with rasterio.open(out) as dataset:
        np.testing.assert_array_equal(dataset.read(1), wanted)
        assert (dataset.crs, dataset.transform, dataset.shape, dataset.bounds) == grid
        assert dataset.nodata == 0
        np.testing.assert_array_equal(dataset.read_masks(1) > 0, valid)
    assert result.statistics["nodata"] == pytest.approx(1 - valid.mean(), abs=1e-5)
    assert cog_validate(out, strict=True) == (True, [], [])
    told = gdalinfo(out)
    assert told["size"] == [wanted.shape[1], wanted.shape[0]]
    assert told["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"


def test_transparent_pixels_are_no_data_and_alpha_is_no_band(shared, make_classifier, tmp_path):
    raster, holed = shared / NAMES["alpha"], tmp_path / "holed.tif"
    with rasterio.open(raster) as dataset:
        pixels, profile = dataset.read(window=Window(200, 100, 400, 300)), dataset.profile
        colors = dataset.colorinterp
    transparent = np.zeros((300, 400), bool)
    transparent[40:90, 100:333] = True
    pixels[3][transparent] = 0
    with rasterio.open(holed, "w", **{**profile, "height": 300, "width": 400}) as dataset:
        dataset.write(pixels)
        dataset.colorinterp = colors
    with pytest.raises(RasterError, match="has 3 data bands"):
        raster_analysis.classify_pixels(holed, make_classifier([100], 4), tmp_path / "out.tif")
    raster_analysis.classify_pixels(holed, make_classifier([100], 3), tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert ((dataset.read(1) == 0) == transparent).all()


def brightest(dataset, count):
    """Return a level that at most `count` pixels of the first band exceed, and where they are."""
    data, valid = valid_pixels(dataset)
    first = np.where(valid, data[0].astype(int), 0)
    level = next(level for level in np.unique(first) if (first > level).sum() <= count)
    assert (first > level).any(), "this raster is saturated; take another or a higher count"
    return int(level), first > level


@pytest.mark.parametrize(("name", "suffix"), [("pan", "gpkg"), ("pan", "fgb"), ("trees", "parquet")])
def test_bright_spots_of_a_real_raster_are_outlined_exactly(shared, make_detector, tmp_path, name, suffix):
    raster, out = shared / NAMES[name], tmp_path / f"out.{suffix}"
    with rasterio.open(raster) as dataset:
        level, bright = brightest(dataset, 400)
        transform, crs = dataset.transform, dataset.crs
    assert bright.any()
    model = make_detector(level, 1 if name == "pan" else 3, tile=256)
    result = raster_analysis.detect_objects(raster, model, out)
    assert result.statistics["count"] == bright.sum()
    wanted = np.array([transform @ (col + 0.5, row + 0.5) for row, col in np.argwhere(bright)])
    system, polygons = read_parquet(out) if suffix == "parquet" else read_features(out)
    found = shapely.get_coordinates(shapely.centroid(polygons))
    cell = abs(transform.a * transform.e)
    for points in (wanted, found):
        points[:] = points[np.lexsort((points[:, 0].round(3), points[:, 1].round(3)))]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(shapely.area(polygons), cell, rtol=1e-4)
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()
    assert CRS.from_user_input(system) == crs


def read_features(path):
    told, _, shapes, _ = pyogrio.raw.read(path)
    return told["crs"], shapely.from_wkb(shapes)


def read_parquet(path):
    frame = geopandas.read_parquet(path)
    return frame.crs.to_wkt(), frame.geometry.to_numpy()


def test_gdal_itself_reads_the_features(shared, make_detector, tmp_path, ogrinfo):
    raster = shared / NAMES["trees"]
    with rasterio.open(raster) as dataset:
        level, bright = brightest(dataset, 400)
        bounds = dataset.bounds
    model = make_detector(level, 3)
    for suffix in ("gpkg", "fgb", "geojson"):
        raster_analysis.detect_objects(raster, model, tmp_path / f"trees.{suffix}")
        told = ogrinfo(tmp_path / f"trees.{suffix}")
        assert f"Feature Count: {bright.sum()}\n" in told
        assert "Class: String" in told
        assert "Confidence: Real" in told
        extent = re.search(r"Extent: \((.+), (.+)\) - \((.+), (.+)\)", told)
        xmin, ymin, xmax, ymax = map(float, extent.groups())
        left, bottom, right, top = (
            transform_bounds("EPSG:32617", "EPSG:4326", *bounds) if suffix == "geojson" else bounds
        )
        assert left <= xmin < xmax <= right
        assert bottom <= ymin < ymax <= top


def test_a_part_of_a_landsat_scene_comes_at_another_cell_size(shared, make_classifier, tmp_path, command):
    raster, out = shared / NAMES["landsat"], tmp_path / "out.tif"
    done = command(
        "classify", raster, make_classifier([60, 150, 400], 3), out,
        "--extent", "160000,2700000,200000,2730000", "--cell-size", 600, "--out-sr", 32618,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with rasterio.open(out) as dataset:
        assert dataset.res == (600, 600)
        assert dataset.crs.to_epsg() == 32618
        left, bottom, right, top = dataset.bounds
        assert abs(left - 160_000) <= 600
        assert abs(right - 200_000) <= 600
        assert abs(bottom - 2_700_000) <= 600
        assert abs(top - 2_730_000) <= 600
        assert set(np.unique(dataset.read(1))) <= {0, 10, 20, 30, 40}
        assert (dataset.read(1) > 0).any()


def test_a_window_of_a_raster_is_the_same_as_in_the_whole(shared, make_classifier, tmp_path):
    raster, model = shared / NAMES["pan"], make_classifier(CUTS["pan"])
    with rasterio.open(raster) as dataset:
        (left, top), (right, bottom) = (dataset.transform @ corner for corner in ((101, 57), (434, 307)))
    extent = (left, bottom, right, top)
    raster_analysis.classify_pixels(raster, model, tmp_path / "whole.tif", precision="fp32")
    raster_analysis.classify_pixels(raster, model, tmp_path / "part.tif", precision="fp32", extent=extent)
    with rasterio.open(tmp_path / "whole.tif") as whole, rasterio.open(tmp_path / "part.tif") as part:
        assert part.shape == (250, 333)
        np.testing.assert_array_equal(part.read(1), whole.read(1, window=Window(101, 57, 333, 250)))
        assert part.bounds == pytest.approx(extent)
