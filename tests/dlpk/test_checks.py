"""What runs here and what does not, and that every refusal names the way out."""

from __future__ import annotations

import json

import pytest

import dlpk
from dlpk.extension import Decoder
from dlpk.findings import Severity, errors_of

FUNCTION = """
import os, numpy, my_part, no_such_module_anywhere
class GeometryType: pass
class finder:
    def initialize(self, **kwargs): open("canary", "w")
    def getParameterInfo(self): return []
    def vectorize(self, **blocks): return {}
    def updatePixels(self, tlc, shape, props, **blocks): return blocks
"""


def found(report):
    return {finding.code: finding.severity for finding in report.findings}


def errors(report):
    return {finding.code for finding in errors_of(report.findings)}


def test_a_pixel_classifier_in_onnx_needs_no_extension(folder):
    assert dlpk.check(folder).findings == ()


def test_an_object_classifier_in_onnx_needs_no_extension(check_keys):
    assert check_keys({"ModelType": "ObjectClassification"}).valid


def test_a_detector_must_say_how_it_is_decoded(check_keys):
    report = check_keys({"ModelType": "ObjectDetection"})
    assert errors(report) == {"runtime.decoder"}
    assert "yolov8" in report.findings[0].hint
    assert check_keys({"ModelType": "ObjectDetection", "RasterAnalysis": {"Output": {"Decoder": "yolov8"}}}).valid


@pytest.mark.parametrize("decoder", list(Decoder))
def test_a_decoder_must_fit_the_type(check_keys, decoder):
    extension = {"Output": {"Decoder": str(decoder)}}
    is_pixels = decoder is Decoder.PIXELS
    assert check_keys({"ModelType": "ImageClassification", "RasterAnalysis": extension}).valid == is_pixels
    assert check_keys({"ModelType": "InstanceDetection", "RasterAnalysis": extension}).valid != is_pixels


def test_weights_without_a_network_must_name_one(folder, check_keys):
    (folder / "w.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert errors(check_keys({"ModelFile": "w.safetensors"})) == {"runtime.architecture"}
    architecture = {"Library": "torchvision", "Name": "fcn_resnet50"}
    assert check_keys({"ModelFile": "w.safetensors", "RasterAnalysis": {"Architecture": architecture}}).valid


def test_weights_of_arcgis_learn_are_refused_with_the_way_out(folder, check_keys):
    (folder / "w.pth").write_bytes(b"\x80\x02carcgis.learn\nLearner\n.")
    changes = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelConfiguration": "_unet",
        "ModelFile": "w.pth",
        "InferenceFunction": "ArcGISImageClassifier.py",
        "ONNX": {"INFER": "unet.onnx"},
    }
    report = check_keys({**changes, "InferenceFunction": "[Functions]System\\DeepLearning\\ArcGISLearn\\Classifier.py"})
    assert errors(report) == {"runtime.arcgis_learn"}
    (finding,) = errors_of(report.findings)
    assert "unet.onnx" in finding.hint
    assert "function.missing" in errors(check_keys(changes))


def test_frameworks_without_a_runtime_are_sound_but_unsupported(folder, check_keys):
    (folder / "frozen.pb").write_bytes(b"\x0a\x05graph")
    report = check_keys({"Framework": "TensorFlow", "ModelFile": ".\\frozen.pb"})
    assert errors(report) == {"runtime.unsupported"}
    assert "sound" in report.findings[0].message
    assert "tf2onnx" in report.findings[0].hint


def test_a_pickled_module_is_refused_with_the_way_out(folder, check_keys):
    (folder / "m.pt").write_bytes(b"\x80\x02ctorch.nn.modules.conv\nConv2d\n)\x81.")
    report = check_keys({"ModelFile": "m.pt"})
    assert errors(report) == {"weights.code"}
    assert "state dict" in report.findings[0].hint


def test_machine_code_is_refused_anywhere(folder):
    (folder / "lib").mkdir()
    (folder / "lib" / "ops.so").write_bytes(b"\x7fELF")
    assert errors(dlpk.check(folder)) == {"weights.native_code"}


