from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from raster_analysis.inputs import (
    ContextInput,
    DataReference,
    ModelArguments,
    OutputName,
    ProcessingContext,
    RasterInput,
    SpatialReference,
    with_environment,
)

CONTEXT: TypeAdapter[ProcessingContext] = TypeAdapter(ContextInput)
ARGUMENTS: TypeAdapter[dict[str, str]] = TypeAdapter(ModelArguments)


@pytest.mark.parametrize("text", ["", "  ", "{}", None])
def test_an_empty_context_asks_for_nothing(text: object) -> None:
    assert CONTEXT.validate_python(text) == ProcessingContext()


@pytest.mark.parametrize(
    "text", ["extent 0 0 1 1", "cellSize=2", "/fileShares/x", "{", "[1]", '{"batchSize": 0}', '{"device": "gpu"}']
)
def test_a_context_that_is_not_understood_is_not_ignored(text: str) -> None:
    with pytest.raises(ValidationError):
        CONTEXT.validate_python(text)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (2, 2.0), ("2.5", 2.5), ("MaxOf", "MaxOf"), ("minof", "MinOf"), ("Maximum of Inputs", "MaxOf"), ("", None),
        ("/rasterStores/a/b.tif", DataReference(uri="/rasterStores/a/b.tif")),
        ('{"url": "https://h/x/ImageServer"}', DataReference(url="https://h/x/ImageServer")),
        ({"itemId": "0" * 32}, DataReference(item_id="0" * 32)),
        (
            {"serviceProperties": {"name": "n", "serviceUrl": "https://h/n"}, "itemProperties": {"itemId": "1"}},
            DataReference(url="https://h/n", item_id="1"),
        ),
        ({"serviceProperties": {"serviceUrl": "https://h/n"}, "itemProperties": None}, DataReference(url="https://h/n")),
    ],
)  # fmt: skip
def test_a_cell_size_is_a_number_a_rule_or_a_dataset(value: object, read: object) -> None:
    assert CONTEXT.validate_python({"cellSize": value}).cell_size == read


@pytest.mark.parametrize(
    ("value", "threads"), [("2", 2), (3, 3), ("60%", 4), ("0", 1), ("0%", 1), ("100%", 8), ("99", 8), ("", 8)]
)
def test_a_parallel_processing_factor_is_a_number_or_a_share_of_threads(value: object, threads: int) -> None:
    assert CONTEXT.validate_python({"parallelProcessingFactor": value}).threads(8) == threads


@pytest.mark.parametrize("value", ["two", "-1", "50 percent", True])
def test_a_parallel_processing_factor_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="number of CPU threads"):
        CONTEXT.validate_python({"parallelProcessingFactor": value})


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ('<FeatureLayer url:"https://h/x/FeatureServer/0">', "mask", {"url": "https://h/x/FeatureServer/0"}),
        ('<ImageryLayer url:"https://h/x/ImageServer?token=T">', "snapRaster", {"url": "https://h/x/ImageServer?token=T"}),
        ({"type": "FeatureLayer", "url": "https://h/x/FeatureServer/0", "serviceToken": "T"}, "mask",
         {"url": "https://h/x/FeatureServer/0", "serviceToken": "T"}),
    ],
)  # fmt: skip
def test_layers_come_in_every_way_that_clients_write_them(text: object, key: str, value: dict[str, str]) -> None:
    context = CONTEXT.validate_python({key: text, "anythingElse": 1})
    assert (context.mask or context.snap_raster) == DataReference.model_validate(value)


def test_environments_in_the_form_fill_what_the_context_leaves_open() -> None:
    form = {"env:outSR": "3857", "env:processSR": "4326", "returnZ": "True"}
    assert CONTEXT.validate_python(with_environment("", form)).out_sr == SpatialReference(wkid=3857)
    own = CONTEXT.validate_python(with_environment('{"outSR": 32616}', form))
    assert (own.out_sr, own.process_sr) == (SpatialReference(wkid=32616), SpatialReference(wkid=4326))
    assert with_environment('{"cellSize": 2}', {"returnM": "True"}) == '{"cellSize": 2}'


