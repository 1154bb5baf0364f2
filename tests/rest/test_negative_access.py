"""Hostile requests to the portal and its tools, one or more for each case of the negative tests."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from portal_client import BASE_URL, CONTENT, INACCESSIBLE, MINE, SHARING, TOOLBOX, Asker, Toolbox
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.portal.tokens import GRACE_MS

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
INVALID = {"error": {"code": 498, "message": "Invalid Token.", "details": []}}


def service(ask: Asker, name: str) -> dict[str, Any]:
    parameters = json.dumps({"name": name})
    return ask(f"{MINE}/createService", outputType="featureService", createParameters=parameters)


def our_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the server logged; the client of these tests logs too."""
    return [record.getMessage() for record in caplog.records if record.name.startswith("raster_analysis")]


# --- A03: tokens


@pytest.fixture
def bad_tokens(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    tokens = rooms.portal.tokens
    now = tokens._clock
    monkeypatch.setattr(tokens, "_clock", lambda: now() - GRACE_MS - 120_000)
    expired = tokens.issue("alice", 60).value
    monkeypatch.setattr(tokens, "_clock", now)
    good, revoked = tokens.issue("alice", 600).value, tokens.issue("alice", 600).value
    tokens.revoke(revoked)
    return {"expired": expired, "revoked": revoked, "truncated": good[:-1], "longer": f"{good}0", "none": "None"}


@pytest.mark.parametrize("way", ["header", "query", "form"])
@pytest.mark.parametrize("which", ["expired", "revoked", "truncated", "longer", "none"])
def test_A03_a_bad_token_is_498_and_in_no_log(
    client: TestClient, bad_tokens: dict[str, str], which: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    value, url = bad_tokens[which], f"{SHARING}/community/self"
    answer = {
        "header": lambda: client.get(url, params={"f": "json"}, headers={"X-Esri-Authorization": f"Bearer {value}"}),
        "query": lambda: client.get(url, params={"f": "json", "token": value}),
        "form": lambda: client.post(url, data={"f": "json", "token": value}),
    }[way]()
    assert (answer.status_code, answer.json()) == (200, INVALID)
    assert value == "None" or value not in "".join(our_lines(caplog))


def test_A03_a_token_is_good_for_ten_minutes_more(rooms: Rooms, monkeypatch: pytest.MonkeyPatch, nobody: Asker) -> None:
    tokens = rooms.portal.tokens
    now = tokens._clock
    monkeypatch.setattr(tokens, "_clock", lambda: now() - GRACE_MS + 5000)
    value = tokens.issue("alice", 1).value
    monkeypatch.setattr(tokens, "_clock", now)
    assert nobody(f"{SHARING}/community/self", token=value)["username"] == "alice"


def test_A03_another_users_token_gives_that_users_rights_and_no_more(as_alice: Asker, as_carol: Asker) -> None:
    item_id = as_alice.add("Not carol's")
    assert as_carol(f"{SHARING}/portals/self")["user"]["username"] == "carol"
    assert as_carol.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)
    assert as_carol.error(f"{MINE}/items/{item_id}/delete") == (400, INACCESSIBLE)


@pytest.mark.parametrize("referer", ["http", "https://evil.example/page", ""])
def test_A03_the_referer_neither_opens_nor_closes_anything(
    client: TestClient, alice: dict[str, str], referer: str
) -> None:
    headers = {"Referer": referer}
    url = f"{SHARING}/community/self"
    assert client.get(url, params={"f": "json"}, headers=headers).json()["error"]["code"] == 499
    assert client.get(url, params={"f": "json"}, headers=alice | headers).json()["username"] == "alice"


def test_A03_a_good_token_in_the_query_is_in_no_log_either(
    client: TestClient, rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    value = rooms.portal.tokens.issue("alice", 600).value
    client.get(f"{SHARING}/search", params={"f": "json", "token": value, "q": "x"})
    client.get(TOOLBOX, params={"f": "json", "url": f"https://h/?token={value}"})
    lines = "".join(our_lines(caplog))
    assert "/search" in lines
    assert value not in lines


# --- A04: other people's things


def test_A04_others_jobs_are_as_if_they_were_not_there(
    client: TestClient, rooms: Rooms, alice: dict[str, str], carol: dict[str, str]
) -> None:
    mine = Toolbox(client, rooms, alice)
    job = mine.submit("EchoText", inputText="secret")
    mine.finish("EchoText", job)
    theirs = Toolbox(client, rooms, carol)
    missing = "j" + "0" * 32
    for part in ("", "/messages", "/results/outText", "/inputs/inputText", "/cancel"):
        answers = [theirs.get(f"EchoText/jobs/{each}{part}").text.replace(each, "ID") for each in (job, missing)]
        assert answers[0] == answers[1], part
        assert "secret" not in answers[0]


def test_A04_others_items_files_folders_and_uploads_are_as_if_they_were_not_there(
    as_alice: Asker, as_carol: Asker
) -> None:
    picture = {"thumbnail": ("t.gif", b"GIF89a")}
    item_id, folder = as_alice.add("A04", picture), as_alice(f"{MINE}/createFolder", title="A04")["folder"]["id"]
    upload = as_alice(f"{TOOLBOX}/uploads/register", itemName="x")["item"]["itemID"]
    begun = as_alice(f"{MINE}/addItem", type="PDF", title="t", multipart="true")["id"]
    made = service(as_alice, "a04")
    paths = {
        f"{CONTENT}/items/{item_id}": item_id,
        f"{CONTENT}/items/{item_id}/data": item_id,
        f"{CONTENT}/items/{item_id}/info/thumbnail/thumbnail.gif": item_id,
        f"{CONTENT}/items/{made['itemId']}": made["itemId"],
        f"{CONTENT}/users/carol/items/{item_id}/update": item_id,
        f"{CONTENT}/users/carol/items/{item_id}/protect": item_id,
        f"{CONTENT}/users/carol/items/{item_id}/deleteThumbnail": item_id,
        f"{CONTENT}/users/carol/items/{item_id}/share": item_id,
        f"{CONTENT}/users/carol/items/{item_id}/move": item_id,
        f"{CONTENT}/users/carol/items/{begun}/status": begun,
        f"{CONTENT}/users/carol/items/{begun}/commit": begun,
        f"{CONTENT}/users/carol/{folder}": folder,
        f"{CONTENT}/users/carol/{folder}/delete": folder,
        f"{TOOLBOX}/uploads/{upload}": upload,
        f"{TOOLBOX}/uploads/{upload}/delete": upload,
        f"{CONTENT}/users/alice": "alice",
    }
    for path, secret in paths.items():
        absent = path.replace(secret, "nobody" if secret == "alice" else secret[0] + "0" * (len(secret) - 1))
        assert as_carol.error(path) == as_carol.error(absent), path
    assert as_alice(f"{CONTENT}/items/{item_id}")["thumbnail"]


def test_A04_a_service_that_is_not_shared_is_in_no_list(as_alice: Asker, as_carol: Asker, nobody: Asker) -> None:
    service(as_alice, "a04_hidden")
    for other in (as_carol, nobody):
        assert "a04_hidden" not in json.dumps(other("/arcgis/rest/services/Hosted"))
        there, absent = (
            other.get(f"/arcgis/rest/services/Hosted/{name}/FeatureServer").text
            for name in ("a04_hidden", "a04_absent")
        )
        assert there.replace("a04_hidden", "NAME") == absent.replace("a04_absent", "NAME")


# --- A06: formats, repeated parameters, kinds of form, methods


@pytest.mark.parametrize("wanted", ["xml", "json5", "<script>", "x" * 5000])
def test_A06_an_unknown_format_is_refused_in_words(client: TestClient, wanted: str) -> None:
    answer = client.get(f"{SHARING}/info", params={"f": wanted})
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, 400)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.text) < 1000


