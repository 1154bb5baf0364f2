"""Previews: pictures of layers and of what a job found, for those who may see them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from io import BytesIO

import httpx
import pyogrio
import pytest
from PIL import Image
from served import Results

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"


def get(results: Results, path: str, user: str = "ann") -> httpx.Response:
    headers = {"X-Esri-Authorization": f"Bearer {results.server.tokens[user]}"}
    return httpx.get(results.server.url + path.removeprefix(results.server.url), headers=headers, timeout=60)


@pytest.fixture(scope="module")
def job(results: Results) -> str:
    jobs = get(results, f"{TOOLBOX}/jobs?f=json").json()["jobs"]
    found = next(job for job in jobs if job["task"] == "DetectObjectsUsingDeepLearning")
    return f"{TOOLBOX}/{found['task']}/jobs/{found['jobId']}"


def test_every_feature_is_drawn(results: Results, tmp_path) -> None:
    drawing = get(results, f"{results.objects['url']}/preview")
    assert drawing.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in drawing.headers["content-security-policy"]
    file = results.download(results.objects["itemId"], tmp_path / "objects.gpkg")
    assert len(ET.fromstring(drawing.content)) == len(pyogrio.read_dataframe(file))


def test_what_a_job_found_has_the_size_of_what_it_was_given(results: Results, job: str) -> None:
    picture = Image.open(BytesIO(get(results, f"{job}/preview").content))
    assert len(picture.getcolors(maxcolors=picture.width * picture.height)) > 1000
    drawing = ET.fromstring(get(results, f"{job}/preview/outObjects").content)
    assert (int(drawing.attrib["width"]), int(drawing.attrib["height"])) == picture.size


@pytest.mark.parametrize("path", ["preview", "preview/outObjects"])
def test_a_job_of_somebody_else_has_no_preview(results: Results, job: str, path: str) -> None:
    hidden = get(results, f"{job}/{path}", "bob")
    assert "image" not in hidden.headers["content-type"]
    assert "does not exist or is inaccessible" in hidden.text


@pytest.mark.parametrize("kind", ["objects", "cover"])
def test_a_private_layer_has_no_preview_for_others(results: Results, kind: str) -> None:
    hidden = get(results, f"{getattr(results, kind)['url']}/preview", "bob")
    assert "image" not in hidden.headers["content-type"]


def test_an_output_that_is_not_there_is_told_as_one(results: Results, job: str) -> None:
    assert "There is no picture of" in get(results, f"{job}/preview/other").text