@pytest.mark.parametrize("box", [(5, 0, 1, 1), (0, 0, 0, 1), (float("nan"), 0, 1, 1)])
def test_an_extent_spans_an_area(box: tuple[float, ...]) -> None:
    extent = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    with pytest.raises(ValidationError, match="spans no area"):
        CONTEXT.validate_python({"extent": extent})


@pytest.mark.parametrize("value", [4326, "4326", {"wkid": 4326}, {"wkid": "4326"}])
@pytest.mark.parametrize("key", ["outSR", "outSr"])
def test_a_spatial_reference_may_be_a_bare_code(key: str, value: object) -> None:
    reference = CONTEXT.validate_python({key: value}).out_sr
    assert reference is not None
    assert reference.wkid == 4326


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("threshold 0.5;padding 3; ", {"threshold": "0.5", "padding": "3"}),
        ('{"threshold": 0.5, "return_bboxes": true, "name": "a b"}',
         {"threshold": "0.5", "return_bboxes": "true", "name": "a b"}),
        ({"padding": None}, {"padding": ""}),
        ("", {}),
        (None, {}),
    ],
)  # fmt: skip
def test_model_arguments_become_text_by_name(value: object, read: dict[str, str]) -> None:
    assert ARGUMENTS.validate_python(value) == read


def test_model_arguments_as_a_list_are_refused() -> None:
    with pytest.raises(ValidationError):
        ARGUMENTS.validate_python('[{"name": "threshold", "value": "0.9"}]')


@pytest.mark.parametrize(
    ("value", "name", "folder"),
    [
        ("trees", "trees", None),
        ('{"name": "trees", "folderId": "f"}', "trees", "f"),
        ('{"serviceProperties": {"name": "trees"}, "itemProperties": {"folderId": "f"}}', "trees", "f"),
    ],
)
def test_an_output_is_named_in_any_of_the_ways_of_clients(value: Any, name: str, folder: str | None) -> None:
    target = TypeAdapter(OutputName).validate_python(value)
    assert (target.name, target.folder_id) == (name, folder)


@pytest.mark.parametrize("value", ["", "{}", '{"itemId": ""}', "{"])
def test_a_reference_names_something(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RasterInput).validate_python(value)


@pytest.mark.parametrize(
    "inner",
    [
        'METHOD["NTv2",ID["EPSG",9615]],PARAMETERFILE["Latitude and longitude difference file","/etc/passwd"]',
        'EXTENSION["PROJ4_GRIDS","/etc/passwd"]',
        'extension["PROJ4","+proj=longlat +nadgrids=/etc/passwd +no_defs"]',
        'METHOD["PROJ-based operation method: +proj=defmodel +model=/etc/passwd"]',
    ],
)
def test_a_wkt_that_names_a_file_is_refused(inner: str) -> None:
    with pytest.raises(ValidationError, match="names files of grids"):
        SpatialReference.model_validate({"wkt": f'GEOGCS["x",{inner}]'})


def test_web_mercator_may_be_written_out() -> None:
    wkt = 'PROJCS["WGS 84 / Pseudo-Mercator",EXTENSION["PROJ4","+proj=merc +nadgrids=@null +wktext +no_defs"]]'

    assert SpatialReference.model_validate({"wkt": wkt}).wkt == wkt


@pytest.mark.parametrize("key", ["renderingRule", "function"])
@pytest.mark.parametrize("rule", [{"rasterFunction": "NDVI"}, '{"rasterFunction": "NDVI"}', {"name": "NDVI"}, "NDVI"])
def test_a_raster_function_is_refused_by_name_and_not_left_out(key, rule):
    with pytest.raises(ValidationError, match="raster function 'NDVI' is not applied"):
        TypeAdapter(RasterInput).validate_python({"url": "https://a/ImageServer", key: rule})


@pytest.mark.parametrize("rule", [None, "", {}, {"rasterFunction": "None"}, "Identity"])
def test_a_raster_function_that_changes_nothing_is_taken(rule):
    given = {
        "uri": "/rasterStores/s/a.tif",
        "renderingRule": rule,
        "mosaicRule": {"mosaicMethod": "esriMosaicNorthwest"},
    }
    assert TypeAdapter(RasterInput).validate_python(given).uri == "/rasterStores/s/a.tif"
