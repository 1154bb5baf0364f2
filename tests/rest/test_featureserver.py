"""Feature services, asked the way clients ask (contract 7.1)."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from echo import TOOLS, open_bench
from featured import BOTTOM, LEFT, UTM, publish, share, table, write_objects

from raster_analysis import reader
from raster_analysis.app import create_app
from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.executors.readers import InlineReaders
from raster_analysis.layers.features import OgrFeatures
from raster_analysis.layers.palette import color_of
from raster_analysis.layers.rows import write_rows
from raster_analysis.portal.item import Access
from raster_analysis.portal.users import Role
from raster_analysis.seams import Legend, LegendEntry
from raster_analysis.settings import Settings

BASE_URL = "https://gis.example.org:8443"
HOSTED = "/arcgis/rest/services/Hosted"
SERVICE = f"{HOSTED}/objects/FeatureServer"
COUNT = 2450
TABLE = table(COUNT)
FIRST = {
    "where": "1=1", "outFields": "*", "returnGeometry": "true", "returnCountOnly": "false", "returnIdsOnly": "false",
    "returnDistinctValues": "false", "returnExtentOnly": "false", "returnZ": "false", "returnM": "false",
    "returnCentroid": "false", "returnAllRecords": "true", "returnTrueCurves": "false",
}  # fmt: skip
"""The first query of the strictest client, literally."""
TRIANGLE = [[LEFT - 1, BOTTOM - 1], [LEFT - 1, BOTTOM + 8], [LEFT + 9, BOTTOM - 1], [LEFT - 1, BOTTOM - 1]]
COUNTED = [{"statisticType": "count", "onStatisticField": "OBJECTID"}]
MEDIAN = {"statisticType": "PERCENTILE_CONT", "onStatisticField": "Confidence"}
BY_CLASS = {"groupByFieldsForStatistics": "Class", "outStatistics": COUNTED}
LEGEND = Legend("Class", (LegendEntry(2, "roof", (200, 10, 20)), LegendEntry(1, "tree", (10, 120, 40))))
"""Colours of a model that knows nothing of cars."""
BOX = json.dumps({"xmin": LEFT, "ymin": BOTTOM, "xmax": LEFT + 25, "ymax": BOTTOM + 15})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with services `objects`, `empty` and `accuracy` (a table) of alice; bob may see none of them."""
    data, files = tmp_path_factory.mktemp("features"), tmp_path_factory.mktemp("files")
    settings = Settings(data=data, base_url=BASE_URL)
    app = create_app(settings, InlineExecutor(open_bench()), tools=TOOLS, readers=InlineReaders(reader.answer))
    portal = app.state.rooms.portal
    for name, role in (("alice", Role.PUBLISHER), ("bob", Role.VIEWER)):
        portal.users.add(name, "correct horse battery", role)
    alice = portal.users.get("alice")
    publish(portal, alice, "objects", write_objects(files / "objects.gpkg", COUNT))
    publish(portal, alice, "empty", None)
    write_rows(files / "rows.gpkg", "accuracy", {"Class": ["a", "b"], "Precision": np.array([0.5, np.nan])})
    publish(portal, alice, "accuracy", files / "rows.gpkg")
    OgrFeatures().write(files / "coloured.gpkg", replace(table(30), legend=LEGEND))
    publish(portal, alice, "coloured", files / "coloured.gpkg")
    with TestClient(app, base_url=BASE_URL) as client:
        client.headers["X-Esri-Authorization"] = f"Bearer {portal.tokens.issue('alice', 3600).value}"
        client.headers["x-bob"] = portal.tokens.issue("bob", 3600).value
        yield client


def ask(site: TestClient, path: str = f"{SERVICE}/0/query", **fields: Any) -> Any:
    """Return the JSON of a POST."""
    form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    answer = site.post(path, data={"f": "json", **form})
    assert answer.status_code == 200
    return answer.json()


def path_to(x: float) -> str:
    """Return a line through the first row of boxes, as clients write it."""
    return json.dumps({"paths": [[[LEFT - 1, BOTTOM + 3], [LEFT + x, BOTTOM + 3]]]})


