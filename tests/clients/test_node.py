"""`@esri/arcgis-rest-request`, the JavaScript client of the REST API, unmodified under node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from live_server import PASSWORD
from served import SCENE, Results, find_program, missing

HERE = Path(__file__).parent / "node"
DETECT = {"inputRaster": {"uri": SCENE}, "model": {"uri": "/fileShares/s/detector.dlpk"}}


def run_job(results: Results, task: str, output: str, parameters: dict[str, object]) -> dict[str, Any]:
    node = find_program("node")
    if not (HERE / "node_modules").is_dir():
        missing(f"the client is not installed: npm install --prefix {HERE.relative_to(Path(__file__).parents[2])}")
    command = [node, "run_job.mjs", results.server.url, "ann", task, output, json.dumps(parameters)]
    environment = {**os.environ, "PASSWORD": PASSWORD}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_a_javascript_client_signs_in_submits_polls_and_opens_the_result(results: Results) -> None:
    parameters = DETECT | {"outputObjects": {"serviceProperties": {"name": "from_node"}}}
    ended = run_job(results, "DetectObjectsUsingDeepLearning", "outObjects", parameters)
    assert (ended["user"], ended["token"], ended["status"]) == ("ann", True, "Succeeded")
    assert ended["result"]["paramName"] == "outObjects"
    assert ended["result"]["value"]["url"].endswith("/Hosted/from_node/FeatureServer")
    assert ended["layer"]["serviceItemId"] == ended["result"]["value"]["itemId"]


def test_a_javascript_client_learns_why_a_job_failed(results: Results) -> None:
    parameters = {"inputRaster": {"uri": "/rasterStores/s/none.tif"}, "outputObjects": "x", "model": "none"}
    ended = run_job(results, "DetectObjectsUsingDeepLearning", "outObjects", parameters)
    assert (ended["failed"], ended["status"]) == ("ArcGISJobError", "Failed")
    assert any("none.tif" in message["description"] for message in ended["messages"])


@pytest.mark.parametrize("task", ["ListDeepLearningModels"])
def test_a_javascript_client_lists_models(results: Results, task: str) -> None:
    ended = run_job(results, task, "deepLearningModels", {})
    assert ended["result"]["value"] == []
