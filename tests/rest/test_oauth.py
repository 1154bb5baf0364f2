"""The sign-in that ArcGIS clients do by default, with the requests of contract 3.1 and 3.2."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.testclient import TestClient

from raster_analysis.portal.tokens import Token
from raster_analysis.rest.codes import LIFETIME_S, Codes

AUTHORIZE = "/portal/sharing/rest/oauth2/authorize"
SIGN_IN = "/portal/sharing/oauth2/signin"
TOKEN = "/portal/sharing/rest/oauth2/token"
HERE = "https://gis.example.org:8443"
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
PASSWORD = "correct horse battery"


def authorize(client: TestClient, **changes: str):
    query = {
        "response_type": "token",
        "client_id": "pythonapi",
        "redirect_uri": HERE,
        "state": "S1",
        "expiration": "600",
        "allow_verification": "false",
        "style": "dark",
        "locale": "en-US",
        **changes,
    }
    return client.get(AUTHORIZE, params=query)


def read_info(page: str) -> dict[str, object]:
    """As the client does: the one JSON object on the first line that has braces."""
    line = next(line for line in page.splitlines() if "{" in line)
    (text,) = re.findall(r"{.*}", line)
    return json.loads(text)


def sign_in(client: TestClient, page: str, password: str = PASSWORD):
    form = {"expiration": "600", "oauth_state": read_info(page)["oauth_state"], "username": "alice"}
    return client.post(SIGN_IN, data={**form, "password": password})


def test_a_user_gets_a_token_in_the_fragment(client: TestClient) -> None:
    page = authorize(client)
    answer = sign_in(client, page.text)
    target = urlsplit(answer.headers["location"])
    values = dict(parse_qsl(target.fragment))

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert answer.status_code == 302
    assert f"{target.scheme}://{target.netloc}{target.path}" == HERE
    assert (values["username"], values["ssl"], values["state"]) == ("alice", "true", "S1")
    assert 35_000 < int(values["expires_in"]) <= 36_000
    headers = {"X-Esri-Authorization": f"Bearer {values['access_token']}"}
    me = client.get("/portal/sharing/rest/community/self", params={"f": "json"}, headers=headers)
    assert me.json()["username"] == "alice"


def test_a_wrong_password_shows_the_page_with_a_message(client: TestClient) -> None:
    answer = sign_in(client, authorize(client).text, "wrong")

    assert answer.status_code == 200
    assert read_info(answer.text)["messages"] == ["Invalid username or password."]
    assert sign_in(client, answer.text).status_code == 302


def test_a_code_is_shown_in_the_title_and_is_worth_a_token_once(client: TestClient) -> None:
    page = authorize(client, response_type="code", redirect_uri=OUT_OF_BAND)
    answer = sign_in(client, page.text)
    code = re.search("<title>SUCCESS code=(.*?)</title>", answer.text)[1]
    form = {"grant_type": "authorization_code", "client_id": "pythonapi", "code": code, "redirect_uri": OUT_OF_BAND}

    first, second = (client.post(TOKEN, data=form) for _ in range(2))
    assert first.json()["username"] == "alice"
    assert first.json()["expires_in"] > 300
    assert second.json()["error"]["code"] == 400


def test_even_a_short_token_outlives_the_clients_early_renewal(client: TestClient) -> None:
    answer = sign_in(client, authorize(client, expiration="1").text)

    assert int(dict(parse_qsl(urlsplit(answer.headers["location"]).fragment))["expires_in"]) > 300


@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://evil.example",
        "https://gis.example.org:8443@evil.example",
        "https://gis.example.org:8443.evil.example",
        "https://evil.example\\@gis.example.org:8443",
        "http://gis.example.org:8443",
        "https://gis.example.org:1",
        "https://localhost:8443",
        "//gis.example.org:8443",
        "javascript:alert(1)",
        "https://gis.example.org:x",
    ],
)
def test_a_token_is_sent_to_this_server_only(client: TestClient, target: str) -> None:
    page = authorize(client, redirect_uri=target).text

    assert "oauth_state" not in page
    assert "is not an address of this server" in page
    assert "Invalid redirect_uri" not in page


@pytest.mark.parametrize("change", ["", "nonsense", "é.0", "tampered"])
def test_a_state_that_is_not_ours_is_refused(client: TestClient, change: str) -> None:
    state = str(read_info(authorize(client).text)["oauth_state"])
    given = f"A{state[1:]}" if change == "tampered" else change
    answer = client.post(SIGN_IN, data={"oauth_state": given, "username": "alice", "password": PASSWORD})

    assert "location" not in answer.headers
    assert "out of date" in answer.text


def test_codes_run_out() -> None:
    now = 0.0
    codes = Codes(lambda: now)
    code = codes.keep(Token("value", "alice", 0))
    now = LIFETIME_S

    assert codes.take(code) is None
