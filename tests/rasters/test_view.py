from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from raster_analysis.errors import BudgetError, InputError, RasterError
from raster_analysis.grid import Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext
from raster_analysis.pixels import Pixels
from raster_analysis.rasters.resolver import resolve_features, resolve_raster
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import ContextLayers, RasterView

MakeRaster = Callable[..., Handle]
SCENE = Path(__file__).parents[2].parent / "shared" / "data" / "landsat" / "RGB.byte.tif"
UTM_16 = {"wkid": 32616}


def context(**values: Any) -> ProcessingContext:
    return ProcessingContext.model_validate(values)


def ring(xmin: float, ymin: float, xmax: float, ymax: float) -> list[list[float]]:
    return [[xmin, ymin], [xmin, ymax], [xmax, ymax], [xmax, ymin], [xmin, ymin]]


def mask_of(rasters: GdalRasters, view: RasterView) -> np.ndarray:
    with rasters.open(view) as reader:
        return reader.read(view.grid.window).mask


@pytest.fixture
def scene(make_raster: MakeRaster) -> Handle:
    """60 x 80 pixels of 2 m, top-left corner at 500000, 4000000; every pixel of another value."""
    return make_raster(np.arange(1, 4801, dtype=np.uint16).reshape(1, 60, 80))


def test_without_a_context_the_grid_is_the_rasters_own(rasters: GdalRasters, scene: Handle) -> None:
    view = rasters.view(scene, [0], context())
    assert view.grid == rasters.describe(scene).grid
    assert (view.resample, view.mask_wkt, view.dtype) == (False, None, "uint16")


def test_an_extent_is_widened_to_whole_cells(rasters: GdalRasters, scene: Handle) -> None:
    extent = {"xmin": 500_003, "ymin": 3_999_985, "xmax": 500_009, "ymax": 3_999_996, "spatialReference": UTM_16}
    grid = rasters.view(scene, [0], context(extent=extent)).grid
    assert grid.bounds_xyxy == (500_002, 3_999_984, 500_010, 3_999_996)


