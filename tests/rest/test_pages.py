"""The browsable directory: useful without JavaScript, escaped, keyboard-friendly."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
PASSWORD = "correct horse battery"


class Outline(HTMLParser):
    """Collects what these tests ask about a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fields: dict[str, str] = {}
        self.labelled: set[str] = set()
        self.outside: list[str] = []
        self.inline_scripts = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        if tag == "a":
            self.links.append(given["href"])
        if tag in ("input", "select", "textarea") and given.get("type") != "hidden":
            self.fields[given["name"]] = given.get("id", "")
        if tag == "label":
            self.labelled.add(given["for"])
        self.inline_scripts += tag == "script" and "src" not in given
        self.inline_scripts += any(name.startswith("on") or name == "style" for name in given)
        if tag in ("script", "link", "img"):
            self.outside += [v for v in (given.get("src"), given.get("href")) if v and "//" in v]


@pytest.fixture
def browser(client: TestClient):
    client.post("/arcgis/rest/login", data={"username": "alice", "password": PASSWORD})
    yield client
    client.cookies.clear()


def walk(browser: TestClient, start: str) -> dict[str, str]:
    """Every page that links lead to, as a visitor would find them."""
    seen: dict[str, str] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.startswith("/arcgis/rest/services"):
            continue
        answer = browser.get(path)
        assert answer.status_code == 200, path
        seen[path] = answer.text
        waiting += Outline(answer.text).links
    return seen


def test_every_link_of_the_directory_leads_to_a_page_without_inline_code(browser: TestClient, toolbox) -> None:
    toolbox.finish("EchoText", toolbox.submit("EchoText", inputText="hello"))
    pages = walk(browser, "/arcgis/rest/services")

    assert any("/jobs/j" in path for path in pages)
    assert f"{TOOLBOX}/DetectObjectsUsingDeepLearning" in pages
    for path, html in pages.items():
        outline = Outline(html)
        # Services of other tests, which share this server, may hold files that are none.
        assert "That did not work" not in html or "/Hosted/" in path, path
        assert not outline.inline_scripts, path
        assert not outline.outside, path
        assert '<html lang="en">' in html
        assert html.count("<h1") == 1, path


def test_every_parameter_has_a_labelled_field(client: TestClient) -> None:
    outline = Outline(client.get(f"{TOOLBOX}/DetectObjectsUsingDeepLearning").text)
    document = client.get(f"{TOOLBOX}/DetectObjectsUsingDeepLearning", params={"f": "json"}).json()
    inputs = {p["name"] for p in document["parameters"] if p["direction"] == "esriGPParameterDirectionInput"}

    assert set(outline.fields) == inputs
    assert set(outline.fields.values()) <= outline.labelled


def csrf_of(browser: TestClient) -> str:
    page = browser.get(f"{TOOLBOX}/EchoText").text
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', page)[1]


def test_faults_are_shown_in_the_form_with_the_values_kept(browser: TestClient) -> None:
    form = {"inputText": "kept text", "minIoU": "many", "tempo": "FAST", "csrf": csrf_of(browser)}
    page = browser.post(f"{TOOLBOX}/EchoText/submitJob", data=form).text

    assert "This cannot be submitted yet" in page
    assert "minIoU" in page
    assert 'value="kept text"' in page
    assert "<option selected>FAST</option>" in page


def test_what_users_write_is_escaped(browser: TestClient, toolbox) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    job_id = toolbox.submit("EchoText", inputText=evil)
    toolbox.finish("EchoText", job_id)

    for path in ("", "/results/outText", "/inputs/inputText"):
        page = browser.get(f"{TOOLBOX}/EchoText/jobs/{job_id}{path}").text
        assert "alert(1)" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_a_running_job_refreshes_itself_with_and_without_scripts(browser: TestClient, toolbox, tmp_path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    job_id = toolbox.submit("EchoText", inputText="hello", waitFor=str(hold))
    running = browser.get(f"{TOOLBOX}/EchoText/jobs/{job_id}").text
    hold.unlink()
    toolbox.finish("EchoText", job_id)
    ended = browser.get(f"{TOOLBOX}/EchoText/jobs/{job_id}").text

    assert '<noscript><meta http-equiv="refresh"' in running
    assert "static/job.js" in running
    assert "Cancel job" in running
    assert "http-equiv" not in ended
    assert "Cancel job" not in ended


def test_the_cancel_button_cancels(browser: TestClient, toolbox, tmp_path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    job_id = toolbox.submit("EchoText", inputText="hello", waitFor=str(hold))
    answer = browser.post(f"{TOOLBOX}/EchoText/jobs/{job_id}/cancel", data={"csrf": csrf_of(browser)})

    assert answer.status_code == 303
    assert toolbox.finish("EchoText", job_id)["jobStatus"] == "esriJobCancelled"


def test_a_visitor_is_led_to_sign_in_and_back(client: TestClient) -> None:
    answer = client.get(f"{TOOLBOX}/jobs")

    assert answer.status_code == 303
    page = client.get(answer.headers["location"]).text
    assert f'name="next" value="{TOOLBOX}/jobs"' in page


def test_another_users_job_is_no_page(client: TestClient, toolbox) -> None:
    job_id = toolbox.submit("EchoText", inputText="secret text")
    client.post("/arcgis/rest/login", data={"username": "carol", "password": PASSWORD})
    page = client.get(f"{TOOLBOX}/EchoText/jobs/{job_id}").text
    client.cookies.clear()

    assert "No such job" in page
    assert "secret text" not in page


def test_an_error_page_does_not_sign_anybody_out(browser: TestClient) -> None:
    page = browser.get(f"{TOOLBOX}/NoSuchTask/jobs/j1/results/x").text

    assert "That did not work" in page
    assert "Sign out alice" in page


@pytest.mark.parametrize("name", ["style.css", "job.js", "icon.svg"])
def test_static_files_are_served(client: TestClient, name: str) -> None:
    answer = client.get(f"/arcgis/rest/static/{name}")

    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["..%2Fsite.py", "nothing.css", "%2e%2e"])
def test_only_the_static_files_are_served(client: TestClient, name: str) -> None:
    assert "import" not in client.get(f"/arcgis/rest/static/{name}").text
