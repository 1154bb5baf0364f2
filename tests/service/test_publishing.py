"""The seed example, letter by letter: publish a model, ask for the result, read, find and download the item."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from live_server import LiveServer, job_id

import dlpk
from raster_analysis.rest_client import RestClient

TASK = "PublishDeepLearningModel"
TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"


def publish(client: RestClient, location: str, target: object, **more: object) -> str:
    return client.run(TASK, {"modelLocation": location, "outputName": target, **more})["outItem"]["itemId"]  # type: ignore[no-any-return]


def fail(client: RestClient, location: str, target: object, **more: object) -> list[dict[str, str]]:
    document = client.wait(client.submit(TASK, {"modelLocation": location, "outputName": target, **more}))
    assert document["jobStatus"] == "esriJobFailed"
    assert "results" not in document
    return document["messages"]  # type: ignore[no-any-return]


def errors(messages: list[dict[str, str]]) -> str:
    return "\n".join(m["description"] for m in messages if m["type"] == "esriJobMessageTypeError")


def test_the_seed_example_to_the_letter(server: LiveServer, client: RestClient, tmp_path: Path) -> None:
    form = {"f": "json", "token": client.token, "modelLocation": "/fileShares/s/landcover.dlpk"}
    form["outputName"] = '{"name":"Seed"}'
    submitted = httpx.post(f"{server.url}{TOOLBOX}/{TASK}/submitJob", data=form, timeout=60)
    assert re.fullmatch(r'\{"jobId":"j[0-9a-f]{32}","jobStatus":"esriJobSubmitted"\}', submitted.text)

    job = f"{client.toolbox}/{TASK}/jobs/{submitted.json()['jobId']}"
    ended = client.wait(job)
    assert ended["jobStatus"] == "esriJobSucceeded"
    assert ended["jobId"] == job_id(job)
    assert ended["results"] == {"outItem": {"paramUrl": "results/outItem"}}

    result = httpx.get(f"{job}/results/outItem", params={"f": "json", "token": client.token}, timeout=60)
    wire = r'\{"paramName":"outItem","dataType":"GPString","value":\{"itemId":"([0-9a-f]{32})"\}\}'
    found = re.fullmatch(wire, result.text)
    assert found, result.text

    item = client.item(found[1])
    assert (item["id"], item["type"], item["title"], item["owner"]) == (
        found[1],
        "Deep Learning Package",
        "Seed",
        "ann",
    )
    assert found[1] in [hit["id"] for hit in client.search('type:"Deep Learning Package" Seed')]
    package = client.download(found[1], tmp_path / "seed.dlpk")
    assert dlpk.check(package).valid
    assert package.read_bytes() == (server.store / "landcover.dlpk").read_bytes()


def test_nobody_else_reads_finds_or_downloads_the_item(server: LiveServer, client: RestClient) -> None:
    item = publish(client, "/fileShares/s/tiny.dlpk", {"name": "Ann's own"})
    bob = server.client("bob")

    assert item not in [hit["id"] for hit in bob.search("own")]
    for path in ("", "/data"):
        url = f"{server.url}/portal/sharing/rest/content/items/{item}{path}"
        theirs = httpx.get(url, params={"f": "json", "token": bob.token}, timeout=60)
        missing = httpx.get(url.replace(item, "0" * 32), params={"f": "json", "token": bob.token}, timeout=60)
        assert theirs.text.replace(item, "0" * 32) == missing.text
        assert "error" in theirs.json()


@pytest.mark.parametrize("location", ["/fileShares/s/folder", "/rasterStores/s/folder/model.emd"])
def test_a_folder_becomes_a_package(client: RestClient, tmp_path: Path, location: str) -> None:
    item = publish(client, location, {"name": f"Folder {location[1:3]}"})
    package = client.download(item, tmp_path / "folder.dlpk")

    assert dlpk.check(package).valid
    assert client.item(item)["title"] == f"Folder {location[1:3]}"


def test_an_item_is_made_in_the_folder_that_was_asked_for(server: LiveServer, client: RestClient) -> None:
    content = f"{server.url}/portal/sharing/rest/content/users/ann"
    folder = client.get(f"{content}/createFolder", {"title": "Models"})["folder"]["id"]
    item = publish(client, "/fileShares/s/tiny.dlpk", {"name": "In a folder", "folderId": folder})

    assert client.item(item)["ownerFolder"] == folder
    assert item in [entry["id"] for entry in client.get(f"{content}/{folder}")["items"]]


def test_an_item_is_updated_and_keeps_its_id(server: LiveServer, client: RestClient, tmp_path: Path) -> None:
    item = publish(client, "/fileShares/s/tiny.dlpk", {"name": "To be updated"})
    again = publish(client, "/fileShares/s/labels.dlpk", {"itemId": item})

    assert again == item
    package = client.download(item, tmp_path / "updated.dlpk")
    assert package.read_bytes() == (server.store / "labels.dlpk").read_bytes()


def test_a_title_is_taken_over_only_when_that_is_asked_for(
    server: LiveServer, client: RestClient, tmp_path: Path
) -> None:
    item = publish(client, "/fileShares/s/tiny.dlpk", {"name": "Twice"})
    refused = errors(fail(client, "/fileShares/s/labels.dlpk", {"name": "Twice"}))
    again = publish(client, "/fileShares/s/labels.dlpk", {"name": "Twice"}, overwriteModel="true")

    assert "'Twice' already" in refused
    assert "overwriteModel" in refused
    assert again == item
    assert client.download(item, tmp_path / "t").read_bytes() == (server.store / "labels.dlpk").read_bytes()


def test_a_broken_package_fails_with_every_finding(server: LiveServer, client: RestClient) -> None:
    findings = [str(finding) for finding in dlpk.check(server.store / "broken.dlpk").findings]
    messages = fail(client, "/fileShares/s/broken.dlpk", {"name": "Broken"})

    assert len(findings) >= 3
    assert set(findings) <= {message["description"] for message in messages}
    assert "cannot be published" in errors(messages)
    assert str(server.folder) not in errors(messages)
    assert client.search("title:Broken") == []


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/fileShares/s/none.dlpk", "none.dlpk"),
        ("/fileShares/other/tiny.dlpk", "other"),
        ("/fileShares/s/../../etc/passwd", "modelLocation"),
        ("/etc/passwd", "modelLocation"),
        ("/fileShares/s/scene.tif", "scene"),
    ],
)
def test_what_is_no_package_fails_and_says_so(client: RestClient, location: str, said: str) -> None:
    assert said in errors(fail(client, location, {"name": "Nothing"}))


def test_a_stranger_submits_nothing(server: LiveServer) -> None:
    form = {"f": "json", "modelLocation": "/fileShares/s/tiny.dlpk", "outputName": "x"}
    url = f"{server.url}{TOOLBOX}/{TASK}/submitJob"

    assert httpx.post(url, data=form, timeout=60).json()["error"]["code"] == 499
    assert httpx.post(url, data={**form, "token": "x" * 43}, timeout=60).json()["error"]["code"] == 498