def refusal(site: TestClient, **fields: Any) -> str:
    """Return the message of a query that is refused."""
    error = ask(site, **fields)["error"]
    assert error["code"] == 400
    return str(error["message"])


def test_the_service_lists_its_layer_and_where_it_lies(site: TestClient) -> None:
    service = ask(site, SERVICE)
    assert [layer["id"] for layer in service["layers"]] == [0]
    assert service["tables"] == []
    assert service["capabilities"] == "Query"
    assert service["maxRecordCount"] >= 2000
    assert service["spatialReference"] == {"wkid": UTM, "latestWkid": UTM}
    assert service["fullExtent"] == service["initialExtent"]
    bounds = [service["fullExtent"][key] for key in ("xmin", "ymin", "xmax", "ymax")]
    assert bounds == list(shapely.total_bounds(TABLE.geometries))
    assert len(service["serviceItemId"]) == 32


def test_the_layer_has_exactly_one_id_and_a_colour_for_each_class(site: TestClient) -> None:
    layer = ask(site, f"{SERVICE}/0")
    assert layer["type"] == "Feature Layer"
    assert layer["geometryType"] == "esriGeometryPolygon"
    assert [field["name"] for field in layer["fields"] if field["type"] == "esriFieldTypeOID"] == ["OBJECTID"]
    renderer = layer["drawingInfo"]["renderer"]
    assert (renderer["type"], renderer["field1"]) == ("uniqueValue", "Class")
    values = renderer["uniqueValueInfos"]
    assert {value["value"] for value in values} == {"tree", "car", "roof"}
    assert len({tuple(value["symbol"]["color"]) for value in values}) == 3
    assert ask(site, f"{SERVICE}/layers")["layers"] == [layer]


def test_classes_have_the_colours_of_the_model_and_others_one_of_the_palette(site: TestClient) -> None:
    renderer = ask(site, f"{HOSTED}/coloured/FeatureServer/0")["drawingInfo"]["renderer"]
    colors = [(info["value"], tuple(info["symbol"]["color"][:3])) for info in renderer["uniqueValueInfos"]]
    assert colors == [("roof", (200, 10, 20)), ("tree", (10, 120, 40)), ("car", color_of(2))]
    page = site.get(f"{HOSTED}/coloured/FeatureServer/0?f=html").text
    assert "rgb(200,10,20)" in page
    drawing = site.get(f"{HOSTED}/coloured/FeatureServer/preview").text
    counted = {color: drawing.count(f'fill="#{bytes(color).hex()}"') for _, color in colors}
    assert set(counted.values()) == {10}


def test_the_first_request_of_clients_gets_a_full_page_and_word_of_more(site: TestClient) -> None:
    page = site.get(f"{SERVICE}/0/query", params={**FIRST, "f": "json"}).json()
    assert len(page["features"]) == 2000
    assert page["exceededTransferLimit"] is True
    assert page["objectIdFieldName"] == "OBJECTID"
    assert page["geometryType"] == "esriGeometryPolygon"
    first = page["features"][0]
    assert first["attributes"] == {"OBJECTID": 1, "Class": "tree", "Confidence": 0.0}
    rings = [np.array(ring) for ring in first["geometry"]["rings"]]
    areas = [0.5 * np.sum(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1]) for r in rings]
    assert areas == [-35.0, 1.0]  # shells clockwise, holes the other way round
    assert all((ring[0] == ring[-1]).all() for ring in rings)


def test_clients_find_everything_by_ids_in_pages_of_200_five_at_a_time(site: TestClient) -> None:
    assert ask(site, **{**FIRST, "returnCountOnly": "true"}) == {"count": COUNT}
    answer = ask(site, where="1=1", returnIdsOnly="true")
    assert answer["objectIdFieldName"] == "OBJECTID"
    ids = answer["objectIds"]
    assert ids == list(range(1, COUNT + 1))
    pages = [",".join(map(str, ids[start : start + 200])) for start in range(0, COUNT, 200)]
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda page: ask(site, **{**FIRST, "objectIds": page}), pages))
    found = [feature["attributes"]["OBJECTID"] for answer in answers for feature in answer["features"]]
    assert sorted(found) == ids
    assert not any(answer["exceededTransferLimit"] for answer in answers)


