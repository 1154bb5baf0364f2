"""Asks a test server as one user, runs its jobs, and makes packages to upload."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from starlette.testclient import TestClient

from raster_analysis.app import Rooms

BASE_URL = "https://gis.example.org:8443"
PASSWORD = "correct horse battery"
TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
SHARING = "/portal/sharing/rest"
CONTENT = f"{SHARING}/content"
MINE = f"{CONTENT}/users/alice"
INACCESSIBLE = "Item does not exist or is inaccessible."

Headers = dict[str, str]


class Asker:
    """Posts forms as one user, or as nobody; every resource takes them, reading ones too (contract 1.13)."""

    def __init__(self, client: TestClient, headers: Headers | None = None) -> None:
        self.client = client
        self.headers = headers or {}

    def __call__(self, path: str, files: Any = None, **form: object) -> dict[str, Any]:
        answer = self.client.post(path, data={"f": "json", **form}, files=files, headers=self.headers)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert "www-authenticate" not in answer.headers
        return answer.json()  # type: ignore[no-any-return]

    def get(self, path: str, **query: object) -> Any:
        """Return the answer to a GET."""
        return self.client.get(path, params={"f": "json", **query}, headers=self.headers)

    def error(self, path: str, files: Any = None, **form: object) -> tuple[int, str]:
        """Return code and message of a form that is refused."""
        told = self(path, files, **form)["error"]
        return told["code"], told["message"]

    def add(self, title: str, files: Any = None, path: str = f"{MINE}/addItem", **form: object) -> str:
        """Add an item and return its id."""
        answer = self(path, files, **{"type": "PDF", "title": title, **form})
        assert answer["success"] is True, answer
        return str(answer["id"])


class Toolbox:
    """Submits jobs over HTTP and waits for their end."""

    def __init__(self, client: TestClient, rooms: Rooms, headers: dict[str, str]) -> None:
        self.client = client
        self.rooms = rooms
        self.headers = headers

    def submit(self, task: str, **form: object) -> str:
        answer = self.client.post(f"{TOOLBOX}/{task}/submitJob", data={"f": "json", **form}, headers=self.headers)
        return str(answer.json()["jobId"])

    def finish(self, task: str, job_id: str) -> dict[str, object]:
        self.rooms.dispatcher.wait(job_id, 20)
        return self.get(f"{task}/jobs/{job_id}").json()  # type: ignore[no-any-return]

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"{TOOLBOX}/{path}", params={"f": "json"}, headers=self.headers)


def make_package(class_name: str, padding: int = 0) -> bytes:
    """Return a package that every check accepts; `padding` bytes of noise make it as large as wanted."""
    noise = np.random.default_rng(0).integers(0, 256, padding, dtype=np.uint8).tobytes()
    weights = numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 64, 64])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    definition = {
        "Framework": "ONNX", "ModelType": "ImageClassification", "ModelConfiguration": "tiny", "ModelFile": "tiny.onnx",
        "ImageHeight": 64, "ImageWidth": 64, "ExtractBands": [0, 1, 2],
        "Classes": [{"Value": 1, "Name": class_name, "Color": [0, 200, 0]}],
        "RasterAnalysis": {"Output": {"Decoder": "pixels"}},
    }  # fmt: skip
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tiny.emd", json.dumps(definition))
        archive.writestr("tiny.onnx", model.SerializeToString())
        if noise:
            archive.writestr("noise.txt", noise)
    return content.getvalue()
