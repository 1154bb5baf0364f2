"""What cannot be used is refused in words, and nothing is left behind."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest

import dlpk.build
import raster_analysis
from raster_analysis.errors import BudgetError, InputError, RasterAnalysisError

VRT = """<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename>/etc/passwd</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture
def refused(out, list_all):
    """Run a function that must raise, see that it left nothing in the output folder, and give its message."""

    @contextmanager
    def watch(kind: type[RasterAnalysisError] = InputError):
        before, said = list_all(out), []
        with pytest.raises(kind) as raised:
            yield said
        said.append(str(raised.value))
        assert list_all(out) == before
        assert str(out) not in said[0].replace(repr(str(out / "o.tif")), "")

    return watch


def damaged(make_raster, noise, tmp_path, how):
    path = tmp_path / "damaged.tif"
    if how == "vrt":
        path.write_text(VRT)
    elif how == "empty":
        path.touch()
    elif how == "text":
        path.write_text("not a raster at all\n" * 20)
    elif how == "header only":
        make_raster(path, noise)
        path.write_bytes(path.read_bytes()[:300])
    elif how == "truncated":
        make_raster(path, noise)
        path.write_bytes(path.read_bytes()[:40_000])
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("vrt", "'damaged.tif' is a VRT"),
        ("empty", "'damaged.tif' is empty"),
        ("text", "raster 'damaged.tif' is"),
        ("header only", "'damaged.tif'"),
        ("truncated", "'damaged.tif'"),
        ("folder", "folder 'damaged.tif' holds no raster"),
    ],
)
def test_a_damaged_raster_is_named(make_raster, noise, classifier, tmp_path, out, refused, how, words):
    path = damaged(make_raster, noise, tmp_path, how)
    with refused() as said:
        raster_analysis.classify_pixels(path, classifier, out / "o.tif")
    assert words in said[0]
    assert "root:" not in said[0]


def test_a_raster_with_too_few_bands_is_told_both_numbers(raster, make_classifier, out, refused):
    with refused() as said:
        raster_analysis.classify_pixels(raster, make_classifier([100], 4), out / "o.tif")
    assert "raster 'scene.tif' has 1 data band" in said[0]
    assert "bands 0, 1, 2, 3 are wanted" in said[0]


def test_a_raster_without_a_system_is_refused_with_the_way_out(make_raster, noise, classifier, out, refused):
    path = make_raster(out.parent / "plain.tif", noise, crs=None)
    with refused() as said:
        raster_analysis.classify_pixels(path, classifier, out / "o.tif")
    assert "'plain.tif' has no coordinate reference system; assign one" in said[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x05\x06" + bytes(18), ""),
        (b"%PDF-1.7 a report", "want a ZIP archive (.dlpk), a folder or a model definition (.emd)"),
        (b"PK\x03\x04 half an archive", ""),
        (b'{"Framework": "ONNX"}', ""),
        (b'{"Framework": ', ""),
    ],
    ids=["empty", "empty archive", "pdf", "half an archive", "emd without a model", "half an emd"],
)
def test_what_is_no_package_is_refused(raster, tmp_path, out, refused, content, words):
    model = tmp_path / ("model.emd" if content.startswith(b"{") else "model.dlpk")
    model.write_bytes(content)
    with refused() as said:
        raster_analysis.classify_pixels(raster, model, out / "o.tif")
    assert words in said[0]
    assert len(said[0]) > 20
    assert str(tmp_path) not in said[0]


def test_a_network_that_is_none_is_refused(raster, classifier, tmp_path, out, refused):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.emd").write_bytes((classifier / "model.emd").read_bytes())
    (folder / "model.onnx").write_bytes(b"\x08\x07 no network")
    with refused() as said:
        raster_analysis.classify_pixels(raster, folder, out / "o.tif")
    assert str(tmp_path) not in said[0]


def test_code_in_a_package_is_not_run(raster, classifier, tmp_path, out, refused):
    folder, trace = tmp_path / "code", tmp_path / "ran"
    folder.mkdir()
    definition = json.loads((classifier / "model.emd").read_text()) | {"InferenceFunction": "run.py"}
    definition.pop("RasterAnalysis")
    (folder / "model.emd").write_text(json.dumps(definition))
    (folder / "model.onnx").write_bytes((classifier / "model.onnx").read_bytes())
    code = f"open({str(trace)!r}, 'w')"
    (folder / "run.py").write_text(f"{code}\nclass run:\n    def getParameterInfo(self):\n        return []\n")
    with refused() as said:
        raster_analysis.classify_pixels(raster, folder, out / "o.tif")
    assert "run.py" in said[0]
    assert not trace.exists()


def test_work_that_does_not_fit_is_refused_with_both_figures(raster, classifier, out, refused, monkeypatch):
    monkeypatch.setenv("RASTER_ANALYSIS_MEMORY_LIMIT", "2MB")
    with refused(BudgetError) as said:
        raster_analysis.classify_pixels(raster, classifier, out / "o.tif", tile_size=1024, batch_size=8)
    assert "2 MB are allowed" in said[0]


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "tif"])
def test_a_full_disk_leaves_nothing(make_raster, make_detector, make_classifier, tmp_path, out, list_all, suffix):
    """The program may write files of up to 12 KB; every result is larger than that."""
    data = np.random.default_rng(1).integers(0, 65_000, (1, 256, 256)).astype(np.uint16)
    raster = make_raster(tmp_path / "noise.tif", data)
    task = "classify" if suffix == "tif" else "detect"
    model = make_classifier(range(1000, 60_000, 1000)) if suffix == "tif" else make_detector(60_000)

    ended = run_with_small_files(task, raster, model, out / f"o.{suffix}")
    assert ended.returncode == 1, ended.stderr
    assert "could not be written" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list_all(out) == {}


def test_a_full_disk_below_the_unpacked_package_is_told(raster, classifier, tmp_path, out, list_all):
    package = tmp_path / "cuts.dlpk"
    dlpk.build.build(classifier, package)
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("notes.txt", bytes(20_000))
    ended = run_with_small_files("classify", raster, package, out / "o.tif")
    assert (ended.returncode, ended.stderr) == (2, "error: package 'cuts.dlpk' could not be unpacked: File too large\n")
    assert list_all(out) == {}


def run_with_small_files(*arguments: object) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    return subprocess.run(
        [sys.executable, "-m", "raster_analysis", *map(str, arguments)],
        preexec_fn=limit, capture_output=True, text=True, check=False,
        env={**os.environ, "RASTER_ANALYSIS_THREADS": "1"},
    )  # fmt: skip
