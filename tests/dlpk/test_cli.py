"""The command `dlpk`: exit codes and what it prints."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import dlpk
from dlpk.cli import main


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


def test_check_accepts_a_valid_package(run, folder):
    result = run("check", folder)
    assert (result.exit_code, result.output.strip()) == (0, "package: valid")


def test_check_names_every_fault(run, folder):
    (folder / "model.emd").write_text('{"ImageHeight": 0}')
    result = run("check", folder)
    assert result.exit_code == 1
    assert "emd.image_size" in result.output
    assert "model_file.missing" in result.output
    assert "refused" in result.output


def test_check_gives_json(run, folder):
    assert json.loads(run("check", folder, "--json").output) == {
        "valid": True,
        "counts": {"error": 0, "warning": 0, "info": 0},
        "findings": [],
    }
    (folder / "model.emd").write_text("{")
    result = run("check", folder, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["findings"][0]["code"] == "emd.json"


def test_wrong_use_exits_with_2(run, folder, tmp_path):
    assert run("check").exit_code == 2
    assert run("build", folder / "net.onnx", tmp_path / "a.dlpk").exit_code == 2
    assert run("build", folder / "net.onnx", tmp_path / "a.dlpk", "--type", "Nothing").exit_code == 2
    for option in (
        ["--class", "one:a"],
        ["--set", "Threshold"],
        ["--set", "Threshold=x"],
        ["--extension", "missing.json"],
    ):
        arguments = ["build", folder / "net.onnx", tmp_path / "a.dlpk", "--type", "ImageClassification", *option]
        assert run(*arguments).exit_code == 2


def test_a_missing_package_is_refused(run, tmp_path):
    result = run("check", tmp_path / "none.dlpk")
    assert result.exit_code == 1
    assert "archive.missing" in result.output


def test_info_describes_a_package(run, folder):
    facts = json.loads(run("info", folder, "--json").output)
    assert facts["digest"] == dlpk.open(folder).digest
    assert (facts["modelKind"], facts["tile"], facts["bands"]) == ("ONNX", [8, 8], [0, 1, 2])
    assert facts["classValues"] == [0, 1]
    assert "ImageClassification" in run("info", folder).output
    (folder / "model.emd").unlink()
    assert run("info", folder).exit_code == 1


def test_build_and_unpack_a_folder(run, folder, tmp_path):
    assert run("build", folder, tmp_path / "a.dlpk").exit_code == 0
    assert run("unpack", tmp_path / "a.dlpk", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "net.onnx").read_bytes() == (folder / "net.onnx").read_bytes()
    assert run("unpack", tmp_path / "a.dlpk", tmp_path / "out").exit_code == 2
    assert run("unpack", tmp_path / "a.dlpk", tmp_path / "no" / "parent").exit_code == 2


def test_build_from_a_model_file(run, folder, tmp_path):
    arguments = ["--type", "ObjectDetection", "--class", "1:tall: tree:#00ff00", "--class", "2:hut", "--tile", "320"]
    more = ["--bands", "3,2,1", "--decoder", "yolov5", "--set", "Threshold=0.3", "--name", "trees"]
    result = run("build", folder / "net.onnx", tmp_path / "a.dlpk", *arguments, *more)
    assert result.exit_code == 0, result.output
    definition = dlpk.open(tmp_path / "a.dlpk").definition
    assert [(entry.value, entry.name, entry.color) for entry in definition.classes] == [
        (1, "tall: tree", (0, 255, 0)),
        (2, "hut", None),
    ]
    assert (definition.image_height, definition.extract_bands, definition.threshold) == (320, (3, 2, 1), 0.3)
    assert definition.extension.output.decoder == "yolov5"


def test_build_refuses_what_is_not_valid(run, folder, tmp_path):
    result = run("build", folder / "net.onnx", tmp_path / "a.dlpk", "--type", "ObjectDetection", "--class", "1:tree")
    assert result.exit_code == 1
    assert "runtime.decoder" in result.output
    assert not (tmp_path / "a.dlpk").exists()


def test_names_cannot_colour_or_forge_the_output(run, folder):
    (folder / "model.emd").write_text(json.dumps({"ModelType": "[bold]x\x1b[31m", "ModelFile": "[red]y"}))
    output = run("check", folder).output
    assert "\x1b" not in output
    assert "[bold]x" in output
