from __future__ import annotations

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

import raster_analysis
from raster_analysis.errors import Cancelled, InputError, ModelError, OutputExists, ParameterError

EXTENT = (500_100, 3_999_600, 500_300, 3_999_900)


def expected(noise):
    return (np.digitize(noise[0], [60, 120, 200], right=True) * 10 + 10).astype(np.uint8)


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_pixels_are_classified_as_numpy_would(raster, noise, classifier, tmp_path):
    result = raster_analysis.classify_pixels(raster, classifier, tmp_path / "out.tif", precision="fp32")
    labels = expected(noise)
    np.testing.assert_array_equal(read(result.path), labels)
    shares = {f"level {v}": round(float((labels == v).mean()), 6) for v in (10, 20, 30, 40)}
    assert result.statistics["classes"] == pytest.approx(shares)
    assert result.statistics["nodata"] == 0
    assert any("Plan: 280 x 300 pixels" in message for message in result.messages)


def test_the_raster_says_what_its_values_mean(raster, classifier, tmp_path, gdalinfo):
    raster_analysis.classify_pixels(raster, classifier, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.colormap(1)[30] == (30, 225, 7, 255)
        assert dataset.nodata == 0
    band = gdalinfo(tmp_path / "out.tif")["bands"][0]
    assert band["colorInterpretation"] == "Palette"
    table = gdalinfo(tmp_path / "out.tif")["rat"]
    assert [field["name"] for field in table["fieldDefn"]] == ["Value", "Class", "Red", "Green", "Blue"]
    assert [row["f"] for row in table["row"]] == [[v, f"level {v}", v, 255 - v, 7] for v in (10, 20, 30, 40)]


def test_objects_are_where_the_bright_pixels_are(raster, noise, detector, tmp_path):
    result = raster_analysis.detect_objects(raster, detector, tmp_path / "out.gpkg", padding=4)
    rows, cols = np.nonzero(noise[0] > 250)
    with rasterio.open(raster) as dataset:
        wanted = {dataset.transform @ (col + 0.5, row + 0.5) for row, col in zip(rows, cols, strict=True)}
    _, _, shapes, (classes, confidences) = pyogrio.raw.read(tmp_path / "out.gpkg")
    polygons = shapely.from_wkb(shapes)
    assert {(p.centroid.x, p.centroid.y) for p in polygons} == wanted
    assert len(polygons) == len(wanted) == result.statistics["count"]
    assert set(classes) == {"spot"}
    assert shapely.area(polygons) == pytest.approx(4.0)
    assert np.sort(confidences) == pytest.approx(np.sort(noise[0][rows, cols] / 655.35), abs=1e-4)
    kept = pyogrio.read_info(tmp_path / "out.gpkg")["layer_metadata"]
    assert (kept["CLASS_FIELD"], [row[1] for row in json.loads(kept["CLASSES"])]) == ("Class", ["spot"])


def test_the_same_run_gives_the_same_bytes(raster, classifier, detector, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        raster_analysis.classify_pixels(raster, classifier, tmp_path / name / "out.tif")
        for suffix in ("gpkg", "fgb", "geojson", "parquet"):
            raster_analysis.detect_objects(raster, detector, tmp_path / name / f"out.{suffix}")
    made = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert made == ["out.fgb", "out.geojson", "out.gpkg", "out.parquet", "out.tif", "out.tif.aux.xml"]
    assert [name for name in made if (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()] == []


@pytest.mark.parametrize(
    "arguments",
    [{"tile_size": 32}, {"tile_size": 100, "padding": 17}, {"batch_size": 3}, {"padding": 0}, {"merge": "blend"}],
    ids=str,
)
def test_tiles_do_not_show_in_the_result_of_a_pointwise_model(raster, noise, classifier, tmp_path, arguments):
    raster_analysis.classify_pixels(raster, classifier, tmp_path / "out.tif", precision="fp32", **arguments)
    np.testing.assert_array_equal(read(tmp_path / "out.tif"), expected(noise))


def test_python_and_the_command_write_the_same(raster, classifier, detector, tmp_path, command):
    raster_analysis.detect_objects(
        raster, detector, tmp_path / "a.fgb", padding=5, extent=(500_100, 3_999_600, 500_300, 3_999_900)
    )
    done = command(
        "detect", raster, detector, tmp_path / "b.fgb", "--padding", 5,
        "--extent", ",".join(map(str, EXTENT)), "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["statistics"]["count"] > 0
    # The layer is named after the file, and all else is the same.
    first, second = (pyogrio.raw.read(tmp_path / name) for name in ("a.fgb", "b.fgb"))
    assert first[2].tolist() == second[2].tolist()
    raster_analysis.classify_pixels(raster, classifier, tmp_path / "a.tif", cell_size=4, merge="blend")
    assert (
        command("classify", raster, classifier, tmp_path / "b.tif", "--cell-size", 4, "--merge", "blend").exit_code == 0
    )
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_an_unknown_argument_names_those_that_there_are(raster, classifier, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ParameterError) as refused:
        raster_analysis.classify_pixels(raster, classifier, tmp_path / "o.tif", pading=3, run_nms=True, cellsize=2)
    text = str(refused.value)
    assert "'pading' does not exist (did you mean 'padding'?)" in text
    assert "'cellsize' does not exist (did you mean 'cell_size'?)" in text
    assert "'run_nms' does not exist" in text
    assert "model 'Cuts' has padding, batch_size, tile_size" in text
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"extent": (1, 2, 3)}, "extent (1, 2, 3) is not xmin, ymin, xmax, ymax"),
        ({"extent": (5, 2, 3, 4)}, "spans no area"),
        ({"out_sr": "Gauss"}, "want a code such as 32633 or EPSG:32633"),
        ({"device": "tpu"}, "want auto, cpu, cuda or cuda:N"),
        ({"precision": "int8"}, "precision"),
        ({"batch_size": "many"}, "must be a whole number"),
        ({"padding": -1}, "must be at least 0"),
        ({"padding": 31, "tile_size": 60}, "padding 31 is not less than half of the tile"),
        ({"merge": "average"}, "merge"),
        ({"mask": "nowhere.gpkg"}, "'nowhere.gpkg' was not found"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_named(raster, classifier, tmp_path, arguments, text):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as refused:
        raster_analysis.classify_pixels(raster, classifier, tmp_path / "out.tif", **arguments)
    assert text in str(refused.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_system_may_be_written_as_a_code(raster, classifier, tmp_path):
    raster_analysis.classify_pixels(raster, classifier, tmp_path / "out.tif", out_sr="EPSG:32617")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.crs.to_epsg() == 32617


def test_boxes_have_nothing_to_blend(raster, detector, tmp_path):
    with pytest.raises(ParameterError, match="'merge' does not exist"):
        raster_analysis.detect_objects(raster, detector, tmp_path / "out.gpkg", merge="blend")


class Stopper:
    """A reporter that asks to stop when some of the work is done."""

    def __init__(self, after: float) -> None:
        self.after, self.heard, self.fractions = after, [], []

    def message(self, text, level="info"):
        self.heard.append(text)

    def progress(self, fraction):
        self.fractions.append(fraction)

    def check_cancelled(self):
        if self.fractions and self.fractions[-1] >= self.after:
            raise Cancelled("enough")


def test_a_reporter_hears_and_stops_the_run(raster, classifier, tmp_path, list_all):
    before, stopper = list_all(tmp_path), Stopper(0.2)
    with pytest.raises(Cancelled):
        raster_analysis.classify_pixels(
            raster, classifier, tmp_path / "out.tif", report=stopper, tile_size=32, padding=8, batch_size=1
        )
    assert stopper.heard
    assert 0.2 <= max(stopper.fractions) < 0.5
    assert list_all(tmp_path) == before


def test_progress_never_goes_back_and_ends_at_one(raster, classifier, tmp_path):
    watcher = Stopper(2.0)
    raster_analysis.classify_pixels(raster, classifier, tmp_path / "out.tif", report=watcher, tile_size=32)
    assert watcher.fractions == sorted(watcher.fractions)
    assert watcher.fractions[-1] == pytest.approx(1.0)


def test_progress_of_features_ends_at_one_too(raster, detector, tmp_path):
    watcher = Stopper(2.0)
    raster_analysis.detect_objects(raster, detector, tmp_path / "out.gpkg", report=watcher)
    assert watcher.fractions == sorted(watcher.fractions)
    assert watcher.fractions[-1] == 1.0


def test_an_output_is_replaced_only_when_asked(raster, classifier, detector, tmp_path):
    out = tmp_path / "out.gpkg"
    out.write_bytes(b"mine")
    with pytest.raises(OutputExists, match="exists"):
        raster_analysis.detect_objects(raster, detector, out)
    assert out.read_bytes() == b"mine"
    # SQLite would roll a forgotten journal back into the new file.
    journal = tmp_path / "out.gpkg-journal"
    journal.write_bytes(b"old")
    raster_analysis.detect_objects(raster, detector, out, overwrite=True)
    assert out.read_bytes()[:6] == b"SQLite"
    assert not journal.exists()


def test_the_input_is_never_the_output(raster, classifier, tmp_path):
    before = raster.read_bytes()
    (tmp_path / "link.tif").symlink_to(raster)
    for output in (raster, tmp_path / "link.tif"):
        with pytest.raises(ParameterError, match="is the input raster"):
            raster_analysis.classify_pixels(raster, classifier, output, overwrite=True)
    assert raster.read_bytes() == before


def test_a_detector_is_no_classifier(raster, detector, tmp_path):
    with pytest.raises(ModelError, match="model 'Spots' detects objects: it is for DetectObjects"):
        raster_analysis.classify_pixels(raster, detector, tmp_path / "out.tif")


def test_nms_overlap_of_nothing_is_a_choice(make_raster, make_detector, tmp_path):
    """Two boxes of 5 x 5 that share one pixel: IoU 1/49, which only an overlap of 0 refuses."""
    data = np.zeros((1, 200, 200), np.uint16)
    data[0, 50, 50], data[0, 54, 54] = 60_000, 59_000
    raster = make_raster(tmp_path / "two.tif", data)
    model = make_detector(50_000, reach=2)
    counts = [
        raster_analysis.detect_objects(raster, model, tmp_path / f"{overlap}.gpkg", nms_overlap=overlap).statistics[
            "count"
        ]
        for overlap in (0, 0.1)
    ]
    assert counts == [1, 2]


def test_suppression_over_the_whole_output_leaves_the_strongest(make_raster, make_detector, tmp_path):
    data = np.random.default_rng(5).integers(0, 65_000, (1, 150, 150)).astype(np.uint16)
    raster = make_raster(tmp_path / "many.tif", data)
    model = make_detector(63_000, reach=2)
    common = {"nms_overlap": 1, "padding": 8}
    every = raster_analysis.detect_objects(raster, model, tmp_path / "all.gpkg", **common)
    kept = raster_analysis.detect_objects(
        raster, model, tmp_path / "kept.gpkg", run_nms=True, max_overlap_ratio=0.1, **common
    )
    assert every.statistics["count"] == (data > 63_000).sum()
    assert 0 < kept.statistics["count"] < every.statistics["count"]
    _, _, shapes, (_, scores) = pyogrio.raw.read(tmp_path / "kept.gpkg")
    polygons = shapely.from_wkb(shapes)
    left, right = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = left < right
    common_area = shapely.area(shapely.intersection(polygons[left[pairs]], polygons[right[pairs]]))
    union = shapely.area(shapely.union(polygons[left[pairs]], polygons[right[pairs]]))
    assert (common_area / union).max() <= 0.1 + 1e-9
    assert scores.max() == pytest.approx(data.max() / 655.35, abs=1e-3)


def test_outlines_come_as_rectangles_when_asked(make_raster, outliner, tmp_path):
    data = np.zeros((1, 64, 64), np.uint8)
    data[0, 12:33, 10:16] = data[0, 27:33, 10:30] = 200
    raster = make_raster(tmp_path / "blob.tif", data)
    raster_analysis.detect_objects(raster, outliner, tmp_path / "outline.gpkg")
    raster_analysis.detect_objects(raster, outliner, tmp_path / "box.gpkg", return_bboxes=True)
    told, _, shapes, _ = pyogrio.raw.read(tmp_path / "outline.gpkg")
    assert (told["geometry_type"], len(shapes)) == ("MultiPolygon", 1)
    assert shapely.from_wkb(shapes)[0].area == (data > 0).sum() * 4
    told, _, shapes, _ = pyogrio.raw.read(tmp_path / "box.gpkg")
    assert (told["geometry_type"], len(shapes)) == ("Polygon", 1)
    assert shapely.from_wkb(shapes)[0].equals(shapely.box(500_020, 3_999_934, 500_060, 3_999_976))