def test_ids_that_a_client_names_are_never_cut_short(site: TestClient) -> None:
    listed = ",".join(map(str, range(1, 5001)))
    answer = ask(site, objectIds=listed, outFields="OBJECTID", returnGeometry="false")
    assert len(answer["features"]) == COUNT
    assert answer["exceededTransferLimit"] is False


def test_pages_in_an_order_hold_every_feature_once(site: TestClient) -> None:
    found, offset = [], 0
    while True:
        page = ask(
            site, where="1=1", outFields="OBJECTID,Confidence", orderByFields="Class DESC, Confidence",
            resultOffset=offset, resultRecordCount=700, returnGeometry="false",
        )  # fmt: skip
        found += [feature["attributes"] for feature in page["features"]]
        offset += 700
        if not page["exceededTransferLimit"]:
            break
    assert sorted(row["OBJECTID"] for row in found) == list(range(1, COUNT + 1))
    trees = [row["Confidence"] for row in found if row["OBJECTID"] % 3 == 1]
    assert trees == sorted(trees)


@pytest.mark.parametrize(
    ("geometry", "kind", "relation", "count"),
    [
        (BOX, "esriGeometryEnvelope", "", 6),
        (f"{LEFT},{BOTTOM},{LEFT + 25},{BOTTOM + 15}", "esriGeometryEnvelope", "esriSpatialRelIntersects", 6),
        (BOX, "esriGeometryEnvelope", "esriSpatialRelContains", 4),
        (BOX, "esriGeometryEnvelope", "esriSpatialRelOverlaps", 2),
        (f"{LEFT + 3},{BOTTOM + 3}", "esriGeometryPoint", "esriSpatialRelWithin", 1),
        (json.dumps({"x": LEFT + 1.5, "y": BOTTOM + 1.5}), "esriGeometryPoint", "", 0),  # in a hole
        (json.dumps({"x": LEFT + 1.5, "y": BOTTOM + 1.5}), "esriGeometryPoint", "esriSpatialRelEnvelopeIntersects", 1),
        (json.dumps({"points": [[LEFT + 3, BOTTOM + 3], [LEFT + 13, BOTTOM + 3]]}), "esriGeometryMultipoint", "", 2),
        (path_to(25), "esriGeometryPolyline", "", 3),
        (path_to(9), "esriGeometryPolyline", "esriSpatialRelCrosses", 1),
        (json.dumps({"rings": [TRIANGLE]}), "esriGeometryPolygon", "", 1),
        (f"{LEFT + 7},{BOTTOM},{LEFT + 9},{BOTTOM + 5}", "esriGeometryEnvelope", "esriSpatialRelTouches", 1),
    ],
)  # fmt: skip
def test_a_geometry_chooses_what_its_relation_says(
    site: TestClient, geometry: str, kind: str, relation: str, count: int
) -> None:
    words = {"geometry": geometry, "geometryType": kind, "spatialRel": relation}
    assert ask(site, returnCountOnly="true", **words) == {"count": count}
    assert len(ask(site, returnIdsOnly="true", **words)["objectIds"]) == count


def test_a_geometry_may_be_in_another_reference_and_reach_further(site: TestClient) -> None:
    place = json.dumps({"x": 15.0, "y": 45.153477, "spatialReference": {"wkid": 4326}})
    near = ask(site, geometry=place, geometryType="esriGeometryPoint", distance="12", units="esriSRUnit_Meter")
    assert [feature["attributes"]["OBJECTID"] for feature in near["features"]] == [1, 2, 51]
    by_word = ask(site, geometry="15.0,45.1535", geometryType="esriGeometryPoint", inSR="4326", returnCountOnly="true")
    assert by_word == {"count": 1}


@pytest.mark.parametrize(
    ("world", "code"), [("-180,-90,180,90", "4326"), ("-2e7,-2e7,2e7,2e7", "102100"), ("14,44,16,46", "4326")]
)
def test_a_box_around_the_world_finds_everything(site: TestClient, world: str, code: str) -> None:
    assert ask(site, geometry=world, inSR=code, returnCountOnly="true") == {"count": COUNT}
    elsewhere = "-120,-45,-110,-40" if code == "4326" else "-1.3e7,-5e6,-1.2e7,-4e6"
    assert ask(site, geometry=elsewhere, inSR=code, returnCountOnly="true") == {"count": 0}


