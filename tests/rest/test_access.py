"""Who may call what (negative tests A03, A14, A18)."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.errors import BadCredentials
from raster_analysis.rest.access import SESSION_COOKIE, Policy
from raster_analysis.rest.dialect import ARCGIS
from raster_analysis.rest.endpoint import Endpoint
from raster_analysis.rest.routes import routes_table

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
SIGNED_IN = (Policy.USER, Policy.PUBLISHER, Policy.ADMINISTRATOR)
PASSWORD = "correct horse battery"


def endpoints(client: TestClient) -> list[Endpoint]:
    return list(client.app.state.endpoints)


def arcgis_endpoints(client: TestClient) -> list[Endpoint]:
    """Those whose errors are envelopes; the others' tests are beside their dialect."""
    return [endpoint for endpoint in endpoints(client) if endpoint.dialect is ARCGIS]


def test_there_is_no_route_without_a_policy(client: TestClient) -> None:
    declared = {endpoint.path for endpoint in endpoints(client)}
    served = {route.path for route in client.app.routes if isinstance(route, Route)}

    assert len(client.app.routes) == len(endpoints(client))
    assert served == declared
    assert all(isinstance(endpoint.policy, Policy) for endpoint in endpoints(client))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_route_without_a_token_answers_by_its_policy(client: TestClient, method: str) -> None:
    for endpoint in arcgis_endpoints(client):
        if method not in endpoint.methods:
            continue
        answer = client.request(method, re.sub(r"\{[^}]*\}", "x", endpoint.path), params={"f": "json"})
        text = answer.text
        code = answer.json().get("error", {}).get("code") if text.startswith("{") else None

        assert answer.status_code in (200, 302, 303), endpoint.path
        assert "www-authenticate" not in answer.headers
        if endpoint.policy in SIGNED_IN:
            assert code == 499, endpoint.path
            assert answer.json()["error"]["message"] == "Token Required"
        else:
            assert code not in (498, 499), endpoint.path


def test_the_page_of_routes_is_up_to_date(client: TestClient) -> None:
    page = Path(__file__).parents[2] / "docs" / "routes.md"
    assert page.read_text() == routes_table(endpoints(client)), "run python tests/rest/write_routes.py"


def test_a_viewer_is_refused_where_publishers_are_wanted(client: TestClient, token: dict[str, str]) -> None:
    wanted = [endpoint for endpoint in endpoints(client) if endpoint.policy in (Policy.PUBLISHER, Policy.ADMINISTRATOR)]
    assert wanted
    for endpoint in wanted:
        url = re.sub(r"\{[^}]*\}", "x", endpoint.path)
        answer = client.request(endpoint.methods[0], url, params={"f": "json", "token": token["bob"]})
        assert answer.json()["error"]["code"] == 403, endpoint.path


def test_every_route_of_the_portal_is_at_the_root_too(client: TestClient) -> None:
    routes = {(endpoint.path, endpoint.policy, endpoint.changes) for endpoint in endpoints(client)}
    below = {route for route in routes if route[0].startswith("/portal/sharing")}
    assert below
    assert {(path.removeprefix("/portal"), *rest) for path, *rest in below} <= routes


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_route_tells_more_to_a_token_that_is_not_valid(client: TestClient, method: str) -> None:
    for endpoint in arcgis_endpoints(client):
        if method not in endpoint.methods or endpoint.policy is Policy.OPEN:
            continue
        url = re.sub(r"\{[^}]*\}", "x", endpoint.path)
        answer = client.request(method, url, params={"f": "json", "token": "x"})
        assert answer.json()["error"] == {"code": 498, "message": "Invalid Token.", "details": []}, endpoint.path


def test_no_route_changes_anything_without_a_user(client: TestClient) -> None:
    for endpoint in endpoints(client):
        if endpoint.changes and not endpoint.path.endswith("/logout"):
            assert endpoint.policy in SIGNED_IN, endpoint.path


@pytest.mark.parametrize("way", ["x-esri-authorization", "authorization", "query", "form"])
def test_a_token_is_taken_from_both_headers_query_and_form(client: TestClient, token: dict[str, str], way: str) -> None:
    url, value = f"{TOOLBOX}/jobs", token["alice"]
    answer = {
        "x-esri-authorization": lambda: client.get(url, params={"f": "json"}, headers={way: f"Bearer {value}"}),
        "authorization": lambda: client.get(url, params={"f": "json"}, headers={way: f"bearer {value}"}),
        "query": lambda: client.get(url, params={"f": "json", "token": value}),
        "form": lambda: client.post(url, data={"f": "json", "token": value}),
    }[way]()

    assert "jobs" in answer.json()


