from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from argon2 import PasswordHasher
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.users import Role, User

sys.path.insert(0, str(Path(__file__).parent))

MakePackage = Callable[..., Path]

BASE_URL = "https://gis.example:8443"


class Time:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def portal(tmp_path: Path, store: Path, time: Time) -> Iterator[Portal]:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    settings = Settings(tmp_path / "data", BASE_URL, {"images": store})
    portal = Portal(settings, hasher=cheap, clock=time)
    yield portal
    portal.close()


@pytest.fixture
def alice(portal: Portal) -> User:
    return portal.users.add("alice", "correct horse", Role.PUBLISHER)


@pytest.fixture
def bob(portal: Portal) -> User:
    return portal.users.add("bob", "battery staple", Role.PUBLISHER)


@pytest.fixture
def vera(portal: Portal) -> User:
    return portal.users.add("vera", "only looking", Role.VIEWER)


@pytest.fixture
def root(portal: Portal) -> User:
    return portal.users.add("root", "administrator", Role.ADMINISTRATOR)


@pytest.fixture(scope="session")
def network() -> bytes:
    """One 1 x 1 convolution from three bands to two classes, as ONNX."""
    weights = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    shape = ["n", 3, 64, 64]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 64, 64])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture
def make_package(tmp_path: Path, network: bytes) -> MakePackage:
    """Write a package that every check accepts; another class name gives another digest."""

    def make(class_name: str = "tree", folder: Path = tmp_path / "made") -> Path:
        folder.mkdir(exist_ok=True)
        definition = {
            "Framework": "ONNX",
            "ModelType": "ImageClassification",
            "ModelConfiguration": "tiny",
            "ModelFile": "tiny.onnx",
            "ImageHeight": 64,
            "ImageWidth": 64,
            "ExtractBands": [0, 1, 2],
            "Classes": [{"Value": 1, "Name": class_name, "Color": [0, 200, 0]}],
            "RasterAnalysis": {"Output": {"Decoder": "pixels"}},
        }
        path = folder / f"{class_name}.dlpk"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tiny.emd", json.dumps(definition))
            archive.writestr("tiny.onnx", network)
        return path

    return make


@pytest.fixture
def make_raster() -> Callable[[Path], Path]:
    """Write a small GeoTIFF."""

    def make(path: Path) -> Path:
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(path, format="TIFF")
        return path

    return make
