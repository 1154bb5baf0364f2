from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS

from raster_analysis.errors import InputError
from raster_analysis.layers.features import OgrFeatures
from raster_analysis.rasters.resolver import resolve_features
from raster_analysis.seams import FeatureTable

UTM = 32616


def frame() -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(
        {
            "whole": pd.array([7, None, 2**40], dtype="Int64"),
            "small": np.array([1, -2, 3], "int16"),
            "real": [1.5, np.nan, -2.25],
            "text": ["Hütte", None, ""],
            "when": pd.to_datetime(["2020-01-02T03:04:05", None, "1969-12-31T00:00:00"]),
        },
        geometry=[shapely.box(0, 0, 1, 2), shapely.box(5, 5, 6, 7), shapely.box(8, 8, 9, 9)],
        crs=UTM,
    )


def source(path: Path) -> Any:
    return resolve_features(str(path))


def save(path: Path, what: geopandas.GeoDataFrame) -> Path:
    if path.suffix == ".parquet":
        what.to_parquet(path)
    else:
        what.to_file(path, engine="pyogrio")
    return path


def plain(values: Any) -> list[Any]:
    return (
        [None if v is np.ma.masked or pd.isna(v) else v for v in np.asanyarray(values, object)]
        if not (np.ma.isMaskedArray(values))
        else [None if m else int(v) for v, m in zip(values.data, np.ma.getmaskarray(values), strict=True)]
    )


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "fgb"])
def test_a_file_keeps_values_nulls_types_and_geometries(tmp_path: Path, suffix: str) -> None:
    table = OgrFeatures().read(source(save(tmp_path / f"a.{suffix}", frame())))
    order = np.argsort(table.columns["small"])[[1, 0, 2]] if suffix == "fgb" else np.arange(3)  # it sorts in space
    table = table.take(np.argsort([{7: 0, None: 1, 2**40: 2}[v] for v in plain(table.columns["whole"])]))
    assert len(order) == 3
    assert plain(table.columns["whole"]) == [7, None, 2**40]
    assert plain(table.columns["real"]) == [1.5, None, -2.25]
    assert list(table.columns["text"]) == ["Hütte", None, ""]
    assert list(table.columns["when"].astype("datetime64[s]").astype(str)) == [
        "2020-01-02T03:04:05", "NaT", "1969-12-31T00:00:00",
    ]  # fmt: skip
    assert np.asarray(table.columns["small"]).tolist() == [1, -2, 3]
    assert CRS.from_wkt(table.crs).to_epsg() == UTM
    assert shapely.equals(table.geometries, frame().geometry.values).all()


def test_large_whole_numbers_with_nulls_among_them_keep_their_digits(tmp_path: Path) -> None:
    wanted = [2**53 + 1, None, -(2**62) - 1, 0]
    frame = geopandas.GeoDataFrame(
        {"n": pd.array(wanted, "Int64"), "m": [1, 2, 3, 4]}, geometry=[shapely.Point(n, n) for n in range(4)], crs=3857
    )
    frame.to_file(tmp_path / "in.gpkg", engine="pyogrio")
    features, source = OgrFeatures(), resolve_features(str(tmp_path / "in.gpkg"))
    parts = list(features.read_parts(source, size=3))
    assert [plain(part.columns["n"]) for part in parts] == [wanted[:3], wanted[3:]]
    assert plain(features.read(source, "m > 1").columns["n"]) == wanted[1:]
    features.write_parts(tmp_path / "out.gpkg", iter(parts))
    assert plain(features.read(resolve_features(str(tmp_path / "out.gpkg"))).columns["n"]) == wanted


def test_parts_are_the_whole_in_order(tmp_path: Path) -> None:
    handle = source(save(tmp_path / "a.gpkg", frame()))
    parts = list(OgrFeatures().read_parts(handle, size=2))
    assert [len(part.geometries) for part in parts] == [2, 1]
    assert [int(i) for part in parts for i in part.ids] == [1, 2, 3]


def test_a_filter_chooses_features_by_a_where_clause(tmp_path: Path) -> None:
    handle = source(save(tmp_path / "a.gpkg", frame()))
    assert OgrFeatures().read(handle, "real < 0 OR text = 'Hütte'").ids.tolist() == [1, 3]
    assert len(OgrFeatures().read(handle, "small > 100").geometries) == 0


