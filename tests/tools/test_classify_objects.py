"""ClassifyObjectsUsingDeepLearning on a raster that numpy can classify too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import onnx
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from raster_analysis.tools import TOOLS

from raster_analysis.errors import InputError, ModelError, ParameterError
from raster_analysis.inference import crop_plan
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.perform import perform, perform_all
from raster_analysis.rasters.resolver import resolve_features, resolve_package, resolve_raster
from raster_analysis.task import PLAN, Phase, Task
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

NAME = "ClassifyObjectsUsingDeepLearning"
SIDE = 16
CELL = 0.5
ORIGIN = (500_000.0, 4_000_000.0)
HEIGHT, WIDTH = 90, 120


def package(folder: Path, **keys: Any) -> Path:
    """A classifier of crops: 'dark' while the mean of band 1 is below 100, else 'bright'."""
    folder.mkdir()
    weights = np.array([[0, 1]], np.float32)
    initial = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([100, 0], np.float32), "b")]
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "crops", [entry], [scores], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, folder / "model.onnx")
    definition = {
        "Framework": "ONNX",
        "ModelName": "Brightness",
        "ModelType": "ObjectClassification",
        "ModelFile": "model.onnx",
        "ImageHeight": SIDE,
        "ImageWidth": SIDE,
        "ExtractBands": [0],
        "CropSizeFixed": 1,
        "BlackenAroundFeature": 0,
        "Classes": [{"Value": 1, "Name": "dark"}, {"Value": 2, "Name": "bright"}],
        "RasterAnalysis": {
            "Version": 1,
            "Input": {"Mean": [0.0], "Std": [1.0]},
            "Output": {"Decoder": "pixels", "Activation": "softmax"},
        },
        **keys,
    }
    (folder / "model.emd").write_text(json.dumps(definition))
    return folder


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(1, 200, (9, 12))
    return np.kron(coarse, np.ones((10, 10))).astype(np.uint8)


@pytest.fixture
def raster(tmp_path: Path, pixels: np.ndarray) -> Path:
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": "uint8", "nodata": 0}
    transform = Affine(CELL, 0, ORIGIN[0], 0, -CELL, ORIGIN[1])
    with rasterio.open(path, "w", crs="EPSG:32616", transform=transform, **profile) as dataset:
        dataset.write(pixels, 1)
    return path


def at(row: float, col: float) -> tuple[float, float]:
    return ORIGIN[0] + col * CELL, ORIGIN[1] - row * CELL


def square(row: float, col: float, side: float) -> shapely.Polygon:
    x, y = at(row, col)
    reach = side * CELL / 2
    return shapely.box(x - reach, y - reach, x + reach, y + reach)


def save(folder: Path, geometries: list[Any], crs: Any = 32616, **columns: Any) -> Path:
    path = folder / "features.gpkg"
    path.unlink(missing_ok=True)
    frame = geopandas.GeoDataFrame({"n": np.arange(len(geometries)), **columns}, geometry=geometries, crs=crs)
    frame.to_file(path, engine="pyogrio")
    return path


def run(folder: Path, raster: Path, model: Path, features: Path | None, **form: Any) -> geopandas.GeoDataFrame:
    context = make_context(folder, raster, model, features)
    perform_all(TOOLS[NAME], make_form(features, **form), context)
    return geopandas.read_file(context.result)


def make_context(folder: Path, raster: Path, model: Path, features: Path | None) -> Context:
    handles = {"inputRaster": resolve_raster(str(raster)), "model": resolve_package(str(model))}
    if features is not None:
        handles["inputFeatures"] = resolve_features(str(features))
    bench = make_bench(2**31, folder / "packages")
    work = folder / f"work{len(list(folder.iterdir()))}" / "1"
    work.mkdir(parents=True)
    return Context(
        folder=work, handles=handles, report=ListReporter(), rasters=bench.rasters, models=bench.models,
        features=bench.features, memory_limit=2**31, threads=1, result=work / "result.gpkg",
    )  # fmt: skip


def make_form(features: Path | None, **form: Any) -> dict[str, Any]:
    base = {"inputRaster": "a", "model": "b", "outputFeatureClass": "Labelled"}
    if features is not None:
        base["inputFeatures"] = "c"
    return {**base, "context": {"precision": "fp32"}, **form}


def oracle(pixels: np.ndarray, row: float, col: float, side: int = SIDE) -> str:
    """The label of a crop around a place, cut from the whole array."""
    padded = np.pad(pixels.astype(float), side)
    top, left = int(np.floor(row - side / 2 + 0.5)) + side, int(np.floor(col - side / 2 + 0.5)) + side
    return "bright" if padded[top : top + side, left : left + side].mean() >= 100 else "dark"


def test_labels_are_those_of_crops_cut_from_the_whole_array(tmp_path: Path, raster: Path, pixels: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    places = [(float(r), float(c)) for r, c in zip(rng.uniform(0, HEIGHT, 60), rng.uniform(0, WIDTH, 60), strict=True)]
    features = save(tmp_path, [square(r, c, 3) for r, c in places])
    found = run(tmp_path, raster, package(tmp_path / "m"), features)
    assert list(found["ClassLabel"]) == [oracle(pixels, r, c) for r, c in places]
    assert found["Confidence"].between(50, 100).all()
    assert set(found["ClassLabel"]) == {"dark", "bright"}


@pytest.mark.parametrize("kind", ["points", "lines", "polygons"])
def test_every_kind_of_feature_keeps_geometry_attributes_and_order(tmp_path: Path, raster: Path, kind: str) -> None:
    shapes = {
        "points": [shapely.Point(at(40, 50)), shapely.Point(at(10, 10))],
        "lines": [shapely.LineString([at(5, 5), at(9, 30)]), shapely.LineString([at(50, 50), at(60, 60)])],
        "polygons": [square(40, 50, 6), square(10, 10, 4)],
    }[kind]
    features = save(tmp_path, shapes, name=["é", None], size=[1.5, None])
    found = run(tmp_path, raster, package(tmp_path / "m"), features)
    assert [a.equals(b) for a, b in zip(found.geometry, shapes, strict=True)] == [True, True]
    assert list(found["n"]) == [0, 1]
    assert found["name"][0] == "é"
    assert found["name"].isna()[1]
    assert found["size"].isna()[1]
    assert found["ClassLabel"].notna().all()


def test_features_without_a_place_in_the_raster_stay_and_have_no_label(tmp_path: Path, raster: Path) -> None:
    shapes = [square(-500, 20, 4), square(20, 20, 4), None, square(-6, 20, 4), shapely.Polygon()]
    context = make_context(tmp_path, raster, package(tmp_path / "m"), save(tmp_path, shapes))
    perform_all(TOOLS[NAME], make_form(Path("x")), context)
    assert pyogrio.read_info(context.result)["layer_metadata"]["CLASS_FIELD"] == "ClassLabel"
    found = geopandas.read_file(context.result)
    assert [label is None or label != label for label in found["ClassLabel"]] == [True, False, True, True, True]
    assert found["Confidence"].isna().tolist() == [True, False, True, True, True]
    assert any("4 features lie outside" in text for level, text in context.report.messages if level == "warning")


def test_features_over_nodata_only_get_no_label(tmp_path: Path, raster: Path) -> None:
    with rasterio.open(raster, "r+") as dataset:
        dataset.write(np.zeros((1, 40, 40), np.uint8), window=rasterio.windows.Window(0, 0, 40, 40))
    found = run(tmp_path, raster, package(tmp_path / "m"), save(tmp_path, [square(20, 20, 6), square(60, 60, 6)]))
    assert found["ClassLabel"].isna().tolist() == [True, False]


def test_features_in_another_system_are_found(tmp_path: Path, raster: Path, pixels: np.ndarray) -> None:
    places = [(15.2, 25.3), (45.1, 95.4), (71.0, 33.3)]
    utm = geopandas.GeoSeries([square(r, c, 4) for r, c in places], crs=32616)
    features = save(tmp_path, list(utm.to_crs(4326)), crs=4326)
    found = run(tmp_path, raster, package(tmp_path / "m"), features)
    assert list(found["ClassLabel"]) == [oracle(pixels, r, c) for r, c in places]
    assert found.crs.to_epsg() == 4326
    moved = run(tmp_path, raster, tmp_path / "m", features, context={"outSR": {"wkid": 3857}, "precision": "fp32"})
    assert moved.crs.to_epsg() == 3857


def test_extent_and_mask_restrict_what_is_labelled(tmp_path: Path, raster: Path) -> None:
    features = save(tmp_path, [square(20, 20, 4), square(60, 90, 4)])
    x, y = at(45, 0)
    extent = {"xmin": x, "ymin": y, "xmax": x + 60, "ymax": y + 22.5}
    model = package(tmp_path / "m")
    found = run(tmp_path, raster, model, features, context={"extent": extent})
    assert found["ClassLabel"].isna().tolist() == [False, True]
    mask = {"rings": [[*map(list, square(60, 90, 30).exterior.coords)]], "spatialReference": {"wkid": 32616}}
    found = run(tmp_path, raster, model, features, context={"mask": mask})
    assert found["ClassLabel"].isna().tolist() == [True, False]


def test_pixels_around_a_polygon_are_blackened_when_the_definition_says_so(tmp_path: Path, raster: Path) -> None:
    with rasterio.open(raster, "r+") as dataset:
        dataset.write(np.full((1, HEIGHT, WIDTH), 200, np.uint8))
    # A third of the crop: bright as it is, dark when all around it is 0. A point has nothing to keep.
    features = save(tmp_path, [square(40, 40, 9)])
    assert list(run(tmp_path, raster, package(tmp_path / "a"), features)["ClassLabel"]) == ["bright"]
    black = package(tmp_path / "b", BlackenAroundFeature=1)
    assert list(run(tmp_path, raster, black, features)["ClassLabel"]) == ["dark"]
    assert list(run(tmp_path, raster, black, save(tmp_path, [shapely.Point(at(40, 40))]))["ClassLabel"]) == ["bright"]


def test_a_polygon_smaller_than_a_pixel_keeps_the_pixels_that_it_touches(tmp_path: Path, raster: Path) -> None:
    with rasterio.open(raster, "r+") as dataset:
        dataset.write(np.full((1, HEIGHT, WIDTH), 200, np.uint8))
    # Cropped to itself: bright, unless all of it is blackened.
    model = package(tmp_path / "m", BlackenAroundFeature=1, CropSizeFixed=0)
    strip = shapely.box(*at(40.4, 40.5), *at(40.2, 44.5))
    found = run(tmp_path, raster, model, save(tmp_path, [square(40.2, 40.2, 0.1), strip]))
    assert list(found["ClassLabel"]) == ["bright", "bright"]


def test_crops_of_no_fixed_size_are_the_rectangles_of_the_features(tmp_path: Path, raster: Path) -> None:
    around = np.full((1, HEIGHT, WIDTH), 10, np.uint8)
    around[0, 38:42, 38:42] = 200
    with rasterio.open(raster, "r+") as dataset:
        dataset.write(around)
    features = save(tmp_path, [square(40, 40, 4)])
    assert list(run(tmp_path, raster, package(tmp_path / "a"), features)["ClassLabel"]) == ["dark"]
    free = package(tmp_path / "b", CropSizeFixed=0)
    assert list(run(tmp_path, raster, free, features)["ClassLabel"]) == ["bright"]


def test_without_features_the_whole_raster_is_one(tmp_path: Path, raster: Path, pixels: np.ndarray) -> None:
    found = run(tmp_path, raster, package(tmp_path / "m"), None)
    assert len(found) == 1
    assert found.geometry[0].bounds == pytest.approx((500_000, 4_000_000 - 45, 500_060, 4_000_000))
    # It is 120 x 90 cells in a crop of 16 x 16: a quarter of that is empty.
    assert list(found["ClassLabel"]) == ["bright" if pixels.mean() * 0.75 >= 100 else "dark"]


def test_a_label_goes_where_the_user_wants_and_no_attribute_is_lost(tmp_path: Path, raster: Path) -> None:
    features = save(tmp_path, [square(40, 40, 4)], Confidence=[0.25], kind=["old"])
    found = run(tmp_path, raster, package(tmp_path / "m"), features, classLabelField="Kind")
    assert list(found["Confidence"]) == [0.25]
    assert found["Confidence_1"].between(50, 100).all()
    assert list(found["Kind"]) in (["dark"], ["bright"])
    assert "kind" not in found.columns


def test_ids_that_cannot_be_kept_are_an_attribute(tmp_path: Path, raster: Path) -> None:
    collection = {
        "layerDefinition": {"objectIdField": "OID", "fields": [{"name": "OID", "type": "esriFieldTypeOID"}]},
        "featureSet": {
            "spatialReference": {"wkid": 32616},
            "features": [
                {"attributes": {"OID": oid}, "geometry": {"x": x, "y": y}}
                for oid, (x, y) in ((90, at(20, 20)), (7, at(50, 50)))
            ],
        },
    }
    found = run(tmp_path, raster, package(tmp_path / "m"), None, inputFeatures=json.dumps(collection))
    assert list(found["ORIG_FID"]) == [90, 7]
    assert found["ClassLabel"].notna().all()


def test_a_filter_chooses_the_features(tmp_path: Path, raster: Path) -> None:
    features = save(tmp_path, [square(40, 40, 4), square(20, 20, 4), square(60, 60, 4)])
    reference = {"uri": "x", "filter": "n >= 1"}
    found = run(tmp_path, raster, package(tmp_path / "m"), features, inputFeatures=reference)
    assert list(found["n"]) == [1, 2]
    assert list(found["ORIG_FID"]) == [2, 3]


def test_no_feature_at_all_gives_an_empty_layer(tmp_path: Path, raster: Path) -> None:
    features = save(tmp_path, [square(40, 40, 4)])
    found = run(tmp_path, raster, package(tmp_path / "m"), features, inputFeatures={"uri": "x", "filter": "n > 5"})
    assert len(found) == 0
    assert "ClassLabel" in found.columns


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), block=st.integers(1, 40), batch=st.integers(1, 9))
def test_labels_and_order_do_not_depend_on_blocks_and_batches(
    tmp_path: Path, raster: Path, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, seed: int, block: int, batch: int
) -> None:
    rng = np.random.default_rng(seed)
    places = [(float(r), float(c)) for r, c in rng.uniform((-10, -10), (HEIGHT + 10, WIDTH + 10), (30, 2))]
    features = save(tmp_path, [square(r, c, 5) for r, c in places])
    model = tmp_path / "m" if (tmp_path / "m").exists() else package(tmp_path / "m")
    context = make_context(tmp_path, raster, model, features)
    form = make_form(features, modelArguments={"batch_size": str(batch)})
    monkeypatch.setattr(crop_plan, "BLOCK_CROPS", block)
    perform_all(TOOLS[NAME], form, context)
    found = geopandas.read_file(context.result)
    assert list(found["n"]) == list(range(30))
    inside = [-2.5 < r < HEIGHT + 2.5 and -2.5 < c < WIDTH + 2.5 for r, c in places]
    wanted = [oracle(pixels, r, c) if there else None for (r, c), there in zip(places, inside, strict=True)]
    assert [None if label != label else label for label in found["ClassLabel"]] == wanted


def test_a_plan_made_by_an_earlier_claim_is_gone_on_with(tmp_path: Path, raster: Path) -> None:
    features = save(tmp_path, [square(40, 40, 4), square(20, 20, 4)])
    context = make_context(tmp_path, raster, package(tmp_path / "m"), features)
    task = Task("j", 1, NAME, Phase.PLAN, str(context.folder), make_form(features), dict(context.handles))
    plan = PLAN.validate_json(PLAN.dump_json(perform(task, TOOLS, context).plan))
    later = context.folder.parent / "2"
    later.mkdir()
    again = replace(context, folder=later, result=None)
    block = perform(replace(task, phase=Phase.BLOCK, plan=plan, block=plan.blocks[0]), TOOLS, again).result
    (output,) = perform(replace(task, phase=Phase.FINISH, plan=plan, results=(block,)), TOOLS, again).outputs
    assert Path(output.path).is_relative_to(later)
    assert output.statistics["labelled"] == 2


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        ({"classLabelField": "a\nb"}, ParameterError, "classLabelField"),
        ({"modelArguments": {"padding": "3"}}, ParameterError, "padding"),
        ({"inputFeatures": {"features": 3}}, InputError, "features"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, raster: Path, form: dict[str, Any], error: type[Exception], words: str
) -> None:
    features = save(tmp_path, [square(40, 40, 4)])
    with pytest.raises(error, match=words):
        run(tmp_path, raster, package(tmp_path / "m"), features, **form)


def test_a_model_of_another_kind_is_refused_with_its_tool(tmp_path: Path, raster: Path) -> None:
    features = save(tmp_path, [square(40, 40, 4)])
    model = package(tmp_path / "m", ModelType="ImageClassification")
    with pytest.raises(ModelError, match="ClassifyPixelsUsingDeepLearning"):
        run(tmp_path, raster, model, features)