def test_answers_come_in_the_reference_that_is_asked_for(site: TestClient) -> None:
    answer = ask(site, objectIds="1", outSR="102100", returnCentroid="true", geometryPrecision="2")
    assert answer["spatialReference"] == {"wkid": 102100, "latestWkid": 3857}
    x, _y = answer["features"][0]["geometry"]["rings"][0][0]
    assert 1_669_780 < x < 1_669_810
    assert x == round(x, 2)
    assert abs(answer["features"][0]["centroid"]["x"] - x) < 10
    extent = ask(site, where="OBJECTID = 1", returnExtentOnly="true", returnCountOnly="true")
    assert extent["count"] == 1
    assert [extent["extent"][key] for key in ("xmin", "ymin", "xmax", "ymax")] == [LEFT, BOTTOM, LEFT + 7, BOTTOM + 5]


def test_geojson_is_in_longitude_and_latitude_with_shells_anticlockwise(site: TestClient) -> None:
    answer = site.get(f"{SERVICE}/0/query", params={"where": "OBJECTID<3", "f": "geojson", "outSR": "3857"})
    assert answer.headers["content-type"].startswith("application/geo+json")
    first = answer.json()["features"][0]
    assert first["id"] == 1
    assert first["properties"]["Class"] == "tree"
    shape = shapely.geometry.shape(first["geometry"])
    assert shape.exterior.is_ccw
    assert shape.centroid.x == pytest.approx(15, abs=1e-3)


def unpack(rings: list[list[list[int]]], transform: dict[str, Any]) -> shapely.Polygon:
    """Return the shape of a quantized geometry, as clients unpack it."""
    sign = -1 if transform["originPosition"] == "upperLeft" else 1
    scale, origin = np.array(transform["scale"]) * (1, sign), np.array(transform["translate"])
    shell, *holes = (np.cumsum(ring, axis=0) * scale + origin for ring in rings)
    return shapely.Polygon(shell, holes)


@pytest.mark.parametrize("origin", ["upperLeft", "lowerLeft"])
@pytest.mark.parametrize("extent", [
    None,
    {"xmin": LEFT - 50, "ymin": BOTTOM, "xmax": LEFT, "ymax": BOTTOM + 999.5},
    {"xmin": 14.99, "ymin": 45, "xmax": 15.1, "ymax": 45.5, "spatialReference": {"wkid": 4326}},
])  # fmt: skip
def test_coarse_coordinates_unpack_to_the_shapes_within_half_a_step(
    site: TestClient, origin: str, extent: dict[str, Any] | None
) -> None:
    coarse = {"mode": "view", "originPosition": origin, "tolerance": 0.2, **({"extent": extent} if extent else {})}
    answer = ask(site, quantizationParameters=coarse, returnCentroid="true")
    transform = answer["transform"]
    assert (transform["originPosition"], transform["scale"]) == (origin, [0.2, 0.2])
    assert len(answer["features"]) == 2000
    for feature, shape in zip(answer["features"], TABLE.geometries, strict=False):
        rings = feature["geometry"]["rings"]
        assert all(isinstance(number, int) for ring in rings for place in ring for number in place)
        assert unpack(rings, transform).hausdorff_distance(shape) < 0.1 * 2**0.5 + 1e-6
        assert {type(number) for number in feature["centroid"].values()} == {int}


def test_what_lies_within_a_step_has_no_rings_and_full_detail_is_for_editors(site: TestClient) -> None:
    coarse = ask(site, objectIds="1", quantizationParameters={"tolerance": 1000})
    assert coarse["features"][0]["geometry"] == {"rings": []}
    full = ask(site, objectIds="1", quantizationParameters={"mode": "edit", "tolerance": 1000})
    assert full == ask(site, objectIds="1")
    assert "transform" not in full


