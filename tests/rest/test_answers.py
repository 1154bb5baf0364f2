"""Formats, errors and headers of all answers (negative tests A05, A06, A12)."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from starlette.testclient import TestClient

from raster_analysis.errors import (
    AccessError,
    BadCredentials,
    BudgetError,
    InputError,
    InvalidToken,
    JobError,
    NotPermitted,
    ParameterError,
    TokenRequired,
    TooManyLogins,
)
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Desk, Endpoint
from raster_analysis.rest.envelope import Refusal, refusal_of
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.pages import Pages
from raster_analysis.rest.site import make_site
from raster_analysis.rest.urls import Urls

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"


def test_html_is_the_default_and_every_page_holds_a_policy(client: TestClient) -> None:
    answer = client.get(TOOLBOX)

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_pjson_is_indented_json(client: TestClient) -> None:
    plain = client.get(TOOLBOX, params={"f": "json"})
    pretty = client.get(TOOLBOX, params={"f": "pjson"})

    assert plain.headers["content-type"] == "application/json"
    assert plain.headers["x-content-type-options"] == "nosniff"
    assert "\n" not in plain.text
    assert pretty.text.startswith('{\n  "')
    assert plain.json() == pretty.json()


@pytest.mark.parametrize("format", ["xml", "jsonp", "JSON2", "é"])
def test_an_unknown_format_is_an_error_envelope(client: TestClient, format: str) -> None:
    answer = client.get(TOOLBOX, params={"f": format})

    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == 400


@pytest.mark.parametrize("callback", ["alert(1)//", "</script>", "x" * 10_000, "valid.name"])
def test_jsonp_is_refused_whatever_the_name(client: TestClient, callback: str) -> None:
    answer = client.get(TOOLBOX, params={"f": "json", "callback": callback})

    assert answer.json()["error"]["code"] == 400
    assert answer.headers["content-type"] == "application/json"


def test_a_parameter_given_twice_with_two_values_is_refused(client: TestClient, alice: dict[str, str]) -> None:
    url = f"{TOOLBOX}/EchoText/submitJob?f=json&inputText=a&inputText=b"

    assert "given twice" in client.get(url, headers=alice).json()["error"]["message"]


def test_a_form_field_wins_over_the_query(client: TestClient) -> None:
    answer = client.post(f"{TOOLBOX}?f=html", data={"f": "json"})

    assert answer.headers["content-type"] == "application/json"


def test_methods_that_are_not_allowed_are_error_envelopes(client: TestClient) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        answer = client.request(method, TOOLBOX, params={"f": "json"})
        assert answer.status_code == 200
        assert answer.json()["error"]["code"] == 405


def test_unknown_resources_of_the_api_are_error_envelopes(client: TestClient) -> None:
    for path in ("/arcgis/rest/services/Nothing/Here", "/portal/sharing/rest/nothing", f"{TOOLBOX}/A/b/c/d"):
        answer = client.get(path, params={"f": "json"})
        assert answer.status_code == 200
        assert answer.json()["error"]["code"] == 404


@pytest.mark.parametrize(
    "path", ["/arcgis/rest/services/Hosted/x/ImageServer/0", "/nothing", "/portal/sharing/rest/content/users/a/addItem"]
)
@pytest.mark.parametrize("ends", [True, False])
def test_a_body_that_nobody_wants_is_read_or_its_connection_is_said_to_close(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, ends: bool
) -> None:
    """Else the next request of the client meets a connection that is being closed."""
    monkeypatch.setattr("raster_analysis.rest.body._DRAIN_PAUSE_S", 0.01)
    pieces = [{"type": "http.request", "body": b"f=js", "more_body": True}]
    pieces += [{"type": "http.request", "body": b"on", "more_body": False}] * ends
    sent: list[dict] = []

    async def receive() -> dict:
        return pieces.pop(0) if pieces else await anyio.sleep_forever()

    async def send(message: dict) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"content-length", b"6")]
    headers += [(b"x-esri-authorization", b"Bearer expired")]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"f=json"}
    anyio.run(client.app, {**scope, "headers": headers, "client": ("127.0.0.1", 1), "state": {}}, receive, send)
    assert pieces == []
    assert ((b"connection", b"close") in sent[0]["headers"]) == (not ends)


def test_other_paths_are_plain_404(client: TestClient) -> None:
    assert client.get("/nothing").status_code == 404


def test_a_slash_at_the_end_makes_no_difference(client: TestClient) -> None:
    assert client.get(f"{TOOLBOX}/", params={"f": "json"}).json() == client.get(TOOLBOX, params={"f": "json"}).json()


@pytest.mark.parametrize(
    "body",
    [b"not json", b"[1,2]", b"[" * 100_000, b'"text"'],
)
def test_a_json_body_must_be_an_object(client: TestClient, alice: dict[str, str], body: bytes) -> None:
    headers = {**alice, "content-type": "application/json"}
    answer = client.post(f"{TOOLBOX}/EchoText/submitJob?f=json", content=body, headers=headers)

    assert answer.json()["error"]["code"] == 400


def test_other_bodies_are_refused(client: TestClient) -> None:
    answer = client.post(f"{TOOLBOX}?f=json", content=b"<x/>", headers={"content-type": "text/xml"})

    assert answer.json()["error"]["code"] == 400


def test_a_broken_multipart_form_is_refused(client: TestClient) -> None:
    headers = {"content-type": "multipart/form-data"}
    answer = client.post(f"{TOOLBOX}?f=json", content=b"--x\r\n\r\n", headers=headers)

    assert answer.json()["error"]["code"] == 400


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json"])
def test_a_form_that_is_too_large_is_refused_whatever_its_length_says(client: TestClient, kind: str) -> None:
    def chunks():
        for _ in range(40):
            yield b"a" * 100_000

    for content in (b"a" * 4_000_000, chunks()):
        answer = client.post(f"{TOOLBOX}?f=json", content=content, headers={"content-type": kind})
        assert answer.status_code == 200
        assert answer.json()["error"]["code"] == 413


@pytest.mark.parametrize("header", ["host", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-original-url"])
def test_urls_in_answers_come_from_the_settings(client: TestClient, header: str) -> None:
    spoof = {header: "evil.example"}
    for path in (f"{TOOLBOX}/EchoText", "/portal/sharing/rest/info", "/portal/sharing/rest/portals/self"):
        answer = client.get(path, params={"f": "json"}, headers=spoof)
        assert "evil.example" not in answer.text
        assert "https://gis.example.org:8443/" in answer.text
    for path in ("/", "/arcgis/rest", f"{TOOLBOX}/jobs"):
        assert "evil.example" not in client.get(path, headers=spoof).headers.get("location", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidToken("Invalid Token."), 498),
        (TokenRequired("Token Required"), 499),
        (TooManyLogins("wait"), 429),
        (NotPermitted("no"), 403),
        (BadCredentials("Unable to generate token."), 400),
        (AccessError("Item does not exist or is inaccessible."), 400),
        (InputError("wrong"), 400),
        (JobError("done"), 400),
        (BudgetError("too much"), 400),
    ],
)
def test_each_error_has_its_code_and_its_message(error: Exception, code: int) -> None:
    refusal = refusal_of(error)

    assert (refusal.code, refusal.message) == (code, str(error))


def test_every_code_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()

    for code in (400, 403, 413, 429, 498, 499, 500):
        assert f"| {code} |" in page


def test_all_faults_of_parameters_are_details() -> None:
    assert refusal_of(ParameterError(["a is wrong", "b is wrong"])).details == ("a is wrong", "b is wrong")


def broken_site(error: Exception) -> TestClient:
    def work(_call: object) -> Answer:
        raise error

    def unspeakable(_call: object) -> Answer:
        return Answer({"value": float("nan")})

    urls = Urls("https://h")
    desk = Desk(identities=None, pages=Pages(urls, "Site"), form_limit=1000, uploads=None)  # type: ignore[arg-type]
    paths = {"/arcgis/broken": work, "/arcgis/nan": unspeakable}
    return TestClient(make_site(desk, [Endpoint(path, work, Policy.OPEN) for path, work in paths.items()]))


@pytest.mark.parametrize("format", ["json", "html"])
def test_a_fault_of_ours_is_200_with_an_id_that_is_in_the_log(caplog: pytest.LogCaptureFixture, format: str) -> None:
    answer = broken_site(ZeroDivisionError("/srv/secret/path")).get("/arcgis/broken", params={"f": format})

    assert answer.status_code == 200
    assert "secret" not in answer.text
    assert "Quote " in answer.text
    error_id = answer.text.split("Quote ")[1].split(" ")[0]
    assert any(error_id in record.getMessage() and record.exc_info for record in caplog.records)


def test_a_refusal_is_told_as_it_is() -> None:
    answer = broken_site(Refusal(400, "No.", ["a", "b"])).get("/arcgis/broken?f=json")

    assert answer.json() == {"error": {"code": 400, "message": "No.", "details": ["a", "b"]}}


def test_an_answer_that_is_no_json_is_an_error_and_not_nan() -> None:
    answer = broken_site(ValueError()).get("/arcgis/nan?f=json")

    assert answer.json()["error"]["code"] == 500


@pytest.mark.parametrize("text", ["\ud800", "\x00", "\U0001f333 arbre é"])
def test_odd_text_does_not_break_an_answer(toolbox, text: str) -> None:
    body = json.dumps({"f": "json", "inputText": text})
    headers = {**toolbox.headers, "content-type": "application/json"}
    answer = toolbox.client.post(f"{TOOLBOX}/EchoText/submitJob", content=body, headers=headers).json()

    if text == "\ud800":
        assert answer["error"]["code"] == 400
    else:
        job_id = answer["jobId"]
        assert toolbox.finish("EchoText", job_id)["jobStatus"] == "esriJobSucceeded"
        assert toolbox.get(f"EchoText/jobs/{job_id}/results/outText").json()["value"] == {"result": text}
