from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.errors import AccessError, InputChanged, InputError, RasterError
from raster_analysis.rasters.resolver import resolve_features, resolve_package, resolve_raster
from raster_analysis.rasters.signatures import RASTERS

TIFF = b"II*\0" + bytes(100)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "scene one.tif").write_bytes(TIFF)
    (tmp_path / "secret.tif").write_bytes(TIFF)
    return root


@pytest.mark.parametrize(
    "text",
    [
        "../secret.tif",
        "sub/../../secret.tif",
        "%2e%2e/secret.tif",
        "sub/..",
        "/etc/passwd",
        "..\\secret.tif",
        "sub\\x.tif",
    ],
)
def test_a_store_is_not_left_by_spelling(store: Path, text: str) -> None:
    with pytest.raises(InputError, match="may be opened"):
        resolve_raster(text, root=store)


@pytest.mark.parametrize("text", ["%252e%252e/secret.tif", "100%.tif", "%ff.tif"])
def test_percent_signs_are_decoded_once(store: Path, text: str) -> None:
    with pytest.raises(RasterError, match="percent-encoded"):
        resolve_raster(text, root=store)


def test_a_link_out_of_the_store_reads_as_missing(store: Path) -> None:
    (store / "link.tif").symlink_to(store.parent / "secret.tif")
    (store / "folder").symlink_to(store.parent)
    (store / "loop.tif").symlink_to(store / "loop.tif")
    messages = set()
    for text in ("link.tif", "folder/secret.tif", "missing.tif", "loop.tif"):
        with pytest.raises(AccessError) as refusal:
            resolve_raster(text, root=store)
        messages.add(str(refusal.value).replace(text, "X"))
    assert messages == {"'X' was not found"}


def test_a_link_within_the_store_is_followed(store: Path) -> None:
    (store / "link.tif").symlink_to(store / "sub" / "scene one.tif")
    assert resolve_raster("link.tif", root=store).path == str(store / "sub" / "scene one.tif")


def test_a_folder_may_be_called_as_gdals_virtual_ones(tmp_path: Path) -> None:
    path = tmp_path / "vsi_2024" / "scene.tif"
    path.parent.mkdir()
    path.write_bytes(TIFF)
    assert resolve_raster(str(path)).path == str(path)
    assert resolve_raster("vsi_2024/scene.tif", root=tmp_path).path == str(path)


def test_a_store_path_is_percent_decoded(store: Path) -> None:
    handle = resolve_raster("sub/scene%20one.tif", root=store, title="Scene 1")
    assert (handle.path, handle.title, handle.driver) == (str(store / "sub" / "scene one.tif"), "Scene 1", "GTiff")


def test_a_local_path_may_be_relative_and_keeps_its_percent_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "50% größer: neu.tif").write_bytes(TIFF)
    monkeypatch.chdir(tmp_path / "deep")
    handle = resolve_raster("../50% größer: neu.tif")
    assert (handle.title, handle.path) == ("50% größer: neu.tif", str(tmp_path / "50% größer: neu.tif"))


@pytest.mark.parametrize("what", ["pipe", "missing"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.tif"
    if what == "pipe":
        os.mkfifo(path)
    with pytest.raises(AccessError):
        resolve_raster(str(path))


@pytest.mark.parametrize(
    ("head", "driver"),
    [
        (b"II*\0", "GTiff"),
        (b"MM\0*", "GTiff"),
        (b"II+\0", "GTiff"),
        (b"MM\0+", "GTiff"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JP2OpenJPEG"),
        (b"\xff\x4f\xff\x51", "JP2OpenJPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"EHFA_HEADER_TAG\0", "HFA"),
        (b"NITF02.10", "NITF"),
    ],
)
def test_content_and_not_the_suffix_picks_the_driver(tmp_path: Path, head: bytes, driver: str) -> None:
    path = tmp_path / "x.vrt"
    path.write_bytes(head + bytes(50))
    assert resolve_raster(str(path)).driver == driver


@given(st.binary(max_size=200))
def test_any_content_gets_an_allowed_driver_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, head: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x.tif"
    path.write_bytes(head)
    try:
        driver = resolve_raster(str(path)).driver
    except RasterError:
        return
    assert driver in RASTERS


@given(st.text(max_size=60))
def test_any_text_gives_a_file_beneath_the_root_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    root = tmp_path_factory.mktemp("root")
    with pytest.raises(InputError):
        resolve_raster(text, root=root)


def test_a_replaced_file_is_noticed_by_its_stamp(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(TIFF)
    handle = resolve_raster(str(path))
    handle.verify_unchanged()
    path.write_bytes(TIFF + b"more")
    with pytest.raises(InputChanged, match=r"x\.tif"):
        handle.verify_unchanged()


def test_packages_are_archives_folders_or_definitions(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.emd").write_bytes(b'\xef\xbb\xbf{"ModelFile": "x.onnx"}')
    (tmp_path / "model.dlpk").write_bytes(b"PK\x03\x04" + bytes(30))
    for name in ("model", "model/model.emd", "model.dlpk"):
        handle = resolve_package(str(tmp_path / name))
        assert (handle.kind, handle.path) == ("package", str(tmp_path / name))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(9), "7-Zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"", "empty"),
        (b"\x80\x02}", "unknown format"),
    ],
)
def test_other_packages_are_refused_by_what_they_are(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "model.dlpk").write_bytes(content)
    with pytest.raises(InputError, match=words):
        resolve_package(str(tmp_path / "model.dlpk"))


@pytest.mark.parametrize(
    ("content", "driver"),
    [
        (b"SQLite format 3\0" + bytes(52) + b"GPKG", "GPKG"),
        (b'{"type": "FeatureCollection", "features": []}', "GeoJSON"),
        (b'  \n{ "name": "x", "type" : "MultiPolygon", "coordinates": []}', "GeoJSON"),
        (b"fgb\x03fgb\0", "FlatGeobuf"),
        (b"PAR1....", "Parquet"),
    ],
)
def test_features_are_known_by_content(tmp_path: Path, content: bytes, driver: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    assert resolve_features(str(tmp_path / "x.bin")).driver == driver


def test_a_raster_is_no_feature_layer_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_bytes(TIFF)
    (tmp_path / "b.tif").write_bytes(b"fgb\x03fgb\0")
    with pytest.raises(InputError, match=r"'a.gpkg' is a TIFF; want one of GPKG"):
        resolve_features(str(tmp_path / "a.gpkg"))
    with pytest.raises(RasterError, match=r"'b.tif' is a FlatGeobuf; want one of GTiff"):
        resolve_raster(str(tmp_path / "b.tif"))


def test_resolving_loads_no_gdal() -> None:
    code = "import sys, raster_analysis.rasters.resolver; sys.exit(bool({'rasterio', 'pyogrio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
