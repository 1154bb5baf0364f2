"""Installing, written-out models, lists of stores and accuracy, over REST and with real workers."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import onnx
import pytest
from live_server import LiveServer

import dlpk
from raster_analysis.errors import JobError
from raster_analysis.rest_client import RestClient

Document = dict[str, Any]
SCENE = "/rasterStores/s/scene.tif"


@pytest.fixture(scope="module")
def detector(server: LiveServer) -> str:
    form = {"modelLocation": "/fileShares/s/detector.dlpk", "outputName": {"name": "Model tools detector"}}
    return str(server.client("ann").run("PublishDeepLearningModel", form)["outItem"]["itemId"])


@pytest.fixture(scope="module")
def found(server: LiveServer, detector: str) -> Document:
    form = {"inputRaster": SCENE, "model": {"itemId": detector}, "outputObjects": "to_be_judged"}
    return dict(server.client("ann").run("DetectObjectsUsingDeepLearning", form)["outObjects"])


def test_a_model_is_installed_and_uninstalled_as_clients_do_it(client: RestClient, detector: str) -> None:
    def installed() -> bool:
        models = client.run("ListDeepLearningModels", {})["deepLearningModels"]
        return next(bool(model["installed"]) for model in models if model["id"] == detector)

    assert not installed()
    where = client.run("InstallDeepLearningModel", {"modelPackage": {"itemId": detector}})["installSucceed"]
    assert where.startswith(f"[resources]models\\raster\\{detector}\\")
    assert where.endswith(".emd")
    assert installed()
    described = client.run("QueryDeepLearningModelInfo", {"model": {"itemId": detector}})["outModelInfo"]
    assert json.loads(described["modelInfo"])["Installed"] is True
    assert client.run("UninstallDeepLearningModel", {"modelItemId": {"itemId": detector}}) == {
        "uninstallSucceed": detector
    }
    assert not installed()
    with pytest.raises(JobError, match="is not installed by user 'ann'"):
        client.run("UninstallDeepLearningModel", {"modelItemId": {"itemId": detector}})


def test_a_definition_written_out_runs(server: LiveServer, client: RestClient, tmp_path: Path) -> None:
    package = dlpk.open(server.store / "tiny.dlpk")
    package.extract(tmp_path / "tiny")
    (network,) = (tmp_path / "tiny").glob("*.onnx")
    onnx.save(onnx.load(network), server.store / "written.onnx")
    (emd,) = (tmp_path / "tiny").glob("*.emd")
    definition = {**json.loads(emd.read_text()), "ModelFile": "/rasterStores/s/written.onnx"}
    form = {"inputRaster": SCENE, "outputClassifiedRaster": "by_definition", "model": definition}
    value = client.run("ClassifyPixelsUsingDeepLearning", form)["outRaster"]
    assert client.item(value["itemId"])["type"] == "Image Service"
    with pytest.raises(JobError, match=r"ModelFile 'written\.onnx' is relative"):
        client.run("ClassifyPixelsUsingDeepLearning", {**form, "model": {**definition, "ModelFile": "written.onnx"}})


def test_stores_are_listed(client: RestClient) -> None:
    form = {"dataStoreName": "/rasterStores/s", "filter": "*.dlpk"}
    assert client.run("ListDatastoreContent", form)["contentList"]["contentList"] == [
        "broken.dlpk", "detector.dlpk", "labels.dlpk", "landcover.dlpk", "objects.dlpk", "slow.dlpk",
        "tiny.dlpk",
    ]  # fmt: skip
    assert "folder/" in client.run("ListDatastoreContent", {"dataStoreName": "s"})["contentList"]["contentList"]
    for place in ("nowhere", "/rasterStores/s/..", "/etc", "/rasterStores/s/scene.tif"):
        with pytest.raises(JobError):
            client.run("ListDatastoreContent", {"dataStoreName": place})


def test_detections_judged_against_themselves_are_perfect(client: RestClient, found: Document, tmp_path: Path) -> None:
    layer = {"url": f"{found['url']}/0"}
    form = {"detectedFeatures": layer, "groundTruthFeatures": layer, "outAccuracyTableName": {"name": "perfect"}}
    value = client.run("ComputeAccuracyforObjectDetection", {**form, "outAccuracyReportName": {"name": "Perfect"}})
    assert list(value) == ["outAccuracyTable", "outAccuracyReport"]
    table, report = (client.item(value[name]["itemId"]) for name in value)
    assert (table["type"], report["type"]) == ("Feature Service", "Document Link")
    with sqlite3.connect(client.download(table["id"], tmp_path / "perfect.gpkg")) as connection:
        rows = connection.execute("SELECT Class, Precision, Recall, AP, AP_50_95 FROM perfect").fetchall()
    connection.close()
    assert {name for name, *_ in rows} >= {"All"}
    assert {figures for _, *figures_ in rows for figures in figures_} == {1.0}
    assert "<svg" in client.download(report["id"], tmp_path / "report.html").read_text()


def test_without_a_report_its_result_is_there_and_null(client: RestClient, found: Document) -> None:
    layer = json.dumps({"itemId": found["itemId"]})
    form = {"detectedFeatures": layer, "groundTruthFeatures": layer, "outAccuracyTableName": "unreported"}
    value = client.run("ComputeAccuracyforObjectDetection", {**form, "minIoU": "0.5", "outAccuracyReportName": ""})
    assert value["outAccuracyReport"] is None
    assert value["outAccuracyTable"].keys() == {"itemId", "url"}


def test_the_table_is_queried_like_any_table_service(client: RestClient, found: Document) -> None:
    layer = {"url": f"{found['url']}/0"}
    form = {"detectedFeatures": layer, "groundTruthFeatures": layer, "outAccuracyTableName": "asked"}
    url = client.run("ComputeAccuracyforObjectDetection", form)["outAccuracyTable"]["url"]
    service = client.get(url)
    assert (service["layers"], [table["id"] for table in service["tables"]]) == ([], [0])
    assert client.get(f"{url}/0")["type"] == "Table"
    rows = client.get(f"{url}/0/query", {"where": "Class = 'All'", "outFields": "*"})["features"]
    assert [row["attributes"]["Precision"] for row in rows] == [1.0]
