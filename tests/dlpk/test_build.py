"""Built packages are the same bytes for the same content, and never invalid."""

from __future__ import annotations

import os
import zipfile

import pytest

import dlpk
from dlpk.build import ModelOptions, build
from dlpk.definition import ClassEntry, ModelType
from dlpk.extension import Decoder, Extension, NetworkOutput

CLASSES = (ClassEntry(1, "tree", (0, 255, 0)), ClassEntry(2, "hut"))


@pytest.fixture
def options():
    return ModelOptions(
        model_type=ModelType.OBJECT_DETECTION,
        classes=CLASSES,
        image_height=512,
        image_width=640,
        extract_bands=("Red", "Green", "Blue"),
        extension=Extension(output=NetworkOutput(decoder=Decoder.YOLOV8), tile_multiple=32),
        name="trees",
        keys={"Threshold": 0.4, "Unknown": [1]},
    )


@pytest.fixture
def model(tmp_path, onnx_bytes):
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_bytes)
    return path


def test_a_folder_gives_the_same_bytes_whatever_its_dates_and_order(tmp_path, folder, onnx_bytes):
    build(folder, tmp_path / "a.dlpk")
    for path in folder.iterdir():
        path.chmod(0o600)
        os.utime(path, (1, 1))
    (folder / "net.onnx").unlink()
    (folder / "net.onnx").write_bytes(onnx_bytes)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    build(folder, tmp_path / "b.dlpk")
    assert (tmp_path / "a.dlpk").read_bytes() == (tmp_path / "b.dlpk").read_bytes()


def test_a_built_package_is_valid_and_has_the_digest_of_its_folder(tmp_path, folder):
    report = build(folder, tmp_path / "a.dlpk")
    assert report.valid
    assert dlpk.open(tmp_path / "a.dlpk").digest == dlpk.open(folder).digest
    with zipfile.ZipFile(tmp_path / "a.dlpk") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model.emd", "net.onnx"]


def test_a_model_file_with_options_becomes_a_package(tmp_path, model, options):
    build(model, tmp_path / "trees.dlpk", options)
    package = dlpk.open(tmp_path / "trees.dlpk")
    definition = package.definition
    assert [member.name for member in package.members] == ["net.onnx", "trees.emd"]
    assert (definition.model_type, definition.framework, definition.model_file) == (
        "ObjectDetection",
        "ONNX",
        "net.onnx",
    )
    assert (definition.image_height, definition.image_width) == (512, 640)
    assert (definition.classes, definition.threshold, definition.keys["Unknown"]) == (CLASSES, 0.4, [1])
    assert definition.extension == options.extension
    build(model, tmp_path / "again.dlpk", options)
    assert (tmp_path / "again.dlpk").read_bytes() == (tmp_path / "trees.dlpk").read_bytes()


def test_external_data_of_onnx_comes_along(tmp_path, model, options, onnx_bytes):
    import onnx

    network = onnx.load_from_string(onnx_bytes)
    entry = network.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "net.data"
    model.write_bytes(network.SerializeToString())
    with pytest.raises(dlpk.PackageRefused, match=r"net\.data"):
        build(model, tmp_path / "a.dlpk", options)
    (tmp_path / "net.data").write_bytes(b"12")
    build(model, tmp_path / "a.dlpk", options)
    assert dlpk.open(tmp_path / "a.dlpk").read("net.data") == b"12"


def test_an_invalid_package_is_not_written(tmp_path, folder):
    (folder / "model.emd").write_text("{}")
    with pytest.raises(dlpk.PackageRefused) as refused:
        build(folder, tmp_path / "a.dlpk")
    assert len(refused.value.findings) > 3
    assert {path.name for path in tmp_path.iterdir()} == {"package"}


def test_an_existing_file_is_replaced_only_when_told(tmp_path, folder):
    out = tmp_path / "a.dlpk"
    out.write_bytes(b"mine")
    with pytest.raises(dlpk.TargetExists):
        build(folder, out)
    assert out.read_bytes() == b"mine"
    build(folder, out, replace=True)
    assert dlpk.check(out).valid


def test_options_belong_to_model_files_only(tmp_path, folder, model, options):
    with pytest.raises(dlpk.DlpkError, match="own definition"):
        build(folder, tmp_path / "a.dlpk", options)
    with pytest.raises(dlpk.DlpkError, match="say its type"):
        build(model, tmp_path / "a.dlpk")
