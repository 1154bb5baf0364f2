"""Detection, classification and the smaller tools over REST: results, messages, progress, faults, rights, cancel."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.warp
from live_server import LiveServer, job_id, until
from rio_cogeo.cogeo import cog_validate

from raster_analysis.errors import JobError
from raster_analysis.rest_client import RestClient

DETECT, CLASSIFY = "DetectObjectsUsingDeepLearning", "ClassifyPixelsUsingDeepLearning"
SCENE = "/rasterStores/s/scene.tif"
MISSING_ID = "j" + "0" * 32
Document = dict[str, Any]


@pytest.fixture(scope="module")
def detector(server: LiveServer) -> str:
    return publish(server.client(), "detector")


@pytest.fixture(scope="module")
def landcover(server: LiveServer) -> str:
    return publish(server.client(), "landcover")


@pytest.fixture(scope="module")
def scene(server: LiveServer) -> rasterio.DatasetReader:
    with rasterio.open(server.store / "scene.tif") as scene:
        yield scene


@pytest.fixture(scope="module")
def found(server: LiveServer, detector: str) -> Document:
    """A detection that ended, with every document that was seen of it."""
    client, seen = server.client(), []
    form = {"inputRaster": {"uri": SCENE}, "model": {"itemId": detector}, "outputObjects": "found"}
    job = client.submit(DETECT, form | {"modelArguments": {"threshold": "0.4"}, "processAllRasterItems": "false"})
    client.wait(job, seen.append)
    return {"job": job, "seen": seen, "end": seen[-1]}


def publish(client: RestClient, name: str) -> str:
    form = {"modelLocation": f"/fileShares/s/{name}.dlpk", "outputName": {"name": f"Inference {name}"}}
    return client.run("PublishDeepLearningModel", form)["outItem"]["itemId"]  # type: ignore[no-any-return]


def classify(client: RestClient, target: object, **changes: object) -> Document:
    form = {"inputRaster": SCENE, "model": "/fileShares/s/tiny.dlpk", "outputClassifiedRaster": target, **changes}
    return client.run(CLASSIFY, form)["outRaster"]  # type: ignore[no-any-return]


def fail(client: RestClient, task: str, form: Document) -> list[str]:
    document = client.wait(client.submit(task, form))
    assert document["jobStatus"] == "esriJobFailed", document
    return [m["description"] for m in document["messages"] if m["type"] == "esriJobMessageTypeError"]


def texts(document: Document) -> list[str]:
    return [message["description"] for message in document["messages"]]


def test_a_detection_gives_features_in_the_crs_of_the_raster(
    server: LiveServer, client: RestClient, found: Document, scene: rasterio.DatasetReader, tmp_path: Path
) -> None:
    assert found["end"]["jobStatus"] == "esriJobSucceeded", texts(found["end"])
    result = client.get(f"{found['job']}/results/outObjects")
    assert result.keys() == {"paramName", "dataType", "value"}
    assert result["value"].keys() == {"itemId", "url"}
    assert result["value"]["url"] == f"{server.url}/arcgis/rest/services/Hosted/found/FeatureServer"
    item = client.item(result["value"]["itemId"])
    assert (item["type"], item["url"]) == ("Feature Service", result["value"]["url"])

    path = client.download(item["id"], tmp_path / "found.gpkg")
    features = pyogrio.read_dataframe(path)
    assert len(features) > 3
    assert features.crs.to_epsg() == 32616
    assert set(features["Class"]) <= {"Tree", "Building"}
    assert features["Confidence"].between(40, 100).all()
    assert features.geometry.is_valid.all()
    west, south, east, north = features.total_bounds
    assert scene.bounds.left <= west < east <= scene.bounds.right
    assert scene.bounds.bottom <= south < north <= scene.bounds.top


def test_messages_tell_the_engine_the_plan_and_the_count(client: RestClient, found: Document, tmp_path: Path) -> None:
    said = "\n".join(texts(found["end"]))
    item = client.get(f"{found['job']}/results/outObjects")["value"]["itemId"]
    count = len(pyogrio.read_dataframe(client.download(item, tmp_path / "found.gpkg")))

    for part in ("device ", "runtime ", "precision ", "Plan: 512 x 512 pixels", f"Found {count} objects"):
        assert part in said


def test_progress_and_messages_only_grow(found: Document) -> None:
    percents = [document["progress"]["percent"] for document in found["seen"]]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    for earlier, later in zip(found["seen"], found["seen"][1:], strict=False):
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]


def test_inputs_come_back_as_they_were_given(client: RestClient, found: Document, detector: str) -> None:
    def given(name: str) -> object:
        return client.get(f"{found['job']}/inputs/{name}")

    assert given("model") == {"paramName": "model", "dataType": "GPString", "value": {"itemId": detector}}
    assert given("modelArguments")["value"] == {"threshold": "0.4"}  # type: ignore[index]
    assert given("runNMS") == {"paramName": "runNMS", "dataType": "GPBoolean", "value": False}
    assert found["end"]["inputs"]["inputRaster"] == {"paramUrl": "inputs/inputRaster"}


def test_a_classification_gives_a_cog_on_the_grid_of_the_raster(
    client: RestClient, landcover: str, scene: rasterio.DatasetReader, tmp_path: Path
) -> None:
    value = classify(client, "cover", model={"itemId": landcover})
    assert client.item(value["itemId"])["type"] == "Image Service"
    path = client.download(value["itemId"], tmp_path / "cover.tif")
    valid, faults, _ = cog_validate(path)
    assert valid, faults
    with rasterio.open(path) as cover:
        assert (cover.shape, cover.transform, cover.crs) == (scene.shape, scene.transform, scene.crs)
        labels, colormap = cover.read(1), cover.colormap(1)
    assert set(np.unique(labels)) <= {1, 2, 3, 4, 5, 6}
    assert len(np.unique(labels)) > 2
    assert colormap[4][:3] == (20, 120, 30)


def test_models_are_listed_and_described(client: RestClient, detector: str) -> None:
    listed = client.run("ListDeepLearningModels", {})["deepLearningModels"]
    assert detector in [model["id"] for model in listed]
    info = client.run("QueryDeepLearningModelInfo", {"model": {"itemId": detector}})["outModelInfo"]
    described = json.loads(info["modelInfo"])
    assert described["ModelType"] == "ObjectDetection"
    assert {"threshold", "padding"} <= {argument["name"] for argument in described["arguments"]}


def test_an_extent_and_a_mask_say_where_to_work(
    client: RestClient, scene: rasterio.DatasetReader, tmp_path: Path
) -> None:
    west, north = scene.transform @ (128, 64)
    east, south = scene.transform @ (328, 164)
    middle = (west + east) / 2
    ring = [[west, south], [west, north], [middle, north], [middle, south], [west, south]]
    polygon = {"rings": [ring], "spatialReference": {"wkid": 32616}}
    context = {
        "extent": {"xmin": west, "ymin": south, "xmax": east, "ymax": north, "spatialReference": {"wkid": 32616}},
        "mask": {"geometryType": "esriGeometryPolygon", "features": [{"geometry": polygon, "attributes": {}}]}
        | {"spatialReference": {"wkid": 32616}},
        "processorType": "CPU",
        "parallelProcessingFactor": "60%",
        "somethingUnknown": {"a": [1, 2]},
        "snapRaster": "",
    }
    value = classify(client, "part", context=context)
    with rasterio.open(client.download(value["itemId"], tmp_path / "part.tif")) as part:
        labels, valid = part.read(1), part.read_masks(1) > 0
        assert part.shape == (100, 200)
        assert part.bounds == pytest.approx((west, south, east, north))
    assert valid[:, :99].all()
    assert not valid[:, 101:].any()
    assert set(np.unique(labels[valid])) <= {1, 2, 3}


def test_the_recorded_detection_of_a_client_runs(
    server: LiveServer,
    client: RestClient,
    detector: str,
    scene: rasterio.DatasetReader,
    found: Document,
    tmp_path: Path,
) -> None:
    target = create_service(client, "featureService", "trees_1")
    earlier = client.get(f"{found['job']}/results/outObjects")["value"]
    west, south, east, north = rasterio.warp.transform_bounds(scene.crs, "EPSG:3857", *scene.bounds)
    form = {
        "inputRaster": {"uri": SCENE, "mosaicRule": {"mosaicMethod": "esriMosaicNorthwest", "sortField": ""}},
        "outputObjects": target,
        "model": {"url": f"{server.url}/portal/sharing/rest/content/items/{detector}"},
        "modelArguments": {"padding": "56", "batch_size": "4", "threshold": "0.5"},
        "runNMS": "true",
        "confidenceScoreField": "Confidence",
        "classValueField": "Class",
        "maxOverlapRatio": "0.1",
        "processAllRasterItems": "false",
        "context": {
            "cellSize": 0.5,
            "processorType": "CPU",
            "extent": {"xmin": west, "ymin": south, "xmax": east, "ymax": north, "spatialReference": {"wkid": 3857}},
            "mask": {"url": f"{earlier['url']}/0"},
            "parallelProcessingFactor": "2",
            "batchSize": 8,
        },
    }
    value = client.run(DETECT, form)["outObjects"]
    assert value["itemId"] == target["itemProperties"]["itemId"]
    assert value["url"] == target["serviceProperties"]["serviceUrl"]
    features = pyogrio.read_dataframe(client.download(value["itemId"], tmp_path / "trees.gpkg"))
    assert len(features) > 0
    assert features["Confidence"].between(50, 100).all()


def test_the_recorded_classification_of_a_client_runs_on_an_image_service(client: RestClient, tmp_path: Path) -> None:
    labels = classify(client, "as input")
    target = create_service(client, "imageService", "lc_1")
    rule = {"mosaicMethod": "esriMosaicNorthwest", "sortField": "", "mosaicOperation": "MT_FIRST"}
    form = {
        "inputRaster": {"type": "ImageryLayer", "url": f"{labels['url']}?token={client.token}", "mosaicRule": rule},
        "outputClassifiedRaster": target,
        "model": {"uri": "/fileShares/s/labels.dlpk"},
        "modelArguments": {},
        "processAllRasterItems": "false",
        "context": "",
    }
    job = client.submit(CLASSIFY, form)
    document = client.wait(job)
    assert document["jobStatus"] == "esriJobSucceeded", texts(document)
    value = client.get(f"{job}/results/outRaster")["value"]
    assert value["itemId"] == target["itemProperties"]["itemId"]
    assert client.token not in json.dumps([document, client.get(f"{job}/inputs/inputRaster")])
    with rasterio.open(client.download(value["itemId"], tmp_path / "lc.tif")) as cover:
        assert cover.shape == (512, 512)


def create_service(client: RestClient, kind: str, name: str) -> Document:
    """Make an empty service the way clients do before they submit a job (contract 4.4), and name it as they do."""
    users = f"{client.url}/portal/sharing/rest/content/users/ann"
    form = {"outputType": kind, "isView": "false", "createParameters": json.dumps({"name": name})}
    made = client.get(f"{users}/createService", form)
    assert made["success"]
    return {
        "serviceProperties": {"name": name, "serviceUrl": made["serviceurl"]},
        "itemProperties": {"itemId": made["itemId"]},
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputRaster": ""}, ["inputRaster is missing"]),
        ({"inputRaster": "/rasterStores/s/none.tif", "model": "/fileShares/s/no.dlpk"}, ["none.tif", "no.dlpk"]),
        ({"inputRaster": "/etc/passwd"}, ["inputRaster"]),
        ({"inputRaster": "https://example.org/ImageServer"}, ["example.org"]),
        ({"inputRaster": "/rasterStores/s/tiny.dlpk"}, ["tiny"]),
        ({"model": {"itemId": "0" * 32}}, ["model"]),
        ({"modelArguments": '{"threshold":'}, ["modelArguments", "not valid JSON"]),
        ({"modelArguments": {"tile_size": "100", "padding": "-1"}}, ["'tile_size' does not exist", "padding = '-1'"]),
        ({"modelArguments": {"no_such": "1"}}, ["no_such"]),
        ({"context": '{"extent":{"xmin":1}}'}, ["ymin"]),
        ({"context": {"extent": {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}}}, ["extent"]),
        ({"context": {"processorType": "TPU"}}, ["processorType"]),
        ({"model": "/fileShares/s/detector.dlpk"}, [DETECT]),
        ({"model": "/fileShares/s/broken.dlpk"}, ["broken"]),
        ({"inputRaster": "/rasterStores/s/strip.tif"}, ["band"]),
    ],
)
def test_wrong_parameters_end_in_a_job_that_says_what_is_wrong(
    server: LiveServer, client: RestClient, changes: Document, said: list[str]
) -> None:
    form = {"inputRaster": SCENE, "model": "/fileShares/s/tiny.dlpk", "outputClassifiedRaster": "wrong", **changes}
    told = "\n".join(fail(client, CLASSIFY, form))

    assert all(part in told for part in said), told
    assert str(server.folder) not in told
    assert "Traceback" not in told


def test_a_gpu_that_is_not_there_is_said_so(client: RestClient) -> None:
    form = {"inputRaster": SCENE, "model": "/fileShares/s/tiny.dlpk", "outputClassifiedRaster": "x"}
    document = client.wait(client.submit(CLASSIFY, {**form, "context": {"processorType": "GPU"}}))

    assert document["jobStatus"] == "esriJobSucceeded"
    assert any(text.startswith("device cuda") or "no CUDA device can be used here" in text for text in texts(document))


@pytest.mark.parametrize("rest", ["", "/messages", "/results/outObjects", "/inputs/model", "/cancel"])
def test_another_users_job_looks_like_none(server: LiveServer, found: Document, rest: str) -> None:
    bob = server.client("bob")

    def ask(job: str) -> str:
        try:
            return json.dumps(bob.get(f"{job}{rest}"))
        except JobError as error:
            return str(error)

    theirs = ask(found["job"])
    missing = ask(found["job"].replace(job_id(found["job"]), MISSING_ID))
    assert theirs.replace(job_id(found["job"]), MISSING_ID) == missing


def test_a_job_is_cancelled_within_six_seconds_and_leaves_nothing(server: LiveServer, client: RestClient) -> None:
    form = {"inputRaster": "/rasterStores/s/strip.tif", "model": "/fileShares/s/slow.dlpk"}
    job = client.submit(CLASSIFY, form | {"outputClassifiedRaster": "cancelled", "context": {"precision": "fp32"}})
    until(lambda: server.files(job))
    asked = time.monotonic()
    answer = client.cancel(job)
    document = client.wait(job)

    assert time.monotonic() - asked < 6
    assert answer["jobStatus"] in ("esriJobCancelling", "esriJobCancelled")
    assert document["jobStatus"] == "esriJobCancelled"
    assert "results" not in document
    until(lambda: not (server.data / "jobs" / job_id(job)).exists(), 5)
    assert client.search("title:cancelled") == []
    assert client.cancel(job)["jobStatus"] == "esriJobCancelled"