def test_a_git_lfs_pointer_is_recognised(folder):
    (folder / "net.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    assert errors(dlpk.check(folder)) == {"model_file.git_lfs"}


def test_onnx_must_bring_its_external_data(folder, onnx_bytes):
    import onnx

    model = onnx.load_from_string(onnx_bytes)
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "net.onnx.data"
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    assert errors(dlpk.check(folder)) == {"weights.external_data"}
    (folder / "net.onnx.data").write_bytes(b"0")
    assert dlpk.check(folder).valid
    assert [m.name for m in dlpk.open(folder / "model.emd").members] == ["model.emd", "net.onnx", "net.onnx.data"]


def test_a_model_file_of_other_case_is_found_with_a_warning(folder, check_keys):
    report = check_keys({"ModelFile": "Net.ONNX"})
    assert found(report) == {"model_file.case": Severity.WARNING}
    assert report.package.model_name == "net.onnx"


def test_a_python_function_makes_a_package_code(folder, check_keys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / "finder.py").write_text(FUNCTION)
    (folder / "my_part.py").write_text("")
    report = check_keys({"InferenceFunction": "finder.py", "ModelFile": None, "Framework": None})
    assert report.valid
    assert report.package.holds_code
    assert (report.package.function_class, report.package.function_path) == ("finder", folder / "finder.py")
    assert set(found(report)) == {"function.code", "function.imports", "model_file.missing"}
    text = next(finding.message for finding in report.findings if finding.code == "function.imports")
    assert "no_such_module_anywhere" in text
    assert "my_part" not in text
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("class finder(:", "function.syntax"),
        ("x = 1\0", "function.syntax"),
        ("(" * 500 + ")" * 500, "function.syntax"),
        ("x = 1", "function.class"),
        ("class a:\n def getParameterInfo(s): 0\nclass b(a): 0", "function.class"),
        ("class finder:\n def getParameterInfo(s): 0", "function.class"),
    ],
)
def test_functions_that_cannot_work_are_refused(folder, check_keys, text, code):
    (folder / "finder.py").write_text(text)
    assert code in errors(check_keys({"InferenceFunction": "finder.py"}))


def test_methods_may_come_from_a_base_class(folder, check_keys):
    base = "class Base:\n def getParameterInfo(s): 0\n def updatePixels(s): 0\n"
    (folder / "finder.py").write_text(base + "class finder(Base): 0")
    assert check_keys({"InferenceFunction": "finder.py"}).valid
    (folder / "finder.py").write_text("from there import Base\nclass finder(Base): 0")
    assert check_keys({"InferenceFunction": "finder.py"}).valid


def test_a_declared_output_makes_the_function_unused(folder, check_keys):
    (folder / "finder.py").write_text(FUNCTION)
    extension = {"Output": {"Decoder": "pixels"}}
    for name in ("finder.py", "gone.py"):
        report = check_keys({"InferenceFunction": name, "RasterAnalysis": extension})
        assert found(report) == {"function.ignored": Severity.INFO}
        assert not report.package.runs_function
        assert not report.package.holds_code


@pytest.mark.parametrize("name", ["finder.pyc", "finder.pyd", "finder"])
def test_only_python_source_is_a_function(check_keys, name):
    assert "function.path" in errors(check_keys({"InferenceFunction": name}))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"InferenceFunction": "ArcGISInstanceDetector.py"}, "InstanceDetection"),
        ({"InferenceFunction": "[functions]System\\DeepLearning\\ImageClassifier.py"}, "ImageClassification"),
        ({"ModelConfiguration": {"Name": "FasterRCNN"}}, "ObjectDetection"),
        ({"ModelConfiguration": "_FeatureClassifier"}, "ObjectClassification"),
        ({"InferenceFunction": "finder.py"}, "ObjectDetection"),
    ],
)
def test_a_missing_type_is_inferred_with_a_warning(folder, check_keys, changes, kind):
    (folder / "finder.py").write_text(FUNCTION)
    report = check_keys({**changes, "ModelType": None})
    assert report.definition.model_type == kind
    assert found(report)["emd.model_type"] is Severity.WARNING


