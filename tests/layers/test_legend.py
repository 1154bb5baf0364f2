"""Colours of classes, kept with features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from dlpk.definition import ClassEntry
from raster_analysis.handle import Handle, Stamp
from raster_analysis.layers.features import OgrFeatures
from raster_analysis.layers.geopackage import describe_geopackage
from raster_analysis.layers.legend import colors_of, legend_of, read_legend
from raster_analysis.layers.palette import color_of
from raster_analysis.model_info import ModelInfo, Task
from raster_analysis.seams import FeatureTable, Legend, LegendEntry

UTM = CRS.from_epsg(32633).to_wkt()
LEGEND = Legend(
    "Kind",
    (LegendEntry(3, "Bäume & <Sträucher>", (10, 120, 40)), LegendEntry(1, 'Auto "]]>', (200, 0, 7))),
)


def table(legend: Legend | None = LEGEND) -> FeatureTable:
    boxes = np.array([shapely.box(n, 0, n + 1, 1) for n in range(3)], dtype=object)
    kinds = [LEGEND.entries[1].name, "Zaun", LEGEND.entries[0].name]
    return FeatureTable(boxes, UTM, {"Class": ["a", "b", "c"], "Kind": kinds}, "objects", legend=legend)


def described(path: Path) -> Legend | None:
    return describe_geopackage(Handle("features", str(path), "objects", "GPKG", Stamp.of(path)))[0].legend


def test_a_geopackage_keeps_its_classes_and_gdal_reads_them(tmp_path: Path) -> None:
    OgrFeatures().write(tmp_path / "a.gpkg", table())
    assert described(tmp_path / "a.gpkg") == LEGEND
    told = pyogrio.read_info(tmp_path / "a.gpkg")["layer_metadata"]
    assert (told["CLASS_FIELD"], '[3,"Bäume & <Sträucher>",10,120,40]' in told["CLASSES"]) == ("Kind", True)


def test_features_in_parts_keep_the_classes_of_the_first(tmp_path: Path) -> None:
    OgrFeatures().write_parts(tmp_path / "a.gpkg", [table(), table()])
    assert described(tmp_path / "a.gpkg") == LEGEND
    assert pyogrio.read_info(tmp_path / "a.gpkg")["features"] == 6


def test_a_table_without_classes_is_written_as_before(tmp_path: Path) -> None:
    OgrFeatures().write(tmp_path / "a.gpkg", table(None))
    assert described(tmp_path / "a.gpkg") is None
    assert not pyogrio.read_info(tmp_path / "a.gpkg")["layer_metadata"]


@pytest.mark.parametrize("suffix", ["gpkg", "fgb", "geojson", "parquet"])
def test_the_same_features_and_classes_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for path in (first, second):
        OgrFeatures().write(path, replace(table(), layer="objects"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("text", [
    "", "<", "<a/>", "<!DOCTYPE a><a/>", "<M><Metadata><MDI key='CLASSES'>[[1]]</MDI></Metadata></M>",
    "<M><Metadata><MDI key='CLASSES'>[[1,2,3,4,999]]</MDI></Metadata></M>", "<M><Metadata><MDI/></Metadata></M>",
    "<" * 1_000_001,
])  # fmt: skip
def test_metadata_of_others_holds_no_classes(text: str) -> None:
    assert read_legend(text) is None


@given(st.lists(st.text(), unique=True))
def test_every_class_that_occurs_has_a_colour_whatever_the_legend_says(values: list[str]) -> None:
    assert set(colors_of(values, LEGEND)) == set(values)
    assert list(colors_of(values, None).values()) == [color_of(place) for place in range(len(values))]


def test_classes_of_the_legend_come_first_in_its_order_and_colours() -> None:
    tree, car = (entry.name for entry in LEGEND.entries)
    found = colors_of([car, "Zaun", tree], LEGEND)
    assert list(found.items()) == [(tree, (10, 120, 40)), (car, (200, 0, 7)), ("Zaun", color_of(2))]


def test_a_class_that_the_definition_gives_no_colour_gets_one_of_the_palette() -> None:
    classes = (ClassEntry(1, "tree"), ClassEntry(5, "car", (1, 2, 3)))
    info = ModelInfo(
        name="model", task=Task.OBJECTS, bands=(0,), tile_height=64, tile_width=64, variable_tile=False,
        tile_multiple=1, fixed_batch=None, model_padding=0, padding=0, context=None, threshold=0.5, nms_overlap=0.5,
        batch_size=1, classes=classes, values=(1, 5), class_rule="", instances=False, arguments=(),
    )  # fmt: skip
    named = (LegendEntry(1, "tree", color_of(0)), LegendEntry(5, "car", (1, 2, 3)))
    assert legend_of(info, "Class") == Legend("Class", named)
