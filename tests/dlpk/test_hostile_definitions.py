"""Cases P19 to P24: definitions that must be refused with the field named."""

from __future__ import annotations

import codecs
import json
import time

import pytest

import dlpk
from dlpk.findings import Severity, errors_of


def codes_of(report):
    return {finding.code for finding in errors_of(report.findings)}


def places_of(report):
    return {finding.where for finding in errors_of(report.findings)}


@pytest.fixture
def check_text(folder):
    def check(data):
        (folder / "model.emd").write_bytes(data)
        return dlpk.check(folder)

    return check


def test_p19_a_huge_definition_is_refused_unread(check_text):
    data = b'{"Description": "' + b"x" * 100_000_000 + b'"}'
    started = time.process_time()
    assert codes_of(check_text(data)) == {"emd.size"}
    assert time.process_time() - started < 1


def test_p19_deep_nesting_is_refused(check_text):
    started = time.process_time()
    assert codes_of(check_text(b"[" * 100_000 + b"]" * 100_000)) == {"emd.depth"}
    assert codes_of(check_text(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}")) == {"emd.depth"}
    assert time.process_time() - started < 1


def test_p19_nesting_of_64_levels_is_accepted(folder, keys):
    keys["Deep"] = json.loads("[" * 63 + "1" + "]" * 63)
    (folder / "model.emd").write_text(json.dumps(keys))
    assert dlpk.check(folder).valid


def test_p19_numbers_of_thousands_of_digits_are_refused(check_text):
    assert codes_of(check_text(b'{"BatchSize": ' + b"9" * 5_000 + b"}")) == {"emd.number"}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_p20_numbers_that_are_not_finite_are_refused(check_text, number):
    report = check_text(b'{\n  "Threshold": ' + number + b"\n}")
    assert codes_of(report) == {"emd.number"}
    assert report.findings[0].where.startswith("model.emd:2:")


def test_p20_duplicate_keys_are_refused_with_their_place(check_text):
    report = check_text(b'{"ModelFile": "a",\n "ModelFile": "b"}')
    assert codes_of(report) == {"emd.duplicate_key"}
    assert report.findings[0].where == "model.emd:2:2"
    assert "'ModelFile'" in report.findings[0].message


def test_p20_lone_surrogates_are_refused_and_pairs_are_not(check_text, keys):
    assert codes_of(check_text(b'{"ModelName": "\\ud800"}')) == {"emd.text"}
    assert codes_of(check_text(b'{"\\udfff": 1}')) == {"emd.text"}
    text = json.dumps({**keys, "ModelName": "\U0001f333"})
    assert "\\ud83c" in text
    assert check_text(text.encode()).valid


def test_p20_other_encodings_are_refused(check_text):
    text = '{"ModelName": "Bäume"}'
    assert codes_of(check_text(text.encode("utf-16"))) == {"emd.encoding"}
    assert codes_of(check_text(text.encode("utf-16-le"))) == {"emd.encoding"}
    assert codes_of(check_text(text.encode("utf-32-be"))) == {"emd.encoding"}
    report = check_text(text.encode("latin-1"))
    assert codes_of(report) == {"emd.encoding"}
    assert report.findings[0].where == "model.emd:1:17"


def test_p20_a_byte_order_mark_and_windows_lines_are_accepted(check_text, keys):
    text = json.dumps(keys, indent=2).replace("\n", "\r\n").encode()
    assert check_text(codecs.BOM_UTF8 + text).valid


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"null", b"3"])
def test_a_definition_that_is_no_object_is_refused(check_text, data):
    assert codes_of(check_text(data)) == {"emd.json"}


@pytest.mark.parametrize(
    "reference",
    [
        "../../secret",
        "..\\secret",
        "a/../../secret",
        "/etc/passwd",
        "C:\\weights\\net.onnx",
        "\\\\server\\share\\net.onnx",
        "https://example.org/net.onnx",
        "/vsicurl/https://example.org/net.onnx",
        "file:///etc/passwd",
        "net.onnx\0.txt",
    ],
)
def test_p21_references_out_of_the_package_are_refused(check_keys, reference):
    report = check_keys({"ModelFile": reference})
    assert codes_of(report) == {"model_file.path"}
    assert places_of(report) == {"model.emd: ModelFile"}
    report = check_keys({"InferenceFunction": reference + "/f.py"})
    assert codes_of(report) == {"function.path"}


@pytest.mark.parametrize("bands", [[-1], [10**9], [0, 0], [], [1.5], [True], "0,1", ["Rad"], [0, "Red"], [None]])
def test_p22_impossible_bands_are_refused(check_keys, bands):
    report = check_keys({"ExtractBands": bands})
    assert codes_of(report) == {"emd.extract_bands"}
    assert places_of(report) == {"model.emd: ExtractBands"}