def test_an_extent_in_another_reference_is_projected(rasters: GdalRasters, scene: Handle) -> None:
    native = rasters.describe(scene).grid
    xmin, ymin, xmax, ymax = rasterio.warp.transform_bounds("EPSG:32616", "EPSG:3857", *native.bounds_xyxy)
    for wkid in (102100, 3857):
        extent = {
            "xmin": xmin - 9,
            "ymin": ymin - 9,
            "xmax": xmax + 9,
            "ymax": ymax + 9,
            "spatialReference": {"wkid": wkid},
        }
        assert rasters.view(scene, [0], context(extent=extent)).grid == native


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cellSize": -1.0}, "cellSize -1.0 is not a positive number"),
        ({"cellSize": {"uri": "/rasterStores/a/b.tif"}}, "cellSize refers to a raster that was not resolved"),
        ({"snapRaster": {"uri": "/rasterStores/a/b.tif"}}, "snapRaster refers to a raster that was not resolved"),
        ({"outSR": {"wkid": 999_999}}, "outSR .*999999.* names no known spatial reference"),
        ({"outSR": {"wkt": "nonsense"}}, "names no known spatial reference"),
        ({"extent": {"xmin": 0, "ymin": 0, "xmax": 9, "ymax": 1e400}}, "not a finite number"),
    ],
)
def test_a_context_that_cannot_be_met_is_refused(
    rasters: GdalRasters, scene: Handle, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(RasterError, match=words):
        rasters.view(scene, [0], context(**values))


@pytest.mark.parametrize("size", [2, 2.0, "MaxOf", "MinOf"])
def test_a_cell_size_that_is_the_rasters_own_warps_nothing(rasters: GdalRasters, scene: Handle, size: object) -> None:
    assert not rasters.view(scene, [0], context(cellSize=size, outSR=32616)).resample


def test_another_cell_size_keeps_the_top_left_corner(rasters: GdalRasters, scene: Handle) -> None:
    view = rasters.view(scene, [0], context(cellSize=5.0))
    assert view.resample
    assert view.grid.transform == Affine(5, 0, 500_000, 0, -5, 4_000_000)
    assert (view.grid.height, view.grid.width) == (24, 32)


def test_the_cell_size_of_another_raster_is_taken_and_converted(
    rasters: GdalRasters, make_raster: MakeRaster, scene: Handle
) -> None:
    other = make_raster(np.ones((1, 4, 4), np.uint8), "other.tif", transform=Affine(5, 0, 0, 0, -5, 0))
    asked = context(cellSize={"uri": "/rasterStores/a/other.tif"})
    assert rasters.view(scene, [0], asked, ContextLayers(cell_size=other)).grid.cell_size == (5, 5)
    degrees = make_raster(
        np.ones((1, 4, 4), np.uint8), "deg.tif", crs="EPSG:4326", transform=Affine(1e-4, 0, -87, 0, -1e-4, 36)
    )
    cell, _ = rasters.view(scene, [0], asked, ContextLayers(cell_size=degrees)).grid.cell_size
    assert 9 < cell < 11.2


def test_cells_are_aligned_with_the_snap_raster(rasters: GdalRasters, make_raster: MakeRaster, scene: Handle) -> None:
    snap = make_raster(np.ones((1, 3, 3), np.uint8), "snap.tif", transform=Affine(2, 0, 499_000.5, 0, -2, 4_100_001.25))
    asked = context(snapRaster={"uri": "/rasterStores/a/snap.tif"})
    view = rasters.view(scene, [0], asked, ContextLayers(snap_raster=snap))
    assert view.resample
    assert view.grid.transform == Affine(2, 0, 499_998.5, 0, -2, 4_000_001.25)
    assert (view.grid.height, view.grid.width) == (61, 81)
    with rasters.open(view) as reader:
        assert reader.read(view.grid.window).mask.mean() > 0.9
    coarse = rasters.view(scene, [0], asked.model_copy(update={"cell_size": 10.0}), ContextLayers(snap_raster=snap))
    west, south, _, _ = coarse.grid.bounds_xyxy
    assert ((west - 499_000.5) % 10, (south - 4_099_995.25) % 10) == (0, 0)


def test_a_snap_raster_whose_cells_are_the_rasters_own_warps_nothing(
    rasters: GdalRasters, make_raster: MakeRaster, scene: Handle
) -> None:
    snap = make_raster(np.ones((1, 3, 3), np.uint8), "snap.tif", transform=Affine(2, 0, 490_000, 0, -2, 4_100_000))
    asked = context(snapRaster={"uri": "/rasterStores/a/snap.tif"})
    view = rasters.view(scene, [0], asked, ContextLayers(snap_raster=snap))
    assert (view.resample, view.grid) == (False, rasters.describe(scene).grid)


def test_process_sr_counts_where_out_sr_is_silent(rasters: GdalRasters, scene: Handle) -> None:
    mercator = rasters.view(scene, [0], context(processSR={"wkid": 3857}, outSR={})).grid
    assert mercator == rasters.view(scene, [0], context(outSR={"wkid": 3857})).grid
    both = rasters.view(scene, [0], context(processSR={"wkid": 4326}, outSR={"wkid": 3857})).grid
    assert both == mercator


@pytest.mark.parametrize("size", [1e-6, 1e-300])
def test_a_cell_size_that_makes_too_many_pixels_is_refused_with_figures(
    rasters: GdalRasters, scene: Handle, size: float
) -> None:
    with pytest.raises(BudgetError, match=r"pixels.*at most 250,000,000,000.*cellSize"):
        rasters.view(scene, [0], context(cellSize=size))


def test_a_fine_cell_size_within_a_small_extent_is_no_matter(rasters: GdalRasters, scene: Handle) -> None:
    extent = {"xmin": 500_000, "ymin": 3_999_999.99, "xmax": 500_000.01, "ymax": 4_000_000}
    grid = rasters.view(scene, [0], context(cellSize=1e-4, extent=extent)).grid
    assert (grid.height, grid.width) == (100, 100)


# rasterio 1.4 multiplies transforms in the way that affine 3 is about to drop.
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_another_reference_keeps_about_as_many_pixels(rasters: GdalRasters, data: Path) -> None:
    handle = resolve_raster(str(data / "landsat" / "RGB.byte.tif"))
    grid = rasters.view(handle, [0], context(outSR=3857)).grid
    transform, width, height = rasterio.warp.calculate_default_transform(
        "EPSG:32618", "EPSG:3857", 791, 718, 101985, 2611485, 339315, 2826915
    )
    assert grid.cell_size[0] == pytest.approx(transform.a, rel=0.02)
    assert (grid.width, grid.height) == (pytest.approx(width, abs=20), pytest.approx(height, abs=20))


def interpolate(path: Path, view: RasterView, band: int) -> np.ndarray:
    """Bilinear values at the exact place of each pixel's centre: no approximation anywhere."""
    with rasterio.open(path) as source:
        image, inverse, crs = source.read(band).astype(float), ~source.transform, source.crs
    cols, rows = np.meshgrid(np.arange(view.grid.width) + 0.5, np.arange(view.grid.height) + 0.5)
    points = Transformer.from_crs(view.grid.crs, crs.to_wkt(), always_xy=True).transform(
        *(view.grid.transform @ (cols, rows))
    )
    cols, rows = (axis - 0.5 for axis in inverse @ points)
    left = np.clip(np.floor(cols).astype(int), 0, image.shape[1] - 2)
    top = np.clip(np.floor(rows).astype(int), 0, image.shape[0] - 2)
    right, bottom = np.clip(cols - left, 0, 1), np.clip(rows - top, 0, 1)
    upper = image[top, left] * (1 - right) + image[top, left + 1] * right
    lower = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
    return upper * (1 - bottom) + lower * bottom


@pytest.mark.parametrize("values", [{"outSR": 3857}, {"outSR": 4326}, {"cellSize": 0.3}])
def test_warped_values_are_those_at_the_exact_place(rasters: GdalRasters, data: Path, values: dict[str, Any]) -> None:
    path = data / "atlanta-buildings" / "atlanta_pan.tif"
    view = rasters.view(resolve_raster(str(path)), [0], context(**values))
    with rasters.open(view) as reader:
        pixels = reader.read(view.grid.window)
    expected = interpolate(path, view, 1)
    assert pixels.mask.mean() > 0.9
    off = np.abs(pixels.data[0] - expected)[pixels.mask & (expected > 0)]
    # GDAL places pixels to an eighth of one; a quarter is what rounding alone costs.
    assert np.median(off) < 0.01 * np.median(expected)


@pytest.fixture(scope="module")
def projected() -> tuple[RasterView, Pixels]:
    if not SCENE.exists():
        pytest.skip("the shared rasters are not beside the checkout")
    rasters = GdalRasters()
    view = rasters.view(resolve_raster(str(SCENE)), ["Red", "Blue"], context(outSR=4326, cellSize=0.004))
    with rasters.open(view) as reader:
        return view, reader.read(view.grid.window)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(-20, 600), col=st.integers(-20, 600), height=st.integers(1, 300), width=st.integers(1, 300))
