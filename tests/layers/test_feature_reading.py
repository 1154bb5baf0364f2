"""Features read as SQLite, against what GDAL and shapely say of the same file."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import get_args

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from raster_analysis.errors import BudgetError, InputError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.inputs import SpatialReference
from raster_analysis.layers import geopackage
from raster_analysis.layers.feature_query import (
    FeatureQuery,
    Order,
    Place,
    Relation,
    Shapes,
    Statistic,
    StatisticKind,
    SummaryQuery,
)
from raster_analysis.layers.feature_reading import (
    count_features,
    find_feature_ids,
    measure_bounds,
    read_rows,
    reference_of,
)
from raster_analysis.layers.field import FieldKind
from raster_analysis.layers.geopackage import describe_geopackage, open_geopackage
from raster_analysis.layers.summary import summarize
from raster_analysis.question import Content
from raster_analysis.rest import feature_questions

COUNT = 400
GENERATOR = np.random.default_rng(5)
CENTRES = GENERATOR.uniform(0, 1000, (COUNT, 2)) + np.array([500_000, 5_000_000])
SHAPES = shapely.buffer(shapely.points(CENTRES), GENERATOR.uniform(1, 60, COUNT), quad_segs=3)
SEEN = np.datetime64("2024-02-27T22:00:00", "ms") + np.arange(COUNT) * np.timedelta64(3_600_500, "ms")
EMPTY = 7
"""The place of a feature without a shape."""


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Handle:
    """Discs of all sizes, one of them without a shape, with numbers, texts, moments and gaps."""
    path = tmp_path_factory.mktemp("reading") / "discs.gpkg"
    wkb = shapely.to_wkb(SHAPES)
    wkb[EMPTY] = None
    columns = {
        "name": np.array([f"disc {row % 5}" for row in range(COUNT)], dtype=object),
        "size": np.arange(COUNT, dtype=np.int32),
        "share": np.where(np.arange(COUNT) % 3 == 0, np.nan, np.linspace(0, 1, COUNT)),
        "seen": SEEN,
        "OBJECTID": np.arange(COUNT, dtype=np.int64) * 2,
    }
    pyogrio.raw.write(
        path, wkb, list(columns.values()), list(columns), geometry_type="Polygon", crs="EPSG:32633", driver="GPKG",
        layer="discs",
    )  # fmt: skip
    return Handle("features", str(path), "discs", "GPKG", Stamp.of(path))


def test_a_file_is_described_as_gdal_describes_it(handle: Handle) -> None:
    (layer,) = describe_geopackage(handle)
    told = pyogrio.read_info(handle.path)
    assert layer.count == told["features"] == COUNT
    assert layer.bounds == pytest.approx(tuple(told["total_bounds"]))
    assert [field.column for field in layer.fields[1:]] == list(told["fields"])
    # The file has an OBJECTID of its own, which is no id of features.
    assert [field.name for field in layer.fields if field.kind is FieldKind.ID] == ["FID"]
    assert reference_of(layer) == SpatialReference(wkid=32633)


boxes = st.tuples(*(st.floats(-100, 1100) for _ in range(4))).map(
    lambda edges: (
        500_000 + min(edges[0], edges[1]), 5_000_000 + min(edges[2], edges[3]),
        500_001 + max(edges[0], edges[1]), 5_000_001 + max(edges[2], edges[3]),
    )
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(boxes, st.sampled_from(["intersects", "contains", "within", "overlaps", "touches", "crosses"]))
def test_a_place_finds_what_shapely_finds_among_all_features(handle: Handle, box: tuple, relation: str) -> None:
    shape = shapely.box(*box)
    expected = getattr(shapely, relation)(shape, SHAPES)
    expected[EMPTY] = False
    query = FeatureQuery(place=Place(shape.wkt, None, Relation(relation)))
    ids = find_feature_ids(handle, 0, query)
    assert ids == (np.flatnonzero(expected) + 1).tolist()
    assert count_features(handle, 0, query) == len(ids)
    if relation == "intersects":
        assert ids == [int(fid) for fid in np.sort(pyogrio.raw.read(handle.path, mask=shape, return_fids=True)[1])]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.sampled_from(["name", "share", "size", "seen"]), st.booleans())
def test_pages_in_any_order_hold_every_feature_once(handle: Handle, size: int, field: str, descending: bool) -> None:
    order = (Order(field, descending=descending),)
    found: list[object] = []
    offset, more = 0, True
    while more:
        rows = read_rows(handle, 0, FeatureQuery(order=order, offset=offset, limit=size, fields=("size",)))
        found += [cells[0] for cells in rows.cells]
        offset, more = offset + size, rows.more
    assert sorted(found) == list(range(1, COUNT + 1))


def test_moments_are_milliseconds_since_1970(handle: Handle) -> None:
    rows = read_rows(handle, 0, FeatureQuery(fields=("seen",)))
    assert [cells[1] for cells in rows.cells] == SEEN.astype(np.int64).tolist()
    after = FeatureQuery(where="seen > TIMESTAMP '2024-02-29 00:00:00'")
    assert count_features(handle, 0, after) == int((np.datetime64("2024-02-29T00:00:00") < SEEN).sum())
    assert dt.datetime.fromtimestamp(rows.cells[0][1] / 1000, dt.UTC).hour == 22


def test_shapes_come_whole_projected_or_not_at_all(handle: Handle) -> None:
    own = read_rows(handle, 0, FeatureQuery(shapes=Shapes(), limit=20)).shapes
    assert own[EMPTY] is None
    kept = [place for place in range(20) if place != EMPTY]
    assert shapely.equals_exact(own[kept], SHAPES[:20][kept], normalize=True).all()
    moved = read_rows(handle, 0, FeatureQuery(shapes=Shapes(SpatialReference(wkid=102100)), limit=20)).shapes
    way = Transformer.from_crs(32633, 3857, always_xy=True)
    x, y = way.transform(*shapely.get_coordinates(SHAPES[0])[0])
    assert shapely.Point(x, y).distance(moved[0].exterior) < 1e-6
    simple = read_rows(handle, 0, FeatureQuery(shapes=Shapes(tolerance=5), limit=20)).shapes
    assert shapely.get_num_coordinates(simple[kept]).sum() < shapely.get_num_coordinates(own[kept]).sum()
    assert read_rows(handle, 0, FeatureQuery(limit=20)).shapes is None


def test_bounds_are_those_of_what_is_chosen(handle: Handle) -> None:
    chosen = [place for place in range(COUNT) if place < 50 and place != EMPTY]
    bounds = measure_bounds(handle, 0, FeatureQuery(where="size < 50"))
    assert bounds == pytest.approx(tuple(shapely.total_bounds(SHAPES[chosen])))
    assert measure_bounds(handle, 0, FeatureQuery(where="1=0")) is None


def test_a_connection_can_only_read(handle: Handle) -> None:
    before = Path(handle.path).read_bytes()
    attempts = (
        "DROP TABLE discs", "UPDATE discs SET size = 1", "DELETE FROM discs", "CREATE TABLE x (a)",
        "PRAGMA user_version = 5",
        "ATTACH '/tmp/other.sqlite' AS other", "SELECT load_extension('x')", "PRAGMA query_only = OFF", "VACUUM",
        "DELETE FROM rtree_discs_geom",
    )  # fmt: skip
    for statement in attempts:
        with pytest.raises((InputError, sqlite3.Error)), open_geopackage(handle) as connection:
            connection.execute(statement).fetchall()
    assert Path(handle.path).read_bytes() == before


def test_a_statement_that_takes_too_long_ends(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geopackage, "TIME_LIMIT_S", 0.0)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(BudgetError, match="ask for less"), open_geopackage(handle) as connection:
        connection.execute(endless).fetchone()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_geopackage_is_refused_without_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gpkg"
    path.write_bytes(content)
    with pytest.raises(InputError, match="my layer") as error:
        describe_geopackage(Handle("features", str(path), "my layer", "GPKG", Stamp.of(path)))
    assert str(tmp_path) not in str(error.value)


def test_a_layer_that_is_not_there_is_refused(handle: Handle) -> None:
    with pytest.raises(InputError, match="has no layer 3; it has 1"):
        count_features(handle, 3, FeatureQuery())


def test_texts_in_a_column_of_numbers_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "mixed.gpkg"
    wkb = shapely.to_wkb(SHAPES[:4])
    pyogrio.raw.write(
        path, wkb, [np.array([1.0, 2.0, 4.0, 8.0])], ["size"], geometry_type="Polygon", crs="EPSG:32633", driver="GPKG",
        layer="mixed",
    )  # fmt: skip
    with closing(sqlite3.connect(path)) as connection, connection:
        # Those of the spatial index call functions that only GDAL has.
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE mixed SET size = 'zzz' WHERE fid = 4")
    kinds = get_args(StatisticKind)
    summary = SummaryQuery(tuple(Statistic(kind, "size", kind) for kind in kinds))
    found = summarize(Handle("features", str(path), "mixed", "GPKG", Stamp.of(path)), 0, FeatureQuery(), summary)
    numbers = np.array([1.0, 2.0, 4.0])
    wanted = [3, 7, 1, 4, numbers.mean(), numbers.std(ddof=1), numbers.var(ddof=1), 2, 2]
    assert list(found.cells[0]) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (SpatialReference(wkt='LOCAL_CS["site",UNIT["metre",1]]'), "no way is known .* to 'site'"),
        (SpatialReference(wkid=5773), "is one of heights"),
    ],
)
def test_a_reference_without_a_way_to_it_is_refused(handle: Handle, reference: SpatialReference, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_rows(handle, 0, FeatureQuery(limit=1, shapes=Shapes(reference)))


def test_columns_of_an_answer_have_names_of_their_own(handle: Handle) -> None:
    twice = SummaryQuery((Statistic("count", "name", "n"), Statistic("max", "name", "N")))
    like_a_group = SummaryQuery((Statistic("count", "name", "name"),), groups=("name",))
    for summary in (twice, like_a_group):
        with pytest.raises(InputError, match="two columns of the answer"):
            summarize(handle, 0, FeatureQuery(), summary)


def test_answers_are_kept_but_those_that_ask_what_time_it_is(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def count(_handle: Handle, request: feature_questions.FeatureRequest) -> Content:
        counted.append(request.query.where)
        return Content(b"1")

    monkeypatch.setattr(feature_questions, "_ANSWERS", {"count": count})
    for where in ("seen < CURRENT_TIMESTAMP", "seen IS NOT NULL") * 2:
        query = {"layer": 0, "wants": "count", "query": {"where": where}}
        feature_questions.answer_features(handle, query)

    assert counted == ["seen < CURRENT_TIMESTAMP", "seen IS NOT NULL", "seen < CURRENT_TIMESTAMP"]


@pytest.mark.parametrize("code", [4326, 3857])
def test_what_lies_near_is_found_across_the_180th_meridian(code: int, tmp_path: Path) -> None:
    places = np.array([(179.99, 10.0), (-179.99, 10.0), (0.0, 10.0), (90.0, 10.0), (179.0, 10.0)])
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(*places.T)
    path = tmp_path / "far.gpkg"
    columns = {"n": np.arange(len(places))}
    pyogrio.raw.write(
        path, shapely.to_wkb(shapely.points(x, y)), [*columns.values()], [*columns], crs=f"EPSG:{code}",
        geometry_type="Point", driver="GPKG", layer="far",
    )  # fmt: skip
    far = Handle("features", str(path), "far", "GPKG", Stamp.of(path))

    for longitude in (179.995, -179.995):
        place = Place(f"POINT ({longitude} 10)", SpatialReference(wkid=4326), distance_m=5000)
        assert find_feature_ids(far, 0, FeatureQuery(place=place)) == [1, 2]
