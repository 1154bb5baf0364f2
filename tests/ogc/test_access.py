"""Who may do what over the OGC dialect, and what is said to those who may not."""

from __future__ import annotations

import re
from typing import Any

import pytest
from caller import Caller
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.rest.access import Policy

ECHO = "/ogc/processes/Echo/execution"
DEEP = b'{"inputs": ' + b"[" * 5000 + b"]" * 5000 + b"}"


def test_every_route_without_a_token_answers_by_its_policy(client: TestClient) -> None:
    for endpoint in client.app.state.endpoints:  # type: ignore[attr-defined]
        if not endpoint.path.startswith("/ogc"):
            continue
        answer = client.request(endpoint.methods[0], re.sub(r"\{[^}]*\}", "x", endpoint.path))
        if endpoint.policy in (Policy.USER, Policy.PUBLISHER):
            assert answer.status_code == 401, endpoint.path
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            assert answer.status_code in (200, 404), endpoint.path


def test_a_bad_token_is_told_as_one(client: TestClient) -> None:
    answer = client.get("/ogc/jobs", headers={"authorization": "Bearer x"})

    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_a_stale_token_does_not_hide_the_metadata(client: TestClient) -> None:
    for path in ("/ogc", "/ogc/processes", "/ogc/processes/Echo", "/ogc/api"):
        assert client.get(path, headers={"authorization": "Bearer x"}).status_code == 200


def test_a_token_is_taken_from_the_query(client: TestClient, token: dict[str, str]) -> None:
    answer = client.get("/ogc/jobs", params={"token": token["ann"]})

    assert answer.status_code == 200
    assert token["ann"] not in answer.text


def test_jobs_are_their_owners_and_the_administrators(ann: Caller, carl: Caller, root: Caller, rooms: Rooms) -> None:
    job = ann.submit("Echo", inputs={"stringInput": "a"})
    rooms.dispatcher.wait(job, 20)

    for path in (f"/jobs/{job}", f"/jobs/{job}/results", f"/jobs/{job}/results/stringInput"):
        assert carl.get(path).status_code == 404
        assert root.get(path).status_code == 200
    assert carl.send("DELETE", f"/jobs/{job}").status_code == 404
    assert job not in [each["jobID"] for each in carl.get("/jobs").json()["jobs"]]
    assert job in [each["jobID"] for each in root.get("/jobs").json()["jobs"]]


def test_a_session_opens_pages_but_executes_nothing(client: TestClient) -> None:
    client.post("/arcgis/rest/login", data={"username": "ann", "password": "correct horse battery"})
    try:
        page = client.get("/ogc/jobs", headers={"accept": "text/html"})
        api = client.get("/ogc/jobs", headers={"accept": "application/json"})
        execution = client.post(ECHO, json={"inputs": {"stringInput": "a"}}, headers={"accept": "text/html"})
    finally:
        client.cookies.clear()

    assert page.status_code == 200
    assert api.status_code == 401
    assert execution.status_code == 401


def test_people_are_led_to_the_sign_in_page(client: TestClient) -> None:
    answer = client.get("/ogc/jobs", headers={"accept": "text/html,*/*;q=0.8"})

    assert answer.status_code == 303
    assert "login?next=/ogc/jobs" in answer.headers["location"]


def test_errors_are_pages_for_people_with_the_real_status(ann: Caller) -> None:
    answer = ann.get("/processes/Nothing", accept="text/html")

    assert answer.status_code == 404
    assert "Nothing" in answer.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (DEEP, "application/json", 400),
        (b'{"inputs": {"stringInput": "a", "stringInput": "b"}}', "application/json", 400),
        (b'{"inputs": {"doubleInput": NaN}}', "application/json", 400),
        (b'{"inputs": {"doubleInput": 1e999}}', "application/json", 400),
        (b'{"inputs": {"pause": ' + b"9" * 4000 + b"}}", "application/json", 400),
        (b'{"inputs": {"stringInput": "\\ud800"}}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"stringInput=a", "application/x-www-form-urlencoded", 415),
        (b"", "", 415),
        (b" " * (17 * 2**20), "application/json", 413),
    ],
)
def test_bodies_that_are_hostile_are_refused(ann: Caller, body: bytes, kind: str, status: int) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = ann.send("POST", "/processes/Echo/execution", content=body, headers=headers)

    assert answer.status_code == status
    assert len(answer.text) < 2000


def test_a_query_parameter_that_nobody_knows_is_refused(ann: Caller) -> None:
    answer = ann.get("/jobs", stauts="failed")

    assert answer.status_code == 400
    assert "stauts" in answer.json()["detail"]


@pytest.mark.parametrize("query", [{"f": "xml"}, {"f": "pjson"}])
def test_a_format_that_there_is_not_is_refused(nobody: Caller, query: dict[str, str]) -> None:
    assert nobody.get("/processes", **query).status_code == 400


def test_what_nobody_can_read_is_not_sent(nobody: Caller) -> None:
    assert nobody.get("/processes", accept="image/png").status_code == 406
    assert nobody.get("/processes", accept="image/png, text/html;q=0.1").status_code == 200


@pytest.mark.parametrize("accept", ["", "*/*;q=x", ",,,", "application/json;q=0, */*", "a" * 5000, "*/*;q=nan"])
def test_odd_accept_headers_do_no_harm(nobody: Caller, accept: str) -> None:
    assert nobody.get("/processes", accept=accept).status_code in (200, 406)


def test_problems_are_plain_json_only_for_those_who_take_nothing_else(nobody: Caller) -> None:
    types = {
        accept: nobody.get("/processes/x", accept=accept).headers["content-type"]
        for accept in ("*/*", "application/json")
    }

    assert types == {"*/*": "application/problem+json", "application/json": "application/json"}


def test_what_is_not_there_at_all_is_a_problem_too(nobody: Caller, client: Any) -> None:
    assert nobody.get("/nothing/at/all").json()["status"] == 404
    assert client.get("/ogcx").headers["content-type"].startswith("text/plain")
