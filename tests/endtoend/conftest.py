"""Packages whose results numpy can tell beforehand, small rasters, the command, and programs to read its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper
from rasterio.enums import ColorInterp

from raster_analysis.cli import main

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
UTM = "EPSG:32616"
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("GDAL_", "OGR_", "CPL_"))}


def pytest_configure(config: pytest.Config) -> None:
    # Onnx's own warning about protobuf is none of ours.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:google")


def save_network(nodes: list, initial: dict[str, Any], entry: Sequence[Any], outputs: list[tuple]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, entry)],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initial.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def cuts_network(cuts: Sequence[float], bands: int) -> bytes:
    """Class k where k of the cuts lie below the sum of the bands.

    Scores are straight lines, k * sum - (the first k cuts), of which line k is the highest between its two cuts;
    all are whole numbers below 2**24, which float32 holds exactly.
    """
    slopes = np.arange(len(cuts) + 1, dtype=np.float32)
    kernel = np.repeat(slopes[:, None], bands, axis=1)[:, :, None, None]
    bias = -np.concatenate([[0], np.cumsum(cuts)]).astype(np.float32)
    node = helper.make_node("Conv", ["x", "kernel", "bias"], ["scores"])
    outputs = [("scores", TensorProto.FLOAT, ["n", len(slopes), "h", "w"])]
    return save_network([node], {"kernel": kernel, "bias": bias}, ["n", bands, "h", "w"], outputs)


def spots_network(level: float, bands: int, tile: int, reach: float) -> bytes:
    """A box around each pixel above `level` in the first band, `reach` pixels beyond it; the score is value / 65535."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["band"], axis=0),
        helper.make_node("Greater", ["band", "level"], ["bright"]),
        helper.make_node("NonZero", ["bright"], ["places"]),
        helper.make_node("Transpose", ["places"], ["rowcol"], perm=[1, 0]),
        helper.make_node("GatherND", ["band", "rowcol"], ["values"]),
        helper.make_node("Mul", ["values", "share"], ["scores"]),
        helper.make_node("Cast", ["rowcol"], ["corner"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["corner", "swap"], ["start"], axis=1),
        helper.make_node("Sub", ["start", "reach"], ["low"]),
        helper.make_node("Add", ["start", "beyond"], ["high"]),
        helper.make_node("Concat", ["low", "high"], ["boxes"], axis=1),
        helper.make_node("Mul", ["values", "nought"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["labels"], to=TensorProto.INT64),
    ]
    initial = {"zero": np.int64(0), "level": np.float32(level), "swap": np.array([1, 0]), "nought": np.float32(0)}
    initial |= {"reach": np.float32(reach), "beyond": np.float32(1 + reach), "share": np.float32(1 / 65535)}
    outputs = [
        ("boxes", TensorProto.FLOAT, ["k", 4]),
        ("scores", TensorProto.FLOAT, ["k"]),
        ("labels", TensorProto.INT64, ["k"]),
    ]
    return save_network(nodes, initial, [bands, tile, tile], outputs)


def outline_network(level: float, tile: int, box: Sequence[float]) -> bytes:
    """One object a tile: its mask is what is above `level`, its box is the same everywhere."""
    nodes = [
        helper.make_node("Greater", ["x", "level"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["flat"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["flat", "front"], ["masks"]),
        helper.make_node("ReduceMax", ["flat"], ["any"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["any", "sure"], ["scores"]),
        helper.make_node("Mul", ["any", "nought"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["labels"], to=TensorProto.INT64),
        helper.make_node("Add", ["nothing", "box"], ["boxes"]),
    ]
    initial = {"level": np.float32(level), "front": np.array([0]), "sure": np.float32(0.9), "nought": np.float32(0)}
    initial |= {"box": np.array([box], np.float32)}
    outputs = [
        ("boxes", TensorProto.FLOAT, [1, 4]),
        ("scores", TensorProto.FLOAT, [1]),
        ("labels", TensorProto.INT64, [1]),
        ("masks", TensorProto.FLOAT, [1, 1, tile, tile]),
    ]
    return save_network(nodes, initial, [1, tile, tile], outputs)


def write_package(folder: Path, network: bytes, **keys: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(network)
    definition = {"Framework": "ONNX", "ModelFile": "model.onnx", "ImageHeight": 64, "ImageWidth": 64} | keys
    (folder / "model.emd").write_text(json.dumps(definition))
    return folder


@pytest.fixture(scope="session")
def make_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a package; its class is 10 and 10 for each cut below the sum of the bands."""

    def make(cuts: Sequence[float], bands: int = 1, **keys: Any) -> Path:
        values = range(10, 10 * len(cuts) + 20, 10)
        classes = [{"Value": v, "Name": f"level {v}", "Color": [v, 255 - v, 7]} for v in values]
        return write_package(
            tmp_path_factory.mktemp("classifier") / "cuts",
            cuts_network(cuts, bands),
            ModelName="Cuts",
            ModelType="ImageClassification",
            ExtractBands=list(range(bands)),
            SupportsVariableTileSize=True,
            Classes=classes,
            **{
                "RasterAnalysis": {
                    "Version": 1,
                    "Input": {"Scale": 1.0},
                    "Output": {"Decoder": "pixels", "Activation": "softmax"},
                },
                **keys,
            },
        )

    return make


@pytest.fixture(scope="session")
def make_detector(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that writes a package which finds the pixels above `level` in the first band."""

    def make(level: float, bands: int = 1, *, tile: int = 64, reach: float = 0, **keys: Any) -> Path:
        extension = {"Version": 1, "Input": {"Scale": 1.0}, "Output": {"Decoder": "boxes"}}
        return write_package(
            tmp_path_factory.mktemp("detector") / "spots",
            spots_network(level, bands, tile, reach),
            ModelName="Spots",
            ModelType="ObjectDetection",
            ExtractBands=list(range(bands)),
            Classes=[{"Value": 1, "Name": "spot", "Color": [255, 0, 0]}],
            RasterAnalysis=extension,
            **{"ImageHeight": tile, "ImageWidth": tile, "Threshold": 0.0, **keys},
        )

    return make


@pytest.fixture
def outliner(tmp_path: Path) -> Path:
    """A package that outlines what is above 100, with tiles of 64 pixels and the box 10, 12, 30, 33."""
    return write_package(
        tmp_path / "outliner",
        outline_network(100, 64, (10, 12, 30, 33)),
        ModelName="Outlines",
        ModelType="ObjectDetection",
        ExtractBands=[0],
        Padding=0,
        Classes=[{"Value": 1, "Name": "blob"}],
        RasterAnalysis={"Version": 1, "Input": {"Scale": 1.0}, "Output": {"Decoder": "masks"}},
    )


@pytest.fixture(scope="session")
def classifier(make_classifier: Callable[..., Path]) -> Path:
    return make_classifier([60, 120, 200], Padding=4)


@pytest.fixture(scope="session")
def detector(make_detector: Callable[..., Path]) -> Path:
    return make_detector(250, tile=64)


def write_raster(path: Path, data: np.ndarray, **profile: Any) -> Path:
    """Write `(bands, rows, cols)` as a tiled GeoTIFF of 2 m cells."""
    count, height, width = data.shape
    profile = {
        "crs": UTM,
        "transform": Affine.translation(500_000, 4_000_000) @ Affine.scale(2, -2),
        "nodata": None,
        **profile,
    }
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=data.dtype, tiled=True,
        blockxsize=128, blockysize=128, **profile,
    ) as dataset:  # fmt: skip
        dataset.write(data)
        if count == 1:
            dataset.colorinterp = (ColorInterp.gray,)
    return path


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """One band of 8 bits, 280 x 300, with about 330 pixels above 250 ... 255."""
    return np.random.default_rng(3).integers(0, 256, (1, 280, 300)).astype(np.uint8)


@pytest.fixture
def raster(tmp_path: Path, noise: np.ndarray) -> Path:
    return write_raster(tmp_path / "scene.tif", noise)


@pytest.fixture(scope="session")
def make_raster() -> Callable[..., Path]:
    return write_raster


@pytest.fixture
def command() -> Callable[..., Result]:
    """Return a function that runs `raster-analysis` in this process."""

    def run(*arguments: object) -> Result:
        # The command pins GDAL's variables for its own process; this one goes on to start others.
        with mock.patch.dict(os.environ):
            return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@dataclass(frozen=True)
class Finished:
    exit_code: int
    stdout: str
    stderr: str


def program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "raster_analysis", *map(str, arguments)]


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Finished]:
    """Return a function that runs `raster-analysis` as a program, in the test's folder."""

    def run(*arguments: object, **options: Any) -> Finished:
        ended = subprocess.run(
            program(*arguments), capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False, **options
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts `raster-analysis` as a program."""

    def begin(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            program(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    return begin


def read_with(name: str, *arguments: object) -> str:
    """Return what one of GDAL's own programs prints; it must not find an error."""
    if shutil.which(name) is None:
        if os.environ.get("RASTER_ANALYSIS_TEST_EVERYTHING"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    ended = subprocess.run([name, *map(str, arguments)], capture_output=True, text=True, check=True, env=CLEAN)
    assert "ERROR" not in ended.stderr, ended.stderr
    return ended.stdout


@pytest.fixture(scope="session")
def gdalinfo() -> Callable[[Path], Any]:
    return lambda path: json.loads(read_with("gdalinfo", "-json", path))


@pytest.fixture(scope="session")
def ogrinfo() -> Callable[[Path], str]:
    # Its -json came with GDAL 3.7, later than the Debian of these days has it.
    return lambda path: read_with("ogrinfo", "-al", "-so", path)


def listing(folder: Path) -> dict[str, int]:
    """Return everything below a folder, hidden files too, with sizes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="session")
def list_all() -> Callable[[Path], dict[str, int]]:
    return listing


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real rasters beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("there is no folder of shared rasters beside this checkout")
    return SHARED