def bad_tokens(rooms: Rooms, token: dict[str, str]) -> dict[str, str]:
    revoked = rooms.portal.tokens.issue("alice", 3600).value
    rooms.portal.tokens.revoke(revoked)
    return {
        "revoked": revoked,
        "truncated": token["alice"][:-1],
        "None": "None",
        "nonsense": "x",
        "long": "x" * 5000,
        "not ascii": "é",
    }


@pytest.mark.parametrize("which", ["revoked", "truncated", "None", "nonsense", "long", "not ascii"])
def test_a_bad_token_is_498(client: TestClient, rooms: Rooms, token: dict[str, str], which: str) -> None:
    value = bad_tokens(rooms, token)[which]
    answer = client.get(f"{TOOLBOX}/jobs", params={"f": "json", "token": value})

    assert answer.status_code == 200
    assert answer.json() == {"error": {"code": 498, "message": "Invalid Token.", "details": []}}


def test_a_stale_token_does_not_hide_the_metadata(client: TestClient) -> None:
    for path in (TOOLBOX, f"{TOOLBOX}/EchoText", "/arcgis/rest/services"):
        answer = client.get(path, params={"f": "json"}, headers={"X-Esri-Authorization": "Bearer None"})
        assert "error" not in answer.json()


def sign_in(client: TestClient, name: str = "alice", password: str = PASSWORD, **extra: str):
    return client.post("/arcgis/rest/login", data={"username": name, "password": password, **extra})


@pytest.fixture
def browser(client: TestClient):
    """A client with alice's session cookie, which is taken away again."""
    assert sign_in(client).status_code == 303
    yield client
    client.cookies.clear()


def csrf_of(browser: TestClient) -> str:
    page = browser.get(f"{TOOLBOX}/EchoText").text
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', page)[1]


def test_the_session_cookie_is_out_of_reach_for_scripts_and_other_sites(client: TestClient) -> None:
    cookie = sign_in(client).headers["set-cookie"]
    client.cookies.clear()

    assert cookie.startswith(SESSION_COOKIE)
    for attribute in ("HttpOnly", "Secure", "SameSite=strict", "Max-Age="):
        assert attribute in cookie


def test_no_api_answer_sets_a_cookie(client: TestClient, alice: dict[str, str]) -> None:
    for path in (TOOLBOX, f"{TOOLBOX}/jobs", "/portal/sharing/rest/portals/self"):
        assert "set-cookie" not in client.get(path, params={"f": "json"}, headers=alice).headers


def test_a_session_opens_pages_but_no_api(browser: TestClient) -> None:
    page = browser.get(f"{TOOLBOX}/jobs")
    api = browser.get(f"{TOOLBOX}/jobs", params={"f": "json"})

    assert page.headers["content-type"].startswith("text/html")
    assert "My jobs" in page.text
    assert api.json()["error"]["code"] == 499


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
def test_a_browser_cannot_submit_without_its_csrf_token(browser: TestClient, csrf: str) -> None:
    answer = browser.post(f"{TOOLBOX}/EchoText/submitJob", data={"inputText": "hello", "csrf": csrf})

    assert answer.status_code == 200
    assert "out of date" in answer.text


def test_a_link_cannot_submit(browser: TestClient) -> None:
    answer = browser.get(f"{TOOLBOX}/EchoText/submitJob", params={"inputText": "hello", "csrf": csrf_of(browser)})

    assert "Use the form" in answer.text


def test_the_form_with_its_csrf_token_submits(browser: TestClient) -> None:
    form = {"f": "html", "inputText": "hello", "csrf": csrf_of(browser)}
    answer = browser.post(f"{TOOLBOX}/EchoText/submitJob", data=form)

    assert answer.status_code == 303
    assert re.fullmatch(rf"{TOOLBOX}/EchoText/jobs/j[0-9a-f]{{32}}", answer.headers["location"])


