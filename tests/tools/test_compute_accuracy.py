"""Accuracy as a tool: files and features written out, systems, masks, classes, the table and the report."""

from __future__ import annotations

import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS
from raster_analysis.tools import TOOLS

from raster_analysis.errors import InputError, ParameterError
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.inference.polygons import reproject
from raster_analysis.perform import perform_all
from raster_analysis.rasters.resolver import resolve_features
from raster_analysis.seams import FeatureTable
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

TOOL = TOOLS["ComputeAccuracyforObjectDetection"]
UTM, MERCATOR, DEGREES = (CRS.from_epsg(code).to_wkt() for code in (32633, 3857, 4326))
ORIGIN = (500_000, 5_000_000)


def boxes(*corners, size=10):
    shapes = [shapely.box(ORIGIN[0] + x, ORIGIN[1] + y, ORIGIN[0] + x + size, ORIGIN[1] + y + size) for x, y in corners]
    return np.array(shapes, object)


@pytest.fixture
def bench(tmp_path):
    return make_bench(2**30, tmp_path / "unpacked", threads=1)


@pytest.fixture
def write(tmp_path, bench):
    def write(name, shapes, *, crs=UTM, **columns):
        path = tmp_path / f"{name}.gpkg"
        shapes = reproject(shapes, UTM, crs)
        bench.features.write(path, FeatureTable(geometries=shapes, crs=crs, columns=columns, layer=name))
        return path

    return write


@pytest.fixture
def judge(tmp_path, bench):
    def judge(detected, truth, mask=None, **form):
        given = {"detectedFeatures": detected, "groundTruthFeatures": truth, "maskFeatures": mask}
        handles = {k: resolve_features(str(v), title=k) for k, v in given.items() if hasattr(v, "suffix")}
        folder = tmp_path / f"job{len(list(tmp_path.glob('job*')))}"
        folder.mkdir()
        context = Context(
            folder=folder, handles=handles, report=ListReporter(), rasters=bench.rasters, models=bench.models,
            features=bench.features, memory_limit=2**30, threads=1,
        )  # fmt: skip
        written = {k: "a" if k in handles else v for k, v in given.items()}
        outputs = perform_all(TOOL, {"outAccuracyTableName": "scores", **written, **form}, context)
        return outputs, context.report

    return judge


def rows(output):
    with sqlite3.connect(output.path) as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute("SELECT * FROM scores ORDER BY fid")]
    connection.close()
    return {row["Class"]: row for row in found}


@pytest.fixture
def scene(write):
    truth = write("truth", boxes((0, 0), (50, 0), (100, 0), (150, 0)), Class=["car", "car", "ship", "ship"])
    detected = write(
        "detected", boxes((1, 0), (51, 0), (100, 0), (300, 0)), Class=["car", "car", "car", "ship"],
        Confidence=np.array([90.0, 80.0, 70.0, 60.0]),
    )  # fmt: skip
    return detected, truth


def test_the_table_has_a_row_for_each_class_and_one_for_all(judge, scene):
    (table,), report = judge(*scene)
    found = rows(table)
    assert list(found) == ["car", "ship", "All"]
    car, ship, whole = found.values()
    assert (car["True_Positive"], car["False_Positive"], car["False_Negative"]) == (2, 1, 0)
    assert (car["Precision"], car["Recall"], car["AP"]) == (pytest.approx(2 / 3), 1, 1)
    assert (ship["True_Positive"], ship["False_Positive"], ship["False_Negative"]) == (0, 1, 2)
    assert (whole["True_Positive"], whole["Recall"], whole["AP"], whole["Min_IoU"]) == (2, 0.5, 0.5, 0.5)
    assert (table.name, table.kind) == ("outAccuracyTable", "table")
    assert "2 right, 2 wrong, 2 missed" in report.messages[-1][1]


def test_the_table_is_one_that_gdal_reads_as_a_table_without_geometries(judge, scene):
    (table,), _ = judge(*scene)
    info = pyogrio.read_info(table.path)
    assert info["geometry_type"] is None
    assert info["layer_name"] == "scores"
    assert info["features"] == 3
    assert info["fields"].tolist() == [
        "Class", "Min_IoU", "Precision", "Recall", "F1_Score", "AP", "AP_50_95",
        "True_Positive", "False_Positive", "False_Negative",
    ]  # fmt: skip


def test_the_smallest_overlap_decides_what_is_right(judge, write):
    truth = write("truth", boxes((0, 0)))
    detected = write("detected", boxes((4, 0)), Confidence=np.array([50.0]))
    # 6 of 14 columns in common.
    assert rows(judge(detected, truth, minIoU=0.42)[0][0])["All"]["True_Positive"] == 1
    assert rows(judge(detected, truth, minIoU=0.43)[0][0])["All"]["True_Positive"] == 0
    for wrong in (-0.1, 1.1, "nan"):
        with pytest.raises(ParameterError, match="minIoU"):
            judge(detected, truth, minIoU=wrong)


@pytest.mark.parametrize(
    ("first", "second"), [(MERCATOR, UTM), (UTM, DEGREES), (DEGREES, MERCATOR), (DEGREES, DEGREES)]
)
def test_systems_may_differ(judge, write, first, second):
    corners = [(0, 0), (30, 0), (60, 5)]
    truth = write("truth", boxes(*corners), crs=first)
    detected = write("detected", boxes(*corners), crs=second, Confidence=np.array([3.0, 2.0, 1.0]))
    whole = rows(judge(detected, truth, minIoU=0.98)[0][0])["All"]
    assert (whole["True_Positive"], whole["False_Positive"]) == (3, 0)


