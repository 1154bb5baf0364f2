"""The access log: one line a request, nothing secret, nothing forged (negative tests A03, A13)."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from raster_analysis.rest.journal import redact_query

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "raster_analysis.access")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "raster_analysis.access"]


def test_a_request_is_one_json_line(client: TestClient, lines) -> None:
    client.get(TOOLBOX, params={"f": "json"})
    (line,) = lines()

    entry = json.loads(line)
    assert (entry["method"], entry["path"], entry["query"], entry["status"]) == ("GET", TOOLBOX, "f=json", 200)


def test_tokens_are_never_in_the_log(client: TestClient, token: dict[str, str], lines, caplog) -> None:
    value = token["alice"]
    raster = json.dumps({"url": f"https://h/ImageServer?token={value}", "serviceToken": value})
    client.get(f"{TOOLBOX}/EchoText/submitJob", params={"f": "json", "token": value, "inputText": raster})
    client.get(f"{TOOLBOX}/jobs", headers={"X-Esri-Authorization": f"Bearer {value}"})
    client.get("/portal/sharing/rest/generateToken", params={"username": "a", "password": value, "f": "json"})

    assert len(lines()) == 3
    assert value not in caplog.text


@pytest.mark.parametrize("evil", ["\r\nGET /forged", "\x1b[2J", "\u2028", "x" * 50_000])
def test_a_line_cannot_be_forged_or_flooded(client: TestClient, lines, evil: str) -> None:

    client.get(TOOLBOX, params={"f": "json", "x": evil}, headers={"x-request-id": evil[:100].replace("\u2028", "")})
    (line,) = lines()

    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 5000


def test_a_sensible_request_id_is_kept_and_any_other_replaced(client: TestClient) -> None:
    kept = client.get(TOOLBOX, headers={"x-request-id": "abc-123"}).headers["x-request-id"]
    replaced = client.get(TOOLBOX, headers={"x-request-id": "a" * 10_000}).headers["x-request-id"]

    assert kept == "abc-123"
    assert len(replaced) == 16


@given(
    st.text(alphabet="ABCDEFabcdef0123456789_-", min_size=8, max_size=43),
    st.sampled_from(["token", "Token", "serviceToken", "password"]),
)
def test_no_secret_survives_redaction(secret: str, name: str) -> None:
    nested = f"raster=%7B%22url%22%3A%22https%3A%2F%2Fh%3Ftoken%3D{secret}%22%7D"

    assert secret not in redact_query(f"f=json&{name}={secret}").replace(name, "")
    assert secret not in redact_query(nested)