def test_a_filter_knows_the_id_by_the_name_that_services_give_it(tmp_path: Path) -> None:
    handle = source(save(tmp_path / "a.gpkg", frame()))
    assert OgrFeatures().read(handle, "OBJECTID IN (1, 3)").ids.tolist() == [1, 3]
    taken = source(save(tmp_path / "taken.gpkg", frame().assign(ObjectId=[7, 8, 9])))
    assert OgrFeatures().read(taken, "OBJECTID = 8").ids.tolist() == [2]
    assert OgrFeatures().read(taken, "FID = 3").ids.tolist() == [3]


def test_a_filter_that_is_no_clause_is_refused_by_what_is_wrong(tmp_path: Path) -> None:
    handle = source(save(tmp_path / "a.gpkg", frame()))
    for clause in ("1=1; DROP TABLE a", "nothing = 3", "small IN (SELECT 1)"):
        with pytest.raises(InputError):
            OgrFeatures().read(handle, clause)


def test_a_filter_on_a_format_that_cannot_have_one_says_which_can(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="GeoPackage"):
        OgrFeatures().read(source(save(tmp_path / "a.fgb", frame())), "small = 1")


COLLECTION: dict[str, Any] = {
    "layerDefinition": {
        "geometryType": "esriGeometryPolygon",
        "objectIdField": "OBJECTID",
        "fields": [
            {"name": "OBJECTID", "type": "esriFieldTypeOID"},
            {"name": "floors", "type": "esriFieldTypeSmallInteger"},
            {"name": "built", "type": "esriFieldTypeDate"},
            {"name": "name", "type": "esriFieldTypeString"},
        ],
    },
    "featureSet": {
        "spatialReference": {"wkid": 102100, "latestWkid": 3857},
        "features": [
            {
                "attributes": {"OBJECTID": 17, "floors": 3, "built": 86_400_000, "name": "hall"},
                "geometry": {"rings": [[[0, 0], [0, 9], [9, 9], [9, 0], [0, 0]], [[3, 3], [6, 3], [6, 6], [3, 3]]]},
            },
            {"attributes": {"OBJECTID": 4, "floors": None, "built": None, "name": None}, "geometry": None},
        ],
    },
}


def test_an_esri_feature_collection_keeps_ids_types_holes_and_features_without_a_place() -> None:
    table = OgrFeatures().read(COLLECTION)
    assert table.ids.tolist() == [17, 4]
    assert table.columns["floors"].dtype == np.int16
    assert plain(table.columns["floors"]) == [3, None]
    assert str(table.columns["built"][0]) == "1970-01-02T00:00:00.000"
    assert list(table.columns["name"]) == ["hall", None]
    assert table.geometries[0].area == pytest.approx(81 - 4.5)
    assert table.geometries[1] is None
    assert CRS.from_wkt(table.crs).to_epsg() == 3857


def test_a_geojson_object_is_in_longitude_and_latitude() -> None:
    table = OgrFeatures().read(
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "properties": {"n": 1}, "geometry": {"type": "Point", "coordinates": [8, 49]}}
            ],
        }
    )
    assert (table.geometries[0].x, table.geometries[0].y) == (8, 49)
    assert np.asarray(table.columns["n"]).tolist() == [1]
    assert "CRS84" in str(table.crs)


def test_booleans_of_json_stay_booleans() -> None:
    features = [{"properties": {"ripe": ripe}, "geometry": None} for ripe in (True, None, False)]
    table = OgrFeatures().read({"type": "FeatureCollection", "features": features})
    assert table.columns["ripe"].dtype == bool
    assert plain(table.columns["ripe"]) == [True, None, False]