def test_a_function_that_takes_rasters_classifies_objects(folder, check_keys):
    (folder / "finder.py").write_text(FUNCTION.replace("return []", "return [{'name': 'rasters'}]"))
    report = check_keys({"InferenceFunction": "finder.py", "ModelType": None})
    assert report.definition.model_type == "ObjectClassification"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("PointCloudClassification", "point clouds"),
        ("ObjectTracking", "video"),
        ("TextClassifier", "text"),
        ("CycleGAN", "translation"),
        ("ObjectDetectoin", "ObjectDetection"),
        ("nonsense", "Known types"),
    ],
)
def test_types_that_are_not_for_rasters_are_refused_by_family(check_keys, name, word):
    report = check_keys({"ModelType": name})
    assert errors(report) == {"emd.model_type"}
    assert word in str(report.findings[0])


@pytest.mark.parametrize(
    ("name", "kind", "warns"),
    [
        ("ClassifyPixels", "ImageClassification", False),
        ("ObjectionDetection", "ObjectDetection", True),
        ("PanopticSegmentation", "PanopticSegmenter", True),
        ("imageclassification", "ImageClassification", True),
    ],
)
def test_spellings_of_types(check_keys, name, kind, warns):
    report = check_keys({"ModelType": name})
    assert report.definition.model_type == kind
    assert ("emd.model_type" in found(report)) == warns


def test_an_unused_big_file_is_mentioned(folder):
    with (folder / "old.onnx").open("wb") as file:
        file.truncate(11 * 2**20)
    assert found(dlpk.check(folder)) == {"package.unused": Severity.INFO}


def test_statistics_cover_the_bands_that_are_used(check_keys):
    stats = {"band_min_values": [0] * 3, "band_max_values": [255] * 3, "scaled_std_values": None}
    assert check_keys({"NormalizationStats": stats}).valid
    assert errors(check_keys({"NormalizationStats": stats, "ExtractBands": [3]})) == {"emd.normalization_stats"}


def test_reports_are_plain_data(check_keys):
    data = json.loads(json.dumps(check_keys({"ImageHeight": 0}).as_dict()))
    assert data["valid"] is False
    assert data["counts"]["error"] == 1
    assert set(data["findings"][0]) == {"code", "severity", "where", "message", "hint"}


def two_dates(first="before", second="after"):
    """Return a network that subtracts one picture of two bands from another."""
    from onnx import TensorProto, helper

    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2, 8, 8]) for n in (first, second)]
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 8, 8])
    graph = helper.make_graph([helper.make_node("Sub", [first, second], ["y"])], "g", inputs, [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_a_network_may_take_two_dates(folder, check_keys):
    (folder / "net.onnx").write_bytes(two_dates())
    assert not check_keys({"ExtractBands": [0, 1, 2, 3]}).findings
    named = {"RasterAnalysis": {"Input": {"Names": ["after", "before"]}}}
    assert not check_keys({"ExtractBands": [0, 1, 2, 3], **named}).findings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ExtractBands": [0, 1, 2]}, "3 bands, which cannot be two dates"),
        ({"RasterAnalysis": {"Input": {"Names": ["before", "later"]}}}, "no input 'later'; it has 'before', 'after'"),
        ({"RasterAnalysis": {"Input": {"Names": ["after", "after"]}}}, "two different tensors"),
        ({"RasterAnalysis": {"Input": {"Name": "x", "Names": ["before", "after"]}}}, "stand without Name"),
        ({"RasterAnalysis": {"Input": {"Name": "before"}}}, "the network has 2 inputs"),
        ({"ModelType": "ObjectClassification"}, "the network has 2 inputs"),
    ],
    ids=["odd", "unknown", "same", "both", "one", "type"],
)
def test_inputs_that_cannot_be_two_dates_are_refused(folder, check_keys, changes, words):
    (folder / "net.onnx").write_bytes(two_dates())
    report = check_keys({"ExtractBands": [0, 1, 2, 3], **changes})
    assert [finding.code for finding in report.findings] == ["runtime.inputs"]
    assert words in report.findings[0].message
