"""The pages without JavaScript: look around, sign in, fill in the form, read the result."""

from __future__ import annotations

import re

import httpx
import pytest
from live_server import PASSWORD, LiveServer, until

from raster_analysis.rest_client import RestClient

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
TASK = f"{TOOLBOX}/ClassifyPixelsUsingDeepLearning"


@pytest.fixture
def signed_in(browser: httpx.Client) -> httpx.Client:
    page = browser.get("/arcgis/rest/login", params={"next": TASK}).text
    assert f'value="{TASK}"' in page
    answer = browser.post("/arcgis/rest/login", data={"username": "ann", "password": PASSWORD, "next": TASK})
    assert (answer.status_code, answer.headers["location"]) == (303, TASK)
    return browser


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found, page
    return found[1]


@pytest.mark.parametrize("query", [{}, {"f": "html"}])
@pytest.mark.parametrize("path", ["/arcgis/rest/services", TOOLBOX, TASK])
def test_service_and_tasks_have_pages_by_default(browser: httpx.Client, path: str, query: dict[str, str]) -> None:
    answer = browser.get(path, params=query)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>" in answer.text


def test_a_job_submitted_by_the_form_finishes(signed_in: httpx.Client, client: RestClient) -> None:
    page = signed_in.get(TASK).text
    names = re.findall(r'<(?:input|textarea|select) id="(\w+)"', page)
    form = dict.fromkeys(names, "") | {"f": "html", "csrf": csrf_of(page), "processAllRasterItems": "false"}
    form |= {"inputRaster": "/rasterStores/s/scene.tif", "model": "/fileShares/s/tiny.dlpk"}
    answer = signed_in.post(f"{TASK}/submitJob", data=form | {"outputClassifiedRaster": "From a form"})
    assert answer.status_code == 303
    job = answer.headers["location"]
    assert job.startswith(f"{TASK}/jobs/j")

    until(lambda: 'data-ended="yes"' in signed_in.get(job).text)
    ended = signed_in.get(job).text
    assert "ClassifyPixels" in ended
    assert 'class="state succeeded"' in ended
    assert "Plan: 512 x 512 pixels" in ended
    result = signed_in.get(f"{job}/results/outRaster").text
    item = client.get(f"{client.url}{job}/results/outRaster")["value"]["itemId"]
    assert item in result


def test_a_form_without_its_token_or_from_a_stranger_submits_nothing(
    signed_in: httpx.Client, client: RestClient
) -> None:
    before = client.get(f"{client.url}{TOOLBOX}/jobs")["jobs"]
    form = {"inputRaster": "/rasterStores/s/scene.tif", "model": "/fileShares/s/tiny.dlpk"}
    form |= {"outputClassifiedRaster": "forged", "f": "html"}
    for csrf in ({}, {"csrf": "0" * 64}):
        answer = signed_in.post(f"{TASK}/submitJob", data=form | csrf)
        assert "/jobs/" not in answer.headers.get("location", "")

    assert client.get(f"{client.url}{TOOLBOX}/jobs")["jobs"] == before


def test_a_sign_in_with_the_wrong_password_opens_nothing(server: LiveServer, browser: httpx.Client) -> None:
    answer = browser.post("/arcgis/rest/login", data={"username": "bob", "password": "wrong", "next": TASK})

    assert answer.status_code == 200
    assert "wrong" in answer.text
    assert not browser.cookies