def test_a_warped_pixel_does_not_depend_on_the_window(
    rasters: GdalRasters, projected: tuple[RasterView, Pixels], row: int, col: int, height: int, width: int
) -> None:
    view, whole = projected
    window = Window(row, col, height, width)
    inside = window.intersect(view.grid.window)
    with rasters.open(view) as reader:
        part = reader.read(window)
    place = inside.shift(-row, -col).slices
    assert np.array_equal(part.data[:, *place], whole.data[:, *inside.slices])
    assert np.array_equal(part.mask[place], whole.mask[inside.slices])
    assert part.mask.sum() == whole.mask[inside.slices].sum()


def test_nodata_does_not_bleed_into_warped_neighbours(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    scene = np.full((1, 64, 64), 1000, np.int16)
    scene[0, 20:40, 20:40] = -9999
    view = rasters.view(make_raster(scene, nodata=-9999), [0], context(cellSize=1.6))
    with rasters.open(view) as reader:
        pixels = reader.read(view.grid.window)
    assert set(np.unique(pixels.data)) == {0, 1000}
    assert np.array_equal(pixels.data[0] == 1000, pixels.mask)
    assert pixels.mask.mean() == pytest.approx(1 - (20 / 64) ** 2, abs=0.01)


def test_a_coarser_cell_is_the_mean_of_what_it_covers(rasters: GdalRasters, make_raster: MakeRaster) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 400, 400), dtype=np.uint8)
    view = rasters.view(make_raster(noise), [0], context(cellSize=16.0))
    with rasters.open(view) as reader:
        pixels = reader.read(view.grid.window)
    means = noise.reshape(50, 8, 50, 8).mean(axis=(1, 3))
    assert np.abs(pixels.data[0] - means).max() <= 1


@pytest.mark.parametrize("shape", [(65, 64), (64, 65), (1, 1000), (1000, 1), (5, 7), (1, 1)])
@pytest.mark.parametrize("size", [6.0, 9.0, 20.0])
def test_no_row_or_column_is_lost_when_cells_are_coarser(
    rasters: GdalRasters, make_raster: MakeRaster, shape: tuple[int, int], size: float
) -> None:
    """A coarse pixel has a value wherever its centre lies on the raster."""
    view = rasters.view(make_raster(np.full((1, *shape), 7, np.uint8)), [0], context(cellSize=size))
    with rasters.open(view) as reader:
        pixels = reader.read(view.grid.window)
    rows, cols = ((np.arange(side) + 0.5) * size for side in (view.grid.height, view.grid.width))
    centres = (rows < 2 * shape[0])[:, np.newaxis] & (cols < 2 * shape[1])
    np.testing.assert_array_equal(pixels.mask[centres], True)
    assert set(np.unique(pixels.data[0][pixels.mask])) <= {7}