def test_A06_a_parameter_with_two_values_is_refused(client: TestClient, alice: dict[str, str]) -> None:
    for answer in (
        client.get(f"{SHARING}/search?f=json&q=a&q=b", headers=alice),
        client.post(f"{SHARING}/search", content="f=json&q=a&q=b", headers={**alice, **FORM}),
    ):
        assert "'q' is given twice" in answer.json()["error"]["message"]
    assert "results" in client.get(f"{SHARING}/search?f=json&q=a&q=a", headers=alice).json()


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_A06_every_kind_of_form_is_read_alike(client: TestClient, alice: dict[str, str], as_alice: Asker) -> None:
    item_id = as_alice.add("Kinds of form")
    query = {"f": "json", "q": f"id:{item_id}"}
    answers = [
        client.get(f"{SHARING}/search", params=query, headers=alice),
        client.post(f"{SHARING}/search", data=query, headers=alice),
        client.post(f"{SHARING}/search", json=query, headers=alice),
        client.post(f"{SHARING}/search", files={name: (None, text) for name, text in query.items()}, headers=alice),
    ]
    assert {answer.json()["total"] for answer in answers} == {1}


def test_A06_pjson_is_json_with_line_breaks(client: TestClient) -> None:
    plain, pretty = (client.get(f"{SHARING}/info", params={"f": wanted}) for wanted in ("json", "pjson"))
    assert plain.json() == pretty.json()
    assert "\n" not in plain.text
    assert "\n" in pretty.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_A06_other_methods_are_told_in_an_envelope(client: TestClient, method: str) -> None:
    for path in (f"{SHARING}/portals/self", TOOLBOX, f"{MINE}/addItem"):
        answer = client.request(method, path, params={"f": "json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 405), path


# --- A08: paths that lead out of a store


@pytest.fixture(scope="module")
def outside(rooms: Rooms) -> Path:
    """A link in the store that leads to the portal's own database."""
    link = rooms.settings.stores["s"] / "out"
    link.symlink_to(rooms.settings.data)
    return link


@pytest.mark.parametrize(
    "location",
    [
        "/fileShares/s/../../etc", "/fileShares/s/%2e%2e/x", "/fileShares/s/%252e%252e/x", "/fileShares/s/a\x00b",
        "/etc/passwd", "/fileShares/s/out/portal.sqlite", "/fileShares/other/x.dlpk", "/cloudStores/s/x.dlpk",
        "/rasterStores/s/..\\..\\x", "file:///etc/passwd", "/fileShares//etc/passwd", "\\\\host\\share\\x.dlpk",
    ],
)  # fmt: skip
def test_A08_locations_outside_a_store_are_refused_and_tell_nothing(
    toolbox: Toolbox, rooms: Rooms, outside: Path, location: str
) -> None:
    job = toolbox.submit("PublishDeepLearningModel", modelLocation=location, outputName="stolen")
    told = json.dumps(toolbox.finish("PublishDeepLearningModel", job))
    assert "esriJobFailed" in told
    assert str(rooms.settings.data) not in told
    assert str(outside.parent) not in told
    assert "root:" not in told


def test_A08_what_is_missing_and_what_is_outside_are_one_answer(toolbox: Toolbox, outside: Path) -> None:
    told = set()
    for name in ("out/portal.sqlite", "out/missing.sqlite"):
        job = toolbox.submit("PublishDeepLearningModel", modelLocation=f"/fileShares/s/{name}", outputName="x")
        messages = toolbox.finish("PublishDeepLearningModel", job)["messages"]
        assert isinstance(messages, list)
        told |= {m["description"].replace(name, "") for m in messages if "modelLocation" in m["description"]}
    assert len(told) == 1


# --- A12: where URLs come from


def test_A12_urls_in_answers_come_from_the_configured_base(client: TestClient, alice: dict[str, str]) -> None:
    spoofed = {
        "Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http",
        "X-Forwarded-For": "1.2.3.4", "Forwarded": "host=evil.example", "X-Original-URL": "/evil.example",
    }  # fmt: skip
    parameters = json.dumps({"name": "a12"})
    requests: dict[str, dict[str, str]] = {
        f"{SHARING}/info": {}, f"{SHARING}/portals/self": {}, f"{SHARING}/portals/self/servers": {},
        f"{MINE}/createService": {"outputType": "imageService", "createParameters": parameters},
        f"{SHARING}/search": {"q": "a12"}, "/arcgis/rest/info": {}, f"{TOOLBOX}/EchoText": {},
        "/sharing/rest/portals/self": {},
    }  # fmt: skip
    for path, form in requests.items():
        answer = client.post(path, data={"f": "json", **form}, headers=alice | spoofed)
        assert "evil.example" not in answer.text, path
        assert BASE_URL.partition("://")[2] in answer.text, path
    for path in ("/", "/portal", "/arcgis/rest"):
        assert "evil.example" not in client.get(path, headers=spoofed).headers.get("location", "")


# --- A13: what gets into the log


@pytest.mark.parametrize(
    "text",
    ["a\r\nFORGED line", "\x1b[31mred\x1b[0m", "\u2028\u202e", "x" * 1_000_000, "\x00", "é" * 1000],
    ids=["line end", "escape", "directions", "megabyte", "nul", "not ascii"],
)
def test_A13_requests_cannot_forge_or_flood_the_log(
    client: TestClient, as_alice: Asker, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    as_alice(f"{SHARING}/search", q=text)
    as_alice(f"{MINE}/addItem", {"file": ("m.dlpk", b"no package")}, type="Deep Learning Package", title=text[:200])
    client.post(f"{SHARING}/generateToken", data={"f": "json", "username": text, "password": "wrong!!!"})
    client.get(f"/portal/sharing/rest/content/items/{quote(text[:2000])}?f=json&q={quote(text[:20_000])}")
    lines = our_lines(caplog)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[\x20-\x7e]{1,7000}", line), line[:200]


@pytest.mark.parametrize("given", ["x" * 10_000, "a b", "<script>", "é"])
def test_A13_a_clients_request_id_is_kept_only_when_it_is_harmless(client: TestClient, given: str) -> None:
    answer = client.get(f"{SHARING}/info", params={"f": "json"}, headers={"X-Request-Id": given.encode()})
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
    kept = client.get(f"{SHARING}/info", params={"f": "json"}, headers={"X-Request-Id": "mine-1"})
    assert kept.headers["x-request-id"] == "mine-1"


# --- A15: scripts in items


@pytest.mark.parametrize("data", [SVG, HTML, b"", b"\x89PN", b"<?xml", b"x" * (1024 * 1024 + 1)])
def test_A15_only_small_pictures_are_thumbnails(as_alice: Asker, data: bytes) -> None:
    picture = {"thumbnail": ("t.png", data, "image/png")}
    code, message = as_alice.error(f"{MINE}/addItem", picture, type="PDF", title="Scripted thumbnail")
    assert (code, "thumbnail" in message) == (400, True)
    assert as_alice(f"{SHARING}/search", q='title:"Scripted thumbnail"')["total"] == 0
    item_id = as_alice.add("Plain")
    assert as_alice.error(f"{MINE}/items/{item_id}/update", picture, title="Changed")[0] == 400
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["thumbnail"], item["title"]) == (None, "Plain")


@pytest.mark.parametrize(("name", "data"), [("x.svg", SVG), ("x.html", HTML), ("x.xml", b"<?xml version='1.0'?>")])
def test_A15_files_are_attachments_that_no_browser_runs(as_alice: Asker, name: str, data: bytes) -> None:
    item_id = as_alice.add("Scripted file", {"file": (name, data, "image/svg+xml")})
    answer = as_alice.get(f"{CONTENT}/items/{item_id}/data")
    assert answer.content == data
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_A15_words_of_users_are_escaped_on_pages(client: TestClient, as_alice: Asker, alice: dict[str, str]) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    words = {"snippet": evil, "description": evil, "tags": evil, "typeKeywords": evil, "properties": evil}
    item_id = as_alice.add(evil, {"file": (evil, b"x")}, **words)
    folder = as_alice(f"{MINE}/createFolder", title=evil)["folder"]["id"]
    for path in (f"{CONTENT}/items/{item_id}", f"{SHARING}/search?q=script", f"{MINE}/{folder}", MINE):
        page = client.get(path, headers=alice)
        assert page.headers["content-type"].startswith("text/html"), path
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "<script>alert" not in page.text, path
        assert "<img src=x" not in page.text, path
    as_alice(f"{MINE}/{folder}/delete")


# --- A18: the policy table


def test_A18_every_route_of_the_page_keeps_its_rule_without_a_token(client: TestClient) -> None:
    page = (Path(__file__).parents[2] / "docs" / "routes.md").read_text()
    rows = re.findall(r"^\| `(\S+)` \| ([A-Z ]+) \| (\w+) \|", page, re.MULTILINE)
    assert len(rows) > 100
    for path, methods, rule in rows:
        url = re.sub(r"\{[^}]*\}", "x", path)
        answer = client.request(methods.split()[0], url, params={"f": "json"})
        # The OGC dialect says it by the status.
        refused = answer.status_code == 401 or answer.text.startswith('{"error":{"code":499')
        assert refused is (rule not in ("open", "anyone")), path


# --- A19: fields that are not for the client to set


def test_A19_what_is_not_the_clients_to_say_is_ignored(as_alice: Asker, as_bob: Asker, rooms: Rooms) -> None:
    forbidden = {
        "owner": "admin", "access": "public", "role": "administrator", "id": "0" * 32, "size": "-7", "numViews": "99",
        "package_digest": "0" * 64, "data_file": "../../portal.sqlite", "url": "https://evil.example", "created": "0",
        "protected": "true", "ownerFolder": "0" * 32, "folder_id": "0" * 32, "thumbnail": "../x", "name": "../../x",
        "state": "done", "modified_ms": "0", "type_keywords": "x",
    }  # fmt: skip
    begun = as_alice(f"{MINE}/addItem", type="PDF", title="A19", multipart="true", fileName="a19.pdf", **forbidden)[
        "id"
    ]
    as_alice(f"{MINE}/items/{begun}/addPart?partNum=1", {"file": ("part", b"data")}, **forbidden)
    as_alice(f"{MINE}/items/{begun}/commit", **forbidden)
    whole = as_alice.add("A19", {"file": ("a19.pdf", b"data")}, **forbidden)
    for item_id in (str(begun), whole):
        as_alice(f"{MINE}/items/{item_id}/update", **forbidden)
        item = as_alice(f"{CONTENT}/items/{item_id}")
        said = [item[key] for key in ("id", "owner", "access", "size", "url", "ownerFolder", "thumbnail", "name")]
        assert said == [item_id, "alice", "private", 4, None, None, None, "a19.pdf"]
        assert (item["protected"], item["typeKeywords"], item["created"] > 10**12) == (False, [], True)
        assert as_bob.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)
    made = as_alice(
        f"{MINE}/createService", outputType="imageService", **{**forbidden, "createParameters": '{"name":"a19"}'}
    )
    item = as_alice(f"{CONTENT}/items/{made['itemId']}")
    assert (item["owner"], item["access"], item["url"].startswith(BASE_URL)) == ("alice", "private", True)
    assert as_alice(f"{SHARING}/community/self", role="org_admin")["role"] == "org_publisher"
    assert rooms.portal.users.get("alice").is_administrator is False


# --- A20: names in headers


@pytest.mark.parametrize(
    "name",
    ['x";\r\nX-Evil: 1.pdf', "../../../etc/passwd", "a\x00b.pdf", "a\nb.pdf", "bäume.pdf", "💥.html",
     '";filename="evil.exe', ".htaccess", "CON", "x" * 300 + ".pdf", "a/b\\c.pdf", " . "],
)  # fmt: skip
def test_A20_hostile_names_break_no_header_and_leave_no_folder(as_alice: Asker, rooms: Rooms, name: str) -> None:
    item_id = as_alice.add(name[:200].replace("\x00", "").strip() or "x", {"file": (name, b"content")})
    answer = as_alice.get(f"{CONTENT}/items/{item_id}/data")
    assert answer.content == b"content"
    assert "x-evil" not in answer.headers
    told = answer.headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename(\*=utf-8''[\w%.()+-]+|=\"[\w.()+ -]+\")", told), told
    assert "/" not in as_alice(f"{CONTENT}/items/{item_id}")["name"]


def test_A20_a_hostile_service_name_never_becomes_a_file_name(as_alice: Asker) -> None:
    for name in ("../x", "a\r\nb", "x;y", "é", io.BytesIO().getvalue().decode()):
        assert service(as_alice, name)["error"]["code"] == 400
