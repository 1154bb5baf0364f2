"""Classification of features over REST: what a detection published is labelled, and a killed server goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import rasterio
from live_server import LiveServer, job_id, until

from raster_analysis.rest_client import RestClient

TASK = "ClassifyObjectsUsingDeepLearning"
PACKAGE = Path(__file__).parents[2] / "samples" / "packages" / "objects.dlpk"
FEATURES = 12_000


def test_features_of_a_detection_are_labelled_by_the_url_of_their_layer(client: RestClient, tmp_path: Path) -> None:
    detected = client.run(
        "DetectObjectsUsingDeepLearning",
        {"inputRaster": "/rasterStores/s/scene.tif", "model": "/fileShares/s/detector.dlpk", "outputObjects": "seen"},
    )["outObjects"]
    form = {
        "inputRaster": {"uri": "/rasterStores/s/scene.tif"},
        "inputFeatures": {"url": f"{detected['url']}/0", "filter": "Confidence > 40"},
        "outputFeatureClass": {"serviceProperties": {"name": "kinds"}},
        "model": {"uri": "/fileShares/s/objects.dlpk"},
        "classLabelField": "Kind",
        "processAllRasterItems": "false",
    }
    result = client.run(TASK, form)["outObjects"]
    assert result["url"].endswith("/Hosted/kinds/FeatureServer")
    before = pyogrio.read_dataframe(client.download(detected["itemId"], tmp_path / "before.gpkg"))
    after = pyogrio.read_dataframe(client.download(result["itemId"], tmp_path / "after.gpkg"))
    wanted = before[before["Confidence"] > 40]
    assert len(after) == len(wanted) > 3
    assert list(after["Class"]) == list(wanted["Class"])
    assert after["Confidence"].tolist() == wanted["Confidence"].tolist()
    agreed = (after["Kind"] == "Tree") == (after["Class"] == "Tree")
    assert agreed.mean() > 0.9
    assert after["Confidence_1"].between(25, 100).all()


def test_a_killed_server_goes_on_and_gives_the_same_labels(make_server: Callable[..., LiveServer]) -> None:
    server = make_server("crops")
    _fill(server.store)
    server.start()
    form = {
        "inputRaster": "/rasterStores/s/scene.tif",
        "inputFeatures": "/fileShares/s/points.gpkg",
        "outputFeatureClass": "points",
        "model": "/fileShares/s/objects.dlpk",
        "context": {"precision": "fp32"},
    }
    job = server.client().submit(TASK, form)
    until(lambda: server.ledger(job))
    server.kill()
    recorded, before = server.ledger(job), server.files(job)
    server.start()
    document = server.client().wait(job)
    assert document["jobStatus"] == "esriJobSucceeded", document["messages"]
    assert 1 <= len(recorded) < 3
    assert all(name in before for name in recorded.values())
    again = server.client().submit(TASK, form)
    server.client().wait(again)
    assert _digest(server, job) == _digest(server, again)


def _fill(store: Path) -> None:
    store.mkdir()
    shutil.copy2(PACKAGE, store)
    rng = np.random.default_rng(5)
    profile = {"driver": "GTiff", "width": 400, "height": 400, "count": 4, "dtype": "uint8", "alpha": "no"}
    transform = rasterio.Affine(0.3, 0, 500_000, 0, -0.3, 4_000_000)
    with rasterio.open(store / "scene.tif", "w", crs="EPSG:32616", transform=transform, **profile) as scene:
        scene.write(rng.integers(0, 255, (4, 400, 400), np.uint8))
    xs, ys = 500_000 + rng.uniform(0, 120, FEATURES), 4_000_000 - rng.uniform(0, 120, FEATURES)
    points = geopandas.GeoDataFrame({"n": np.arange(FEATURES)}, geometry=geopandas.points_from_xy(xs, ys), crs=32616)
    points.to_file(store / "points.gpkg")


def _digest(server: LiveServer, job: str) -> str:
    item = server.client().get(f"{job}/results/outObjects")["value"]["itemId"]
    path = server.client().download(item, server.folder / f"{job_id(job)}.gpkg")
    frame = pyogrio.read_dataframe(path)
    assert len(frame) == FEATURES
    assert frame["n"].is_monotonic_increasing
    return hashlib.sha256(frame.drop(columns="geometry").to_csv().encode()).hexdigest()