def test_a_mask_handle_keeps_the_pixels_whose_centre_is_inside(
    rasters: GdalRasters, scene: Handle, tmp_path: Path
) -> None:
    areas = [shapely.Point(500_040, 3_999_950).buffer(20), shapely.box(500_100.9, 3_999_900, 500_111.1, 3_999_930)]
    path = tmp_path / "areas.gpkg"
    pyogrio.raw.write(path, shapely.to_wkb(areas), [], [], geometry_type="Polygon", crs="EPSG:32616")
    view = rasters.view(scene, [0], context(), ContextLayers(resolve_features(str(path))))
    xs, ys = np.meshgrid(500_001 + 2 * np.arange(80), 3_999_999 - 2 * np.arange(60))
    expected = shapely.contains_xy(shapely.union_all(areas), xs, ys)
    with rasters.open(view) as reader:
        pixels = reader.read(view.grid.window)
    assert np.array_equal(pixels.mask, expected)
    assert not pixels.data[:, ~expected].any()


def test_a_mask_in_another_reference_is_projected(rasters: GdalRasters, data: Path) -> None:
    handle = resolve_raster(str(data / "atlanta-buildings" / "atlanta_pan.tif"))
    buildings = resolve_features(str(data / "atlanta-buildings" / "atlanta_buildings.geojson"))
    view = rasters.view(handle, [0], context(), ContextLayers(buildings))
    plain = rasters.view(handle, [0], context())
    shapes = shapely.from_wkb(pyogrio.raw.read(buildings.path, columns=[])[2])
    burnt = rasterio.features.rasterize(shapes, out_shape=(900, 900), transform=view.grid.transform) > 0
    assert np.array_equal(mask_of(rasters, view), burnt & mask_of(rasters, plain))
    projected = rasters.view(handle, [0], context(outSR=3857), ContextLayers(buildings))
    assert mask_of(rasters, projected).mean() == pytest.approx(burnt.mean(), abs=0.1 * burnt.mean() + 0.01)


def test_a_mask_raster_keeps_the_pixels_where_it_has_a_value_other_than_0(
    rasters: GdalRasters, scene: Handle, make_raster: MakeRaster
) -> None:
    values = np.random.default_rng(4).integers(0, 4, (1, 20, 20)).astype(np.uint8)
    # Cells of 4 m from 500020, 3999980 on: each over four of the scene's, and 3 means that nothing is known.
    mask = make_raster(values, "mask.tif", transform=Affine(4, 0, 500_020, 0, -4, 3_999_980), nodata=3)
    view = rasters.view(scene, [0], context(), ContextLayers(mask))
    with rasters.open(view) as reader:
        pixels, part = reader.read(view.grid.window), reader.read(Window(13, 17, 9, 31))
    expected = np.zeros((60, 80), bool)
    expected[10:50, 10:50] = np.isin(values[0], (1, 2)).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(pixels.mask, expected)
    assert not pixels.data[:, ~expected].any()
    np.testing.assert_array_equal(part.mask, expected[13:22, 17:48])


def test_a_mask_raster_on_the_same_cells_counts_pixel_by_pixel(
    rasters: GdalRasters, scene: Handle, make_raster: MakeRaster
) -> None:
    values = np.random.default_rng(4).integers(0, 2, (1, 60, 80)).astype(np.float32)
    values[0, :5] = np.nan
    extent = {"xmin": 500_010, "ymin": 3_999_900, "xmax": 500_050, "ymax": 4_000_000}
    view = rasters.view(scene, [0], context(extent=extent), ContextLayers(make_raster(values, "mask.tif")))
    np.testing.assert_array_equal(mask_of(rasters, view), (values[0] == 1)[:50, 5:25])


def test_a_mask_raster_elsewhere_is_refused(rasters: GdalRasters, scene: Handle, make_raster: MakeRaster) -> None:
    mask = make_raster(np.ones((1, 4, 4), np.uint8), "m.tif", transform=Affine(2, 0, 600_000, 0, -2, 4_000_000))
    with pytest.raises(RasterError, match=r"the mask .* covers no part of raster"):
        rasters.view(scene, [0], context(), ContextLayers(mask))


SQUARE = (500_010, 3_999_900, 500_050, 3_999_960)
HOLE = (500_020, 3_999_920, 500_030, 3_999_940)