def test_coarse_steps_are_in_the_reference_that_is_asked_for(site: TestClient) -> None:
    coarse = {"tolerance": 1, "extent": {"xmin": 0, "ymin": 0, "xmax": 1e7, "ymax": 1e7}}
    answer = ask(site, objectIds="1", outSR="3857", quantizationParameters=coarse)
    assert answer["transform"]["translate"] == [0, 1e7]
    assert answer["features"][0]["geometry"]["rings"][0][0][0] == pytest.approx(1_669_795, abs=20)


def test_ids_come_by_either_name(site: TestClient) -> None:
    answer = ask(site, where="OBJECTID < 4", returnUniqueIdsOnly="true")
    assert answer == {"uniqueIdFieldNames": ["OBJECTID"], "uniqueIds": [1, 2, 3]}


def test_figures_by_group_are_those_of_numpy(site: TestClient) -> None:
    kinds = ["count", "sum", "min", "max", "avg", "stddev", "var"]
    wanted = [
        {"statisticType": kind, "onStatisticField": "Confidence", "outStatisticFieldName": kind} for kind in kinds
    ]
    answer = ask(
        site, outStatistics=wanted, groupByFieldsForStatistics="Class", orderByFields="Class", where="OBJECTID > 7"
    )
    classes, values = np.asarray(TABLE.columns["Class"])[7:], np.asarray(TABLE.columns["Confidence"])[7:]
    assert [feature["attributes"]["Class"] for feature in answer["features"]] == ["car", "roof", "tree"]
    for feature in answer["features"]:
        row = feature["attributes"]
        own = values[classes == row["Class"]]
        expected = [len(own), own.sum(), own.min(), own.max(), own.mean(), own.std(ddof=1), own.var(ddof=1)]
        assert [row[kind] for kind in kinds] == pytest.approx(expected)
    few = ask(
        site, outStatistics=wanted, groupByFieldsForStatistics="Class", having="COUNT(OBJECTID) > 816 AND max < 200"
    )
    assert len(few["features"]) == int(sum(np.unique(np.asarray(TABLE.columns["Class"]), return_counts=True)[1] > 816))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
@pytest.mark.parametrize(("kind", "method"), [("PERCENTILE_CONT", "linear"), ("PERCENTILE_DISC", "inverted_cdf")])
def test_percentiles_by_group_are_those_of_numpy(site: TestClient, share: float, kind: str, method: Any) -> None:
    asked = {**MEDIAN, "statisticType": kind, "outStatisticFieldName": "up", "statisticParameters": {"value": share}}
    down = {**asked, "outStatisticFieldName": "down", "statisticParameters": {"value": share, "orderBy": "DESC"}}
    answer = ask(site, outStatistics=[asked, down], groupByFieldsForStatistics="Class", having="up >= 0")
    classes, values = np.asarray(TABLE.columns["Class"]), np.asarray(TABLE.columns["Confidence"])
    for row in (feature["attributes"] for feature in answer["features"]):
        own = values[classes == row["Class"]]
        assert row["up"] == pytest.approx(np.quantile(own, share, method=method))
        assert row["down"] == pytest.approx(-np.quantile(-own, share, method=method))


def test_a_percentile_of_whole_numbers_is_one_of_them(site: TestClient) -> None:
    asked = {"statisticType": "percentile_disc", "onStatisticField": "OBJECTID", "outStatisticFieldName": "middle"}
    answer = site.post(f"{SERVICE}/0/query", data={"f": "json", "outStatistics": json.dumps([asked])})
    assert '"middle":1225}' in answer.text


def test_figures_are_a_table_on_a_page(site: TestClient) -> None:
    form = {"f": "html", "outStatistics": json.dumps(COUNTED), "groupByFieldsForStatistics": "Class"}
    page = site.get(f"{SERVICE}/0/query", params=form).text
    assert page.count("<tr>") == 4
    assert "<td>car</td><td>817</td>" in page


def test_different_values_come_once(site: TestClient) -> None:
    answer = ask(
        site, outFields="Class", returnDistinctValues="true", orderByFields="Class DESC", returnGeometry="false"
    )
    assert [feature["attributes"] for feature in answer["features"]] == [
        {"Class": name} for name in ("tree", "roof", "car")
    ]
    assert ask(site, outFields="Class", returnDistinctValues="true", returnCountOnly="true") == {"count": 3}


