"""A server whose items lie in a bucket: publish, run, download, and what happens when the bucket is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from filled_store import fill_store
from live_server import LiveServer, free_port, until

BUCKET = "s3://items/portal"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 service in a process of its own."""
    port = free_port()
    with (tmp_path_factory.mktemp("s3") / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _is_made(f"{url}/items"))
        yield url
    finally:
        process.kill()
        process.wait()


def _is_made(bucket: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(bucket, method="PUT")):
            return True
    except OSError:
        return False


def settings(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket",
        "RASTER_ANALYSIS_ITEM_STORAGE": BUCKET,
        "RASTER_ANALYSIS_USER_QUOTA": "30MB",
    }


def test_packages_and_results_lie_in_the_bucket_and_jobs_work_on_copies(
    make_server: Callable[..., LiveServer], endpoint: str
) -> None:
    server = make_server("bucket", environment=settings(endpoint))
    fill_store(server.store)
    server.start()
    with httpx.Client(
        base_url=server.url, headers={"X-Esri-Authorization": f"Bearer {server.tokens['ann']}"}, timeout=60
    ) as client:
        scene = (server.store / "scene.tif").read_bytes()
        content = "/portal/sharing/rest/content"
        raster = _add(client, "scene.tif", scene, type="Image", title="Scene")
        package = (server.store / "landcover.dlpk").read_bytes()
        model = _add(client, "landcover.dlpk", package, type="Deep Learning Package", title="Landcover")
        assert not any((server.data / "items").glob("*/*"))

        job = server.client().submit(
            "ClassifyPixelsUsingDeepLearning",
            {
                "inputRaster": json.dumps({"itemId": raster}),
                "model": json.dumps({"itemId": model}),
                "outputClassifiedRaster": "L",
            },
        )
        for slot in server.slots():
            assert "secret-of-the-bucket" not in slot.environ().values()
        ended = server.client().wait(job)
        assert ended["jobStatus"] == "esriJobSucceeded", [line["description"] for line in ended["messages"]]
        assert any((server.data / "cache").iterdir())

        part = client.get(f"{content}/items/{raster}/data", headers={"range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, scene[100:200])
        assert client.get(f"{content}/items/{raster}/data").content == scene
        refused = client.post(
            f"{content}/users/ann/addItem",
            data={"f": "json", "type": "Image", "title": "large"},
            files={"file": ("large.tif", bytes(40_000_000))},
        ).json()
        assert "of the 30,000,000 bytes allowed" in refused["error"]["message"]
        assert client.get("/readyz").status_code == 200


def test_a_server_without_its_bucket_does_not_start_and_says_why(tmp_path: Path, endpoint: str) -> None:
    environment = {**os.environ, **settings(endpoint), "RASTER_ANALYSIS_ITEM_STORAGE": "s3://nowhere/x"}
    command = [sys.executable, "-m", "raster_analysis", "serve", "--http", "--port", str(free_port())]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "data")],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "item storage s3://nowhere/x cannot be listed: there is no such bucket" in done.stderr
    assert "Traceback" not in done.stderr


def _add(client: httpx.Client, name: str, content: bytes, **text: str) -> str:
    answer = client.post(
        "/portal/sharing/rest/content/users/ann/addItem", data={"f": "json", **text}, files={"file": (name, content)}
    ).json()
    assert answer.get("success") is True, answer
    item_id: str = answer["id"]
    return item_id