def test_only_what_touches_the_mask_counts(judge, scene, write):
    mask = write("mask", boxes((-5, -5), size=70), crs=DEGREES)
    (table,), report = judge(*scene, mask=mask)
    whole = rows(table)["All"]
    assert (whole["True_Positive"], whole["False_Positive"], whole["False_Negative"]) == (2, 0, 0)
    assert any("2 detections and 2 true objects" in text for _, text in report.messages)


def feature_set(shapes, names):
    features = [
        {"attributes": {"kind": name}, "geometry": {"rings": [list(map(list, shape.exterior.coords))[::-1]]}}
        for shape, name in zip(shapes, names, strict=True)
    ]
    fields = [{"name": "kind", "type": "esriFieldTypeString"}]
    return {
        "layerDefinition": {"geometryType": "esriGeometryPolygon", "fields": fields},
        "featureSet": {
            "geometryType": "esriGeometryPolygon", "spatialReference": {"wkid": 32633}, "features": features,
            "fields": fields,
        },
    }  # fmt: skip


def test_features_may_be_written_out_and_class_fields_may_differ(judge, scene):
    truth = feature_set(boxes((0, 0), (50, 0), (100, 0)), ["car", "car", "ship"])
    (table,), _ = judge(scene[0], truth, detectedClassValueField="class", groundTruthClassValueField="KIND")
    assert rows(table)["car"]["True_Positive"] == 2
    with pytest.raises(InputError, match="groundTruthFeatures has no field 'sort'"):
        judge(scene[0], truth, groundTruthClassValueField="sort")
    (table,), report = judge(scene[0], truth)
    assert list(rows(table)) == ["Object", "All"]
    assert any("Only one side has classes" in text for _, text in report.messages)


def test_numbers_and_texts_that_mean_one_class_are_one(judge, write):
    truth = write("truth", boxes((0, 0), (50, 0)), Classvalue=np.array([1, 2]))
    detected = write("detected", boxes((0, 0), (50, 0)), Value=np.array([1.0, 2.0]), Confidence=np.array([2.0, 1.0]))
    found = rows(judge(detected, truth)[0][0])
    assert {name: row["True_Positive"] for name, row in found.items()} == {"1": 1, "2": 1, "All": 2}


def test_what_cannot_be_computed_is_null_and_not_zero(judge, write):
    truth = write("truth", boxes((0, 0)), Class=["car"])
    detected = write("detected", boxes((0, 0)), Class=["tree"])
    (table,), report = judge(detected, truth)
    found = rows(table)
    assert (found["tree"]["Recall"], found["tree"]["AP"], found["tree"]["Precision"]) == (None, None, 0)
    assert (found["car"]["Precision"], found["car"]["Recall"], found["car"]["AP"]) == (None, 0, 0)
    assert any("no field Confidence" in text for _, text in report.messages)


def test_points_and_stores_to_write_to_are_refused(judge, scene, tmp_path):
    points = tmp_path / "points.gpkg"
    pyogrio.raw.write(
        points, shapely.to_wkb(shapely.points([[0, 0]])), [], [], geometry_type="Point", crs=UTM, driver="GPKG"
    )
    with pytest.raises(InputError, match="groundTruthFeatures holds geometries of type point; accuracy needs polygons"):
        judge(scene[0], points)
    with pytest.raises(InputError, match="maskFeatures holds geometries of type point; accuracy needs polygons"):
        judge(*scene, mask=points)
    for name in ("outAccuracyTableName", "outAccuracyReportName"):
        with pytest.raises(ParameterError, match="stores are only read here"):
            judge(*scene, **{name: '{"uri": "/fileShares/store/report"}'})


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.references = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("href", "src", "srcset", "data", "action")]


def test_a_report_is_one_page_that_loads_and_runs_nothing(judge, write, tmp_path):
    name = "<script>alert(1)</script> & 'co'"
    truth = write("truth", boxes((0, 0), (50, 0)), Class=[name, "b"])
    detected = write("detected", boxes((0, 0), (50, 1)), Class=[name, "b"], Confidence=np.array([90.0, 60.0]))
    (_, report), _ = judge(detected, truth, outAccuracyReportName='{"name": "<b>Report</b>"}')
    text = Path(report.path).read_text(encoding="utf-8")
    page = Page(text)
    assert (report.name, report.kind, report.statistics) == ("outAccuracyReport", "report", {"title": "<b>Report</b>"})
    assert not {"script", "link", "img", "iframe", "b", "form"} & set(page.tags)
    assert page.references == []
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert {"svg", "polyline", "table"} <= set(page.tags)
    assert page.tags.count("polyline") == 2
    assert "default-src 'none'" in text
    assert "&lt;script&gt;alert(1)" in text
    assert str(tmp_path) not in text


def test_both_names_are_declared_and_the_report_is_left_out_when_not_asked(judge, scene):
    assert [output.name for output in TOOL.outputs] == ["outAccuracyTable", "outAccuracyReport"]
    assert [output.name for output in judge(*scene, outAccuracyReportName="")[0]] == ["outAccuracyTable"]
