"""Tables without geometries: read back by GDAL and by the services' own reader, complete or not there."""

from __future__ import annotations

import numpy as np
import pyogrio
import pytest

from raster_analysis.errors import OutputError, OutputExists
from raster_analysis.layers.features import OgrFeatures
from raster_analysis.layers.geopackage import describe_geopackage
from raster_analysis.rasters.resolver import resolve_features

COLUMNS = {"Class": ["ä", "b"], "Share": np.array([0.5, np.nan]), "Count": np.array([1, 2])}


def test_rows_come_back_as_they_were_written_and_nan_is_null(tmp_path):
    OgrFeatures().write_rows(tmp_path / "t.gpkg", "my table", COLUMNS)
    read = pyogrio.read_dataframe(tmp_path / "t.gpkg")
    assert read["Class"].tolist() == ["ä", "b"]
    assert read["Count"].tolist() == [1, 2]
    assert read["Share"].isna().tolist() == [False, True]
    assert pyogrio.read_info(tmp_path / "t.gpkg")["geometry_type"] is None


def test_services_see_a_table_and_no_layer(tmp_path):
    OgrFeatures().write_rows(tmp_path / "t.gpkg", "my table", COLUMNS)
    (layer,) = describe_geopackage(resolve_features(str(tmp_path / "t.gpkg"), title="t"))
    assert (layer.title, layer.count, layer.geometry_kind) == ("my table", 2, None)
    assert [field.name for field in layer.fields[1:]] == list(COLUMNS)


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a.gpkg", "b.gpkg"):
        OgrFeatures().write_rows(tmp_path / name, "t", COLUMNS)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


def test_what_is_no_table_is_refused_and_leaves_nothing(tmp_path):
    write = OgrFeatures().write_rows
    with pytest.raises(OutputError, match="differ in length"):
        write(tmp_path / "t.gpkg", "t", {"a": ["x"], "b": np.array([1, 2])})
    with pytest.raises(OutputError, match=r"write \.gpkg"):
        write(tmp_path / "t.geojson", "t", COLUMNS)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "t.gpkg", "t", {"a": np.empty(0)})
    with pytest.raises(OutputExists):
        write(tmp_path / "t.gpkg", "t", COLUMNS)