def test_signing_out_ends_the_session_at_once(client: TestClient) -> None:
    sign_in(client)
    session = client.cookies[SESSION_COOKIE]
    client.post("/arcgis/rest/logout", data={"csrf": csrf_of(client)})
    client.cookies.clear()

    answer = client.get(f"{TOOLBOX}/jobs", headers={"cookie": f"{SESSION_COOKIE}={session}"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/arcgis/rest/login")


def test_another_site_cannot_sign_its_visitor_in(client: TestClient) -> None:
    form = {"username": "alice", "password": PASSWORD}
    answer = client.post("/arcgis/rest/login", data=form, headers={"Sec-Fetch-Site": "cross-site"})

    assert "set-cookie" not in answer.headers


def test_wrong_password_and_unknown_user_look_the_same(client: TestClient) -> None:
    wrong = sign_in(client, "alice", "wrong password")
    unknown = sign_in(client, "alicf", "wrong password")

    assert wrong.status_code == unknown.status_code == 200
    assert wrong.text.replace("alice", "NAME") == unknown.text.replace("alicf", "NAME")


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/arcgis/rest/..//evil", "/arcgis/rest/\\evil", "javascript:x"],
)
def test_signing_in_never_leads_to_another_site(client: TestClient, target: str) -> None:
    answer = sign_in(client, next=target)
    client.cookies.clear()

    assert answer.headers["location"] == "/arcgis/rest/services"


def test_signing_in_leads_back_to_the_page(client: TestClient) -> None:
    answer = sign_in(client, next=f"{TOOLBOX}/EchoText")
    client.cookies.clear()

    assert answer.headers["location"] == f"{TOOLBOX}/EchoText"


def test_there_are_no_cors_headers(client: TestClient) -> None:
    answer = client.get(TOOLBOX, params={"f": "json"}, headers={"Origin": "https://evil.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_large_body_is_taken_only_from_somebody_who_showed_a_token_first(
    client: TestClient, token: dict[str, str]
) -> None:
    url, file = "/portal/sharing/rest/content/users/alice/addItem?f=json", {"file": ("big.pdf", b"x" * 3 * 1024**2)}
    form = {"type": "PDF", "title": "Large"}
    assert client.post(url, data=form, files=file).json()["error"]["code"] == 413
    # A token that comes within the body comes too late: it may stand behind the file.
    assert client.post(url, data={"token": token["alice"], **form}, files=file).json()["error"]["code"] == 413
    assert client.post(f"{url}&token=unknown", data=form, files=file).json()["error"]["code"] == 498
    assert client.post(f"{url}&token={token['alice']}", data=form, files=file).json()["success"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "multipart/form-data"])
def test_text_stays_small_where_files_may_be_large(client: TestClient, alice: dict[str, str], kind: str) -> None:
    text = b"a" * 3 * 1024**2
    bodies = {
        "application/x-www-form-urlencoded": b"type=PDF&title=" + text,
        "application/json": b'{"type": "PDF", "title": "' + text + b'"}',
        "multipart/form-data": b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\n' + text + b"\r\n--x--\r\n",
    }
    answer = client.post(
        "/portal/sharing/rest/content/users/alice/addItem?f=json",
        content=bodies[kind],
        headers={**alice, "Content-Type": kind + ("; boundary=x" if kind.startswith("multipart") else "")},
    ).json()
    # Refused for its size, and not for what it says after all of it was held in memory.
    assert re.search(r"larger than the 2,097,152 bytes|exceeded maximum size of 2048KB", answer["error"]["message"])


def test_many_who_sign_in_keep_nobody_else_waiting(
    client: TestClient, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_verify = Event()

    def verify(_name: str, _password: str) -> None:
        assert may_verify.wait(30)
        raise BadCredentials("Unable to generate token.")

    monkeypatch.setattr(rooms.portal.users, "verify", verify)
    monkeypatch.setattr(rooms.portal.throttle, "check", lambda *_: None)
    form = {"f": "json", "username": "stranger", "password": "guess", "redirect_uri": client.base_url}
    with ThreadPoolExecutor(61) as threads:
        paths = ("/portal/sharing/rest/generateToken", "/arcgis/rest/login")
        signing_in = [threads.submit(client.post, paths[n % 2], data=form) for n in range(60)]
        try:
            assert threads.submit(client.get, "/livez").result(10).text == "ok\n"
            assert not any(attempt.done() for attempt in signing_in)
        finally:
            may_verify.set()
        assert all(attempt.result().status_code == 200 for attempt in signing_in)
