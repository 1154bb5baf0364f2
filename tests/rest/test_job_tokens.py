"""Tokens in submitted forms: they pass on a right, and are written down nowhere (contract 2.2, A03)."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from portal_client import BASE_URL, CONTENT, Asker, Toolbox
from starlette.testclient import TestClient

from raster_analysis.app import Rooms

WAYS = {
    "bare URL": lambda url, token: f"{url}?token={token}",
    "in the URL": lambda url, token: json.dumps({"url": f"{url}?f=json&token={token}", "type": "ImageryLayer"}),
    "beside the URL": lambda url, token: json.dumps({"url": url, "serviceToken": token}),
}


@pytest.fixture
def secret_raster(as_alice: Asker) -> str:
    """The URL of an item that alice keeps to herself."""
    content = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(content, format="TIFF")
    item_id = as_alice.add("Secret scene", {"file": ("scene.tif", content.getvalue())}, type="Image")
    return f"{BASE_URL}{CONTENT}/items/{item_id}"


def written(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in data.glob("*.sqlite*"))


@pytest.mark.parametrize("way", WAYS)
def test_a_token_passes_on_a_right_and_is_not_written_down(
    client: TestClient, rooms: Rooms, carol: dict[str, str], secret_raster: str, way: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    token = rooms.portal.tokens.issue("alice", 600).value
    toolbox = Toolbox(client, rooms, carol)
    job_id = toolbox.submit("NameRaster", inputRaster=WAYS[way](secret_raster, token))
    job = toolbox.finish("NameRaster", job_id)
    assert job["jobStatus"] == "esriJobSucceeded", job
    title = toolbox.get(f"NameRaster/jobs/{job_id}/results/outTitle").json()["value"]
    assert title == "Secret scene"
    assert token not in toolbox.get(f"NameRaster/jobs/{job_id}/inputs/inputRaster").text
    assert token.encode() not in written(rooms.settings.data)
    assert token not in caplog.text


@pytest.mark.parametrize("given", ["", "None", "carols"])
def test_without_the_right_token_the_job_fails_as_if_there_were_nothing(
    client: TestClient,
    rooms: Rooms,
    carol: dict[str, str],
    given: str,
    secret_raster: str,
) -> None:
    toolbox = Toolbox(client, rooms, carol)
    value = rooms.portal.tokens.issue("carol", 600).value if given == "carols" else given
    job = toolbox.finish("NameRaster", toolbox.submit("NameRaster", inputRaster=f"{secret_raster}?token={value}"))
    assert job["jobStatus"] == "esriJobFailed"
    assert "Item does not exist or is inaccessible." in str(job["messages"])


def test_a_token_in_a_form_that_cannot_be_used_is_not_written_down_either(
    client: TestClient, rooms: Rooms, carol: dict[str, str]
) -> None:
    token = rooms.portal.tokens.issue("alice", 600).value
    toolbox = Toolbox(client, rooms, carol)
    for form in (f'{{"url": "https://h?token={token}"', f"https://elsewhere.example/x?token={token}"):
        toolbox.finish("NameRaster", toolbox.submit("NameRaster", inputRaster=form, serviceToken=token))
    assert token.encode() not in written(rooms.settings.data)