def test_one_feature_has_an_address(site: TestClient) -> None:
    assert ask(site, f"{SERVICE}/0/2")["feature"]["attributes"]["Class"] == "car"
    assert "no feature 99999" in ask(site, f"{SERVICE}/0/99999")["error"]["message"]


def test_several_layers_are_queried_at_once(site: TestClient) -> None:
    answer = ask(site, f"{SERVICE}/query", layerDefs={"0": "Class='car'"}, returnCountOnly="true")
    assert answer == {"layers": [{"id": 0, "count": 817}]}


def test_a_service_that_no_job_has_filled_is_empty_and_no_error(site: TestClient) -> None:
    service = ask(site, f"{HOSTED}/empty/FeatureServer")
    assert (service["layers"], service["tables"]) == ([], [])
    assert "no layer '0'" in ask(site, f"{HOSTED}/empty/FeatureServer/0")["error"]["message"]


def test_a_table_has_rows_and_no_geometry(site: TestClient) -> None:
    service = ask(site, f"{HOSTED}/accuracy/FeatureServer")
    assert (service["layers"], len(service["tables"])) == ([], 1)
    layer = ask(site, f"{HOSTED}/accuracy/FeatureServer/0")
    assert layer["type"] == "Table"
    assert "geometryType" not in layer
    path = f"{HOSTED}/accuracy/FeatureServer/0/query"
    rows = [feature["attributes"] for feature in ask(site, path, where="1=1", outFields="*")["features"]]
    assert [(row["Class"], row["Precision"]) for row in rows] == [("a", 0.5), ("b", None)]
    assert "without geometry" in ask(site, path, geometry=BOX)["error"]["message"]


def test_rights_are_asked_about_at_every_request(site: TestClient) -> None:
    bob = {"X-Esri-Authorization": f"Bearer {site.headers['x-bob']}"}
    paths = ("", "/layers", "/0", "/0/query", "/0/1", "/query")
    for path in paths:
        told = site.get(SERVICE + path, params={"f": "json"}, headers=bob).json()
        assert "does not exist or is inaccessible" in told["error"]["message"]
    portal = site.app.state.rooms.portal  # type: ignore[attr-defined]
    alice = portal.users.get("alice")
    try:
        share(portal, alice, "objects", Access.PUBLIC)
        assert "layers" in site.get(SERVICE, params={"f": "json"}, headers=bob).json()
    finally:
        share(portal, alice, "objects", Access.PRIVATE)
    assert "error" in site.get(SERVICE, params={"f": "json"}, headers=bob).json()