def test_rings_that_were_left_open_are_closed() -> None:
    rings = [[[0, 0], [0, 9], [9, 9], [9, 0]], [[3, 3], [6, 3], [6, 6]], []]
    table = OgrFeatures().read({"features": [{"geometry": {"rings": rings}}], "spatialReference": {"wkid": 3857}})
    assert table.geometries[0].area == pytest.approx(81 - 4.5)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "empty"),
        ({"featureSet": {}}, "features"),
        ({"features": [3], "spatialReference": {"wkid": 4326}}, "feature 1"),
        ({"features": [{"geometry": {"x": "a", "y": 2}}], "spatialReference": {"wkid": 4326}}, "feature 1"),
        ({"features": [{"geometry": {"x": 1, "y": 2}}]}, "spatialReference"),
        ({"features": [{"geometry": {"x": 1, "y": 2}}], "spatialReference": {"wkid": 1}}, "spatial reference"),
        ({"features": [{"attributes": [1], "geometry": None}], "spatialReference": {"wkid": 4326}}, "feature 1"),
        ({"layerDefinition": {"fields": 3}, "featureSet": {"features": []}}, "spatialReference"),
        ({"type": "FeatureCollection"}, "features"),
        ({"type": "FeatureCollection", "features": [{"properties": "x", "geometry": None}]}, "feature 1"),
        ({"type": "Nonsense"}, "feature 1"),
    ],
)
def test_a_broken_document_is_refused_by_what_is_wrong(document: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        OgrFeatures().read(document)


def test_what_was_read_is_written_in_its_order_with_its_nulls_and_types(tmp_path: Path) -> None:
    table = OgrFeatures().read(COLLECTION)
    path = tmp_path / "out.gpkg"
    OgrFeatures().write_parts(path, [table.take(slice(0, 1)), table.take(slice(1, 2))])
    again = OgrFeatures().read(source(path))
    assert list(again.columns["name"]) == ["hall", None]
    assert plain(again.columns["floors"]) == [3, None]
    assert again.columns["floors"].dtype == np.int16
    assert again.geometries[1] is None


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet", "fgb"])
@pytest.mark.parametrize("kind", ["Point", "LineString", "MultiPolygon"])
def test_every_kind_of_geometry_can_be_written(tmp_path: Path, suffix: str, kind: str) -> None:
    shapes: dict[str, list[Any]] = {
        "Point": [shapely.Point(500_000 + n, 10) for n in range(3)],
        "LineString": [shapely.LineString([(500_000, n), (500_010, n + 5)]) for n in range(3)],
        "MultiPolygon": [shapely.box(500_000, 0, 500_000 + n + 1, 9) for n in range(3)],
    }
    geometries = np.array(shapes[kind], object)
    table = FeatureTable(geometries, CRS.from_epsg(UTM).to_wkt(), {"n": np.arange(3)}, "layer", kind)
    path = tmp_path / f"a.{suffix}"
    OgrFeatures().write_parts(path, [table])
    found = geopandas.read_parquet(path) if suffix == "parquet" else geopandas.read_file(path)
    assert sorted(found["n"]) == [0, 1, 2]
    assert set(found.geometry.geom_type) == {kind}


def test_attributes_called_like_a_key_stay_what_they_are(tmp_path: Path) -> None:
    table = FeatureTable(
        np.array([shapely.Point(1, 2), shapely.Point(3, 4)], object),
        CRS.from_epsg(UTM).to_wkt(),
        {"fid": np.array(["a", "a"], object), "geom": np.array([1.5, 2.5])},
        "layer",
        "Point",
    )
    OgrFeatures().write_parts(tmp_path / "a.gpkg", [table])
    again = OgrFeatures().read(source(tmp_path / "a.gpkg"))
    assert list(again.columns["fid"]) == ["a", "a"]
    assert np.asarray(again.columns["geom"]).tolist() == [1.5, 2.5]


def test_attributes_that_differ_in_case_only_are_both_kept(tmp_path: Path) -> None:
    features = [{"properties": {"Name": 1, "name": 2, "NAME_1": 3}, "geometry": None}]
    table = OgrFeatures().read({"type": "FeatureCollection", "features": features})
    OgrFeatures().write_parts(tmp_path / "out.gpkg", iter([table, table]))
    found = geopandas.read_file(tmp_path / "out.gpkg")
    assert found.drop(columns="geometry").to_dict("list") == {"Name": [1, 1], "name_1": [2, 2], "NAME_1_1": [3, 3]}


def test_nothing_is_left_where_a_later_part_does_not_fit(tmp_path: Path) -> None:
    table = OgrFeatures().read(json.loads(json.dumps(COLLECTION)))

    def parts() -> Any:
        yield table
        raise InputError("the source broke")

    with pytest.raises(InputError):
        OgrFeatures().write_parts(tmp_path / "a.gpkg", parts())
    assert list(tmp_path.iterdir()) == []