@pytest.mark.parametrize("size", [0, -5, 10**9, "256", 8.5, True, [8]])
@pytest.mark.parametrize("key", ["ImageHeight", "ImageWidth"])
def test_p22_impossible_tiles_are_refused(check_keys, key, size):
    report = check_keys({key: size})
    assert codes_of(report) == {"emd.image_size"}
    assert places_of(report) == {f"model.emd: {key}"}


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("Framework", "emd.framework"),
        ("ImageHeight", "emd.image_size"),
        ("ExtractBands", "emd.extract_bands"),
        ("Classes", "emd.classes"),
        ("ModelFile", "model_file.missing"),
        ("ModelType", "emd.model_type"),
    ],
)
@pytest.mark.parametrize("value", [None, "", " "])
def test_p22_missing_keys_are_named(check_keys, key, code, value):
    if key in {"ImageHeight", "ExtractBands", "Classes"} and value is not None:
        value = []
    report = check_keys({key: value})
    assert code in codes_of(report)
    assert f"model.emd: {key}" in places_of(report)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("DataRange", [1, 0], "emd.data_range"),
        ("DataRange", [0, 0], "emd.data_range"),
        ("DataRange", "0..1", "emd.data_range"),
        ("BatchSize", 0, "emd.batch_size"),
        ("BatchSize", "4", "emd.batch_size"),
        ("ModelPadding", -1, "emd.model_padding"),
        ("ModelPadding", 4, "emd.model_padding"),
        ("Threshold", 1.5, "emd.value"),
        ("CropSizeFixed", 2, "emd.value"),
        ("BlackenAroundFeature", [], "emd.value"),
        ("ModelName", 7, "emd.value"),
        ("ModelConfiguration", [1], "emd.model_configuration"),
        ("NormalizationStats", [], "emd.normalization_stats"),
        ("NormalizationStats", {"band_min_values": [0, 0]}, "emd.normalization_stats"),
        (
            "NormalizationStats",
            {"band_min_values": [0, 5, 0], "band_max_values": [1, 5, 1]},
            "emd.normalization_stats",
        ),
        ("NormalizationStats", {"band_min_values": [9] * 3, "band_max_values": [1] * 3}, "emd.normalization_stats"),
        ("NormalizationStats", {"scaled_std_values": [1, -1, 1]}, "emd.normalization_stats"),
        ("RasterAnalysis", {"Output": {"Decoder": "magic"}}, "emd.extension"),
        ("RasterAnalysis", {"Input": {"Scale": 1, "Sclae": 1}}, "emd.extension"),
    ],
)
def test_p22_values_out_of_bounds_are_refused(check_keys, key, value, code):
    report = check_keys({key: value})
    assert codes_of(report) == {code}
    assert all(where.startswith(f"model.emd: {key}") for where in places_of(report))


def test_all_faults_are_reported_at_once(check_keys):
    report = check_keys({"ImageHeight": 0, "ExtractBands": [-1], "BatchSize": 0, "ModelFile": "/x"})
    assert codes_of(report) == {"emd.image_size", "emd.extract_bands", "emd.batch_size", "model_file.path"}


def test_p23_a_million_classes_are_refused(check_text, keys):
    keys["Classes"] = [{"Value": 0, "Name": "a"}] * 400_000
    started = time.process_time()
    report = check_text(json.dumps(keys).encode())
    assert codes_of(report) == {"emd.classes"}
    assert "400000" in report.findings[0].message
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "classes",
    [
        [{"Value": 1, "Name": "a"}, {"Value": 1, "Name": "b"}],
        [{"Value": "1", "Name": "a"}],
        [{"Value": 1.5, "Name": "a"}],
        [{"Value": 2**40, "Name": "a"}],
        [{"Value": True, "Name": "a"}],
        [{"Value": 1}],
        [{"Value": 1, "Name": ""}],
        [{"Value": 1, "Name": "a\u202eb"}],
        [{"Value": 1, "Name": "x" * 300}],
        ["a"],
        {"1": "a"},
        [],
    ],
)
def test_p23_faulty_class_tables_are_refused(check_keys, classes):
    assert codes_of(check_keys({"Classes": classes})) == {"emd.classes"}


def test_p23_markup_in_class_names_is_kept_as_data(check_keys):
    report = check_keys({"Classes": [{"Value": 0, "Name": "<script>alert(1)</script>", "Color": [0, 0, 0]}]})
    assert report.valid
    assert report.definition.classes[0].name == "<script>alert(1)</script>"


def test_p23_oddities_of_classes_only_warn(check_keys):
    report = check_keys(
        {"Classes": [{"ClassValue": 1, "ClassName": "a"}, {"Value": 2, "Name": "a", "Color": [-1] * 3}]}
    )
    assert report.valid
    assert {finding.code for finding in report.findings} == {"emd.class_alias", "emd.class_color", "emd.class_name"}
    assert [(entry.value, entry.color) for entry in report.definition.classes] == [(1, None), (2, None)]


def test_p24_two_definitions_are_refused(folder):
    (folder / "other.EMD").write_text("{}")
    assert codes_of(dlpk.check(folder)) == {"emd.ambiguous"}


def test_p24_no_definition_is_refused(folder):
    (folder / "model.emd").unlink()
    assert codes_of(dlpk.check(folder)) == {"emd.missing"}


def test_p24_a_package_in_one_folder_is_accepted_with_a_warning(tmp_path, folder):
    outer = tmp_path / "outer"
    (outer / "esriinfo").mkdir(parents=True)
    (outer / "esriinfo" / "iteminfo.xml").write_text("<a/>")
    digest = dlpk.open(folder).digest
    folder.rename(outer / "inner")
    package = dlpk.open(outer)
    assert [finding.code for finding in package.findings] == ["zip.top_folder"]
    assert package.digest == digest
    assert package.model_path == outer / "inner" / "net.onnx"
    unpacked = dlpk.open(package.extract(tmp_path / "out"))
    assert (unpacked.digest, unpacked.findings) == (digest, ())


def test_p24_a_definition_below_two_folders_is_refused(tmp_path, folder):
    (tmp_path / "outer" / "middle").mkdir(parents=True)
    folder.rename(tmp_path / "outer" / "middle" / "inner")
    assert codes_of(dlpk.check(tmp_path / "outer")) == {"emd.place"}


def test_p24_further_definitions_below_the_root_are_ignored_with_a_warning(folder):
    (folder / "training").mkdir()
    (folder / "training" / "esri_model_definition.emd").write_text("{}")
    report = dlpk.check(folder)
    assert report.valid
    assert [(finding.code, finding.severity) for finding in report.findings] == [("emd.extra", Severity.WARNING)]