@pytest.mark.parametrize("path", ["", "/0", "/0/query?where=1=1", "/0/1", "/layers"])
def test_people_get_pages(site: TestClient, path: str) -> None:
    answer = site.get(SERVICE + path, headers={"accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "objects" in answer.text


@pytest.mark.parametrize("path", ["", "/0", "/0/query?where=1=1", "/0/1", "/layers"])
def test_people_get_pages_of_tables(site: TestClient, path: str) -> None:
    answer = site.get(f"{HOSTED}/accuracy/FeatureServer{path}", headers={"accept": "text/html"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "accuracy" in answer.text
    assert "That did not work" not in answer.text
    assert "<figure" not in answer.text


def test_each_layer_has_a_picture_and_a_table_one_that_says_so(site: TestClient) -> None:
    assert site.get(f"{SERVICE}/preview?layer=0").text.count("<path") == COUNT
    assert "A table of 2 rows" in site.get(f"{HOSTED}/accuracy/FeatureServer/preview").text
    for number, reason in (("1", "has no layer 1"), ("-1", "want the number"), ("9" * 9, "want the number")):
        assert reason in site.get(f"{SERVICE}/preview?layer={number}").text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"where": "Clas = 'x'"}, "no field of the layer; it has OBJECTID, Class, Confidence"),
        ({"outFields": "Clas"}, "no field of the layer"),
        ({"geometry": "1,2,3"}, "want xmin,ymin,xmax,ymax"),
        ({"geometry": "{"}, "no usable JSON"),
        ({"geometry": '{"rings":[[[0,0]]]}'}, "coordinates"),
        ({"geometry": '{"x":NaN,"y":1}'}, "JSON"),
        ({"geometry": '{"x":"a","y":1}'}, "coordinates"),
        ({"geometry": "1,2", "geometryType": "esriGeometryBag"}, "geometryType"),
        ({"geometry": BOX, "spatialRel": "esriSpatialRelRelation"}, "spatialRel"),
        ({"outSR": "999999"}, "spatial reference 999999 is not known"),
        ({"outSR": '{"wkt":"/etc/passwd"}'}, "no usable wkt"),
        ({"objectIds": "1,x"}, "whole numbers"),
        ({"outStatistics": "[]"}, "give 1 to"),
        ({"outStatistics": [{"statisticType": "sum", "onStatisticField": "Class"}]}, "no numbers"),
        ({"outStatistics": [{**COUNTED[0], "outStatisticFieldName": 'x"; --'}]}, "cannot name"),
        ({"outStatistics": [{"statisticType": "percentile_cont", "onStatisticField": "Class"}]}, "no numbers"),
        ({"outStatistics": [{"statisticType": "mode", "onStatisticField": "Class"}]}, "not supported"),
        ({"outStatistics": [{**MEDIAN, "statisticParameters": {"value": 2}}]}, "want a number from 0 to 1"),
        ({"outStatistics": [{**MEDIAN, "statisticParameters": {"orderBy": "X"}}]}, "want ASC or DESC"),
        ({"distance": "-1", "geometry": BOX}, "not negative"),
        ({"quantizationParameters": "[]"}, "no JSON object"),
        ({"quantizationParameters": {"mode": "x"}}, "want mode view or edit"),
        ({"quantizationParameters": {"tolerance": 0}}, "tolerance 0: want"),
        ({"quantizationParameters": {"tolerance": "1"}}, "want a number"),
        ({"quantizationParameters": {"extent": {"xmin": 1}}}, "extent.ymin"),
        ({"distance": "1e300", "geometry": BOX}, "too long"),
        ({"f": "pbf"}, "not supported"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_a_reason(site: TestClient, fields: dict[str, Any], reason: str) -> None:
    assert reason in refusal(site, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"where": "1=1; drop table objects"},
        {"where": "'' OR 1=1"},
        {"where": "load_extension('x') = 1"},
        {"where": "Class = (SELECT name FROM sqlite_master)"},
        {"where": " OR ".join(["1=1"] * 10_000)},
        {"orderByFields": "Class; DROP TABLE objects"},
        {"orderByFields": "(SELECT 1)"},
        {"orderByFields": "1 DESC"},
        {"outFields": "Class, (SELECT 1)"},
        {"groupByFieldsForStatistics": "1; --", "outStatistics": COUNTED},
        {"having": "1=1; DROP TABLE objects", **BY_CLASS},
        {"resultOffset": "-1"},
        {"resultRecordCount": "-1"},
        {"resultRecordCount": "1e9"},
    ],
)  # fmt: skip
def test_A16_injections_and_absurd_sizes_are_refused(site: TestClient, fields: dict[str, Any]) -> None:
    assert refusal(site, **fields)
    assert ask(site, returnCountOnly="true") == {"count": COUNT}


def test_A16_a_billion_records_are_a_page(site: TestClient) -> None:
    page = ask(site, resultRecordCount="1000000000", outFields="OBJECTID", returnGeometry="false")
    assert len(page["features"]) == 2000
    assert ask(site, resultOffset="999999999999")["features"] == []


def test_A16_the_database_sees_bound_parameters_only(site: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    connect = sqlite3.connect

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            seen.append(sql)
            return super().execute(sql, *values)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **named: connect(*args, factory=Watched, **named))
    ask(
        site,
        where="Class = 'sentinel' OR Confidence > 987654",
        orderByFields="Confidence",
        geometry=BOX,
        objectIds="4711",
    )
    assert seen
    assert not any(word in sql for sql in seen for word in ("sentinel", "987654", "4711"))