@pytest.mark.parametrize(
    "mask",
    [
        {"rings": [ring(*SQUARE), ring(*HOLE)[::-1]], "spatialReference": UTM_16},
        {"rings": [ring(*SQUARE), ring(*HOLE)], "spatialReference": {"wkid": 1, "latestWkid": 32616}},
        {"rings": [ring(*SQUARE)[:-1], ring(*HOLE)[:-1], []], "spatialReference": UTM_16},
        {"geometryType": "esriGeometryPolygon", "spatialReference": UTM_16,
         "features": [{"attributes": {}, "geometry": {"rings": [ring(*SQUARE), ring(*HOLE)]}}]},
        {"type": "Polygon", "coordinates": [ring(*SQUARE), ring(*HOLE)],
         "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32616"}}},
        {"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": "EPSG:32616"}},
         "features": [{"type": "Feature", "properties": {}, "geometry":
                       {"type": "MultiPolygon", "coordinates": [[ring(*SQUARE), ring(*HOLE)]]}}]},
    ],
)  # fmt: skip
def test_polygons_written_out_are_understood(rasters: GdalRasters, scene: Handle, mask: dict[str, Any]) -> None:
    found = mask_of(rasters, rasters.view(scene, [0], context(mask=mask)))
    assert found.sum() == 20 * 30 - 5 * 10
    assert not found[30:40, 10:15].any()


def test_geojson_without_a_crs_is_longitude_and_latitude(rasters: GdalRasters, scene: Handle) -> None:
    x, y = rasterio.warp.transform("EPSG:32616", "EPSG:4326", [SQUARE[0], SQUARE[2]], [SQUARE[1], SQUARE[3]])
    mask = {"type": "Polygon", "coordinates": [ring(x[0], y[0], x[1], y[1])]}
    assert mask_of(rasters, rasters.view(scene, [0], context(mask=mask))).sum() == pytest.approx(600, abs=3)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"rings": [ring(0, 0, 9, 9)], "spatialReference": UTM_16}, r"\(0, 0, 9, 9\), covers no part of raster"),
        ({"rings": [ring(*SQUARE)]}, "without a spatialReference"),
        ({"type": "Point", "coordinates": [1, 2]}, "holds no polygon"),
        ({"type": "Polygon", "coordinates": "abc"}, "no GeoJSON or Esri JSON polygon"),
        ({"type": "FeatureCollection", "features": []}, "holds no polygon"),
        ({"type": "FeatureCollection", "features": ["x"]}, "where an object is wanted"),
        ({"rings": [[[0, 0], [1]]], "spatialReference": UTM_16}, "no GeoJSON or Esri JSON polygon"),
        ({"rings": [ring(0, 0, 9, float("inf"))], "spatialReference": UTM_16}, "mask"),
        (
            {"type": "Polygon", "coordinates": [ring(*SQUARE)], "crs": {"properties": {"name": "/etc/passwd"}}},
            "want e.g. EPSG",
        ),
        ({"type": "Nonsense"}, "no GeoJSON or Esri JSON polygon"),
        ({"type": "FeatureCollection", "features": 3}, "no GeoJSON or Esri JSON of polygons"),
        ({"features": [3], "spatialReference": UTM_16}, "no GeoJSON or Esri JSON of polygons"),
        ({"rings": [ring(*SQUARE)], "spatialReference": {"wkid": 0.5}}, "no GeoJSON or Esri JSON of polygons"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(
    rasters: GdalRasters, scene: Handle, mask: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        rasters.view(scene, [0], context(mask=mask))


def test_a_mask_layer_that_nobody_resolved_is_refused(rasters: GdalRasters, scene: Handle) -> None:
    with pytest.raises(InputError, match="was not resolved"):
        rasters.view(scene, [0], context(mask={"uri": "/fileShares/a/b.gpkg"}))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(row=st.integers(-9, 60), col=st.integers(-9, 80), height=st.integers(1, 30), width=st.integers(1, 30))
def test_a_masked_pixel_does_not_depend_on_the_window(
    rasters: GdalRasters, scene: Handle, row: int, col: int, height: int, width: int
) -> None:
    # Edges run through pixel centres: the hardest case for agreeing with oneself.
    mask = {"rings": [[[500_011, 3_999_901], [500_011, 3_999_961], [500_111, 3_999_961], [500_011, 3_999_901]]]}
    view = rasters.view(scene, [0], context(mask={**mask, "spatialReference": UTM_16}))
    window = Window(row, col, height, width)
    inside = window.intersect(view.grid.window)
    whole = mask_of(rasters, view)
    with rasters.open(view) as reader:
        part = reader.read(window)
    assert np.array_equal(part.mask[inside.shift(-row, -col).slices], whole[inside.slices])
