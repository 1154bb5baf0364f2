"""Results as OGC API - Features."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import geopandas
import numpy as np
import pyproj
import pytest
import shapely
from caller import Caller
from published import COUNT, objects

from raster_analysis.layers import parquet_copy

TO_DEGREES = pyproj.Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
ITEMS = "/collections/objects/items"
WEST, SOUTH = TO_DEGREES.transform(500_000, 5_000_000)


def degrees(east_m: float, north_m: float) -> tuple[float, float]:
    """Return a place some metres from the lower left corner of the layer."""
    x, y = TO_DEGREES.transform(500_000 + east_m, 5_000_000 + north_m)
    return x, y


def numbers(caller: Caller, **query: str) -> list[int]:
    return [f["properties"]["Number"] for f in caller.get(ITEMS, **{"limit": "1000", **query}).json()["features"]]


def test_collections_are_the_layers_that_the_caller_can_read(ann: Caller, carl: Caller, nobody: Caller) -> None:
    listed = ann.get("/collections").json()["collections"]

    assert "objects" in [collection["id"] for collection in listed]
    assert "unfilled" not in [collection["id"] for collection in listed]
    for other in (carl, nobody):
        assert "objects" not in [collection["id"] for collection in other.get("/collections").json()["collections"]]
        for path in ("/collections/objects", ITEMS, f"{ITEMS}/1"):
            assert other.get(path).status_code == 404


def test_rasters_are_linked_and_no_collections(ann: Caller) -> None:
    document = ann.get("/collections").json()
    links = {link["title"]: link for link in document["links"] if link["rel"] == "enclosure"}

    assert links["cover"]["type"].startswith("image/tiff")
    assert links["cover"]["href"].endswith("/data")
    assert "cover" not in [collection["id"] for collection in document["collections"]]


def test_a_collection_tells_its_extent_and_where_its_file_is(ann: Caller) -> None:
    collection = ann.get("/collections/objects").json()
    bounds = shapely.total_bounds(
        shapely.transform(
            shapely.segmentize(objects().geometries, 1), lambda c: np.column_stack(TO_DEGREES.transform(*c.T))
        )
    )

    assert collection["itemType"] == "feature"
    assert collection["extent"]["spatial"]["bbox"][0] == pytest.approx(bounds, abs=1e-6)
    assert [link["type"] for link in collection["links"] if link["rel"] == "enclosure"] == [
        "application/geopackage+sqlite3",
        "application/vnd.apache.parquet",
    ]


def test_a_collection_comes_as_geoparquet_in_its_own_reference(ann: Caller, carl: Caller) -> None:
    links = ann.get("/collections/objects").json()["links"]
    link = next(link for link in links if link["type"] == "application/vnd.apache.parquet")
    path = link["href"].partition("/ogc")[2]
    answer = ann.send("GET", path)
    table = geopandas.read_parquet(BytesIO(answer.content))

    assert answer.headers["content-type"] == link["type"]
    assert table.crs == "EPSG:32633"
    assert shapely.equals(table.geometry.to_numpy(), objects().geometries).all()
    assert table["Number"].tolist() == list(range(COUNT))
    assert carl.send("GET", path).status_code == 404


def test_a_layer_too_large_for_geoparquet_is_refused_with_figures(ann: Caller, monkeypatch: Any) -> None:
    monkeypatch.setattr(parquet_copy, "LARGEST_SOURCE_BYTES", 1000)
    answer = ann.send("GET", "/collections/objects/data.parquet")
    assert answer.status_code == 400
    assert "up to 1,000: download the GeoPackage" in answer.text


def test_items_are_geojson_in_degrees(ann: Caller) -> None:
    answer = ann.get(ITEMS, accept="application/geo+json", limit="1")
    feature = answer.json()["features"][0]

    assert answer.headers["content-type"] == "application/geo+json"
    assert feature["properties"]["Class"] == "tree"
    assert feature["geometry"]["coordinates"][0][0] == pytest.approx([WEST, SOUTH], abs=1e-4)
    assert answer.json()["numberMatched"] == COUNT
    assert answer.json()["numberReturned"] == 1


def test_pages_hold_every_feature_once(ann: Caller) -> None:
    found: list[int] = []
    query: Any = {"limit": "99"}
    while query:
        page = ann.send("GET", ITEMS, params=query).json()
        assert len(page["features"]) == page["numberReturned"]
        found += [feature["properties"]["Number"] for feature in page["features"]]
        query = next((link["href"] for link in page["links"] if link["rel"] == "next"), "").partition("?")[2]

    assert found == list(range(COUNT))


def test_a_page_has_only_members_of_the_standard(ann: Caller) -> None:
    # GDAL's driver reads no feature of a page that bears the mark of an Esri service.
    page = ann.get(ITEMS, limit="2").json()

    assert {*page} == {"type", "features", "links", "timeStamp", "numberMatched", "numberReturned"}


def test_a_box_chooses_what_it_touches(ann: Caller) -> None:
    west, south = degrees(-1, -1)
    east, north = degrees(11, 11)

    assert numbers(ann, bbox=f"{west},{south},{east},{north}") == [0, 1, 50, 51]
    assert numbers(ann, bbox=f"{west},{south},-10,{east},{north},1000") == [0, 1, 50, 51]


@pytest.mark.parametrize("bbox", ["-180,-90,180,90", "0,0,90,90", "-20,-90,20,90"])
def test_a_box_around_the_world_chooses_everything(ann: Caller, bbox: str) -> None:
    assert len(numbers(ann, bbox=bbox)) == COUNT


def test_a_box_over_the_date_line_is_two(ann: Caller) -> None:
    assert numbers(ann, bbox="170,-80,-170,80") == []
    assert len(numbers(ann, bbox="10,-80,-170,80")) == COUNT


def test_a_box_without_an_area_is_a_place(ann: Caller) -> None:
    x, y = degrees(11, 1)

    assert numbers(ann, bbox=f"{x},{y},{x},{y}") == [1]


@pytest.mark.parametrize(
    "bbox",
    [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "nan,0,1,1",
        "0,2,1,1",
        "0,0,1,91",
        "0,0,1,1e999",
        "1,1,2,2,3,3,4",
        "500000,0,1,1",
    ],
)
def test_a_box_that_is_none_is_refused(ann: Caller, bbox: str) -> None:
    answer = ann.get(ITEMS, bbox=bbox)

    assert answer.status_code == 400
    assert "bbox" in answer.json()["detail"]


@pytest.mark.parametrize("value", ["car", 'o\'hara "roof"'])
def test_properties_filter(ann: Caller, value: str) -> None:
    page = ann.get(ITEMS, limit="1000", Class=value).json()

    assert {feature["properties"]["Class"] for feature in page["features"]} == {value}
    assert page["numberMatched"] == COUNT // 3


def test_properties_filter_by_numbers_and_together(ann: Caller) -> None:
    assert numbers(ann, Number="7") == [7]
    assert numbers(ann, Number="7", Class="car") == [7]
    assert numbers(ann, Number="7", Class="tree") == []


@pytest.mark.parametrize("value", ["' OR '1'='1", "x' --", "%", "\\", "\0", "a" * 5000, "' UNION SELECT 1 --"])
def test_values_of_properties_are_values_only(ann: Caller, value: str) -> None:
    assert ann.get(ITEMS, Class=value).json().get("numberMatched", 0) == 0


@pytest.mark.parametrize(
    "query", [{"Nothing": "1"}, {"Number": "x"}, {"limit": "0"}, {"offset": "-1"}, {"datetime": "x"}]
)
def test_other_queries_are_refused(ann: Caller, query: dict[str, str]) -> None:
    answer = ann.get(ITEMS, **query)

    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["detail"]


def test_a_time_chooses_nothing_away(ann: Caller) -> None:
    assert len(numbers(ann, datetime="2026-01-01/..")) == COUNT


def test_one_feature_is_read_by_its_id(ann: Caller) -> None:
    listed = ann.get(ITEMS, Number="7").json()["features"][0]
    answer = ann.get(f"{ITEMS}/{listed['id']}")

    assert answer.headers["content-type"] == "application/geo+json"
    assert answer.json()["properties"] == listed["properties"]
    assert answer.json()["geometry"] == listed["geometry"]


@pytest.mark.parametrize("number", ["0", "99999", "x", "-1", "1.0", "9" * 30, "²"])
def test_a_feature_that_is_not_there_is_not_found(ann: Caller, number: str) -> None:
    assert ann.get(f"{ITEMS}/{number}").status_code == 404


@pytest.mark.parametrize(
    "name", ["nothing", "unfilled", "cover", "objects.1", "objects.x", "a b", "%2e%2e", "é", "x" * 500]
)
def test_a_collection_that_is_not_there_is_not_found(ann: Caller, name: str) -> None:
    assert ann.get(f"/collections/{name}").status_code == 404
    assert ann.get(f"/collections/{name}/items").status_code == 404


def test_the_pages_of_collections_are_shown(ann: Caller) -> None:
    for path in ("/collections", "/collections/objects", ITEMS, f"{ITEMS}/1"):
        answer = ann.get(path, accept="text/html")
        assert answer.status_code == 200
        assert "<h1>" in answer.text


def test_a_token_in_the_query_is_kept_in_the_link_to_the_next_page(client: Any, token: dict[str, str]) -> None:
    first = client.get(f"/ogc{ITEMS}", params={"token": token["ann"], "limit": "10"}).json()
    following = next(link["href"] for link in first["links"] if link["rel"] == "next")
    second = client.get(following.partition("8443")[2])

    assert second.json()["features"][0]["properties"]["Number"] == 10
