from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from portal_client import BASE_URL, CONTENT, INACCESSIBLE, MINE, PASSWORD, SHARING, TOOLBOX, Asker, Headers
from portal_client import make_package as package
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.portal.item import Access
from raster_analysis.portal.tokens import GRACE_MS

# What the portal is


def test_the_portal_describes_itself_to_anybody(nobody: Asker, client: TestClient) -> None:
    info = nobody(f"{SHARING}/info")["authInfo"]
    assert info == {"isTokenBasedSecurity": True, "tokenServicesUrl": f"{BASE_URL}{SHARING}/generateToken"}
    for root in (SHARING, f"{SHARING}/"):
        version = nobody(root)["currentVersion"]
        assert [int(part) for part in version.split(".")] > [7, 1]
    described = client.get(f"{SHARING}/portals/self", params={"f": "json"}).json()
    assert described["portalName"]
    assert described["helperServices"]["rasterAnalytics"]["url"] == BASE_URL + TOOLBOX
    assert "user" not in described
    assert "rasterAnalytics" in nobody(f"{SHARING}/portals/{described['id']}")["helperServices"]


def test_urls_never_come_from_the_request(client: TestClient) -> None:
    spoofed = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    for path in (f"{SHARING}/info", f"{SHARING}/portals/self"):
        answer = client.get(path, params={"f": "json"}, headers=spoofed)
        assert "evil.example" not in answer.text
        assert BASE_URL in answer.text


def test_the_portal_describes_its_caller(as_alice: Asker, as_bob: Asker, as_admin: Asker, nobody: Asker) -> None:
    assert as_alice(f"{SHARING}/portals/self")["user"]["username"] == "alice"
    assert as_alice(f"{SHARING}/community/self")["username"] == "alice"
    assert as_alice(f"{SHARING}/community/users/bob")["role"] == "org_user"
    for ask, is_admin, creates in ((as_alice, False, True), (as_bob, False, False), (as_admin, True, True)):
        privileges = ask(f"{SHARING}/community/self")["privileges"]
        assert any(":admin:" in privilege for privilege in privileges) is is_admin
        assert ("portal:user:createItem" in privileges) is creates
    missing = as_alice.error(f"{SHARING}/community/users/nobody")
    assert missing == (400, "User does not exist or is inaccessible.")
    assert nobody.error(f"{SHARING}/community/self")[0] == 499


# Tokens


def test_a_password_gives_a_token(nobody: Asker, client: TestClient, rooms: Rooms) -> None:
    answer = nobody(f"{SHARING}/generateToken", username="alice", password=PASSWORD, client="referer", expiration=60)
    assert answer["expires"] > 10**12
    for headers in (
        {"X-Esri-Authorization": f"Bearer {answer['token']}"},
        {"Authorization": f"Bearer {answer['token']}"},
    ):
        assert Asker(client, headers)(f"{SHARING}/community/self")["username"] == "alice"
    assert nobody(f"{SHARING}/community/self", token=answer["token"])["username"] == "alice"
    assert nobody(f"{SHARING}/community/self?token={answer['token']}")["username"] == "alice"


def test_a_token_is_exchanged_for_itself(nobody: Asker, token: dict[str, str], client: TestClient) -> None:
    form = {"request": "getToken", "serverURL": f"{BASE_URL}/arcgis", "token": token["alice"]}
    assert nobody(f"{SHARING}/generateToken", **form)["token"] == token["alice"]
    answer = client.get(f"{SHARING}/generateToken", params={"f": "json", **form})
    assert answer.json()["token"] == token["alice"]
    assert nobody.error(f"{SHARING}/generateToken", **{**form, "token": "unknown"}) == (498, "Invalid Token.")


def test_a_stale_header_does_not_keep_anybody_from_signing_in(client: TestClient) -> None:
    stale = Asker(client, {"X-Esri-Authorization": "Bearer None"})
    assert stale.error(f"{SHARING}/community/self") == (498, "Invalid Token.")
    assert stale(f"{SHARING}/generateToken", username="carol", password=PASSWORD)["token"]


def test_unknown_user_and_wrong_password_are_one_answer(client: TestClient) -> None:
    answers = {
        client.post(f"{SHARING}/generateToken", data={"f": "json", "username": name, "password": password}).content
        for name, password in (("carol", "wrong password"), ("nobody", PASSWORD), ("", ""), ("x" * 5000, "y"))
    }
    (body,) = answers
    assert json.loads(body)["error"]["code"] == 400
    assert json.loads(body)["error"]["message"] == "Unable to generate token."


def test_guessing_is_answered_in_an_envelope_and_locks_out_nobody_else(nobody: Asker) -> None:
    codes = [nobody.error(f"{SHARING}/generateToken", username="guessed", password="wrong!!!")[0] for _ in range(12)]
    assert codes == [400] * 10 + [429] * 2
    assert nobody(f"{SHARING}/generateToken", username="bob", password=PASSWORD)["token"]


@pytest.mark.parametrize("query", ["username=alice&password=x", "password=x"])
def test_passwords_are_not_taken_from_urls(client: TestClient, query: str) -> None:
    for send in (client.get, client.post):
        answer = send(f"{SHARING}/generateToken?f=json&{query}")
        assert answer.json()["error"]["code"] == 405


def test_expired_and_revoked_tokens_are_invalid(nobody: Asker, rooms: Rooms) -> None:
    tokens = rooms.portal.tokens
    revoked = tokens.issue("alice", 60)
    tokens.revoke(revoked.value)
    expired = tokens.issue("alice", 60)
    tokens._clock, clock = (lambda: expired.expires_ms + GRACE_MS + 1), tokens._clock
    try:
        for value in (revoked.value, expired.value, expired.value[:-1]):
            assert nobody.error(f"{SHARING}/community/self", token=value) == (498, "Invalid Token.")
    finally:
        tokens._clock = clock


@pytest.mark.parametrize("expiration", ["1e3", "x", "9" * 5000, "--1"])
def test_lifetimes_that_are_no_numbers_are_refused(nobody: Asker, expiration: str) -> None:
    asked = nobody.error(f"{SHARING}/generateToken", username="bob", password=PASSWORD, expiration=expiration)
    assert asked[0] == 400


# Items


def test_an_item_is_added_read_changed_and_deleted(as_alice: Asker) -> None:
    item_id = as_alice.add("First report", tags="a, b", snippet="short", description="<script>alert(1)</script>")
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["id"], item["owner"], item["type"], item["title"]) == (item_id, "alice", "PDF", "First report")
    assert (item["tags"], item["access"], item["url"], item["ownerFolder"]) == (["a", "b"], "private", None, None)
    assert item["description"] == "<script>alert(1)</script>"
    assert as_alice(f"{MINE}/items/{item_id}/status") == {
        "status": "completed", "statusMessage": "completed", "itemId": item_id,
    }  # fmt: skip
    assert as_alice(f"{MINE}/items/{item_id}/update", title="Second", snippet="")["success"] is True
    assert as_alice(f"{MINE}/items/{item_id}/update", description="", clearEmptyFields="true")["success"] is True
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["title"], item["snippet"], item["description"]) == ("Second", "short", None)
    assert as_alice(f"{MINE}/items/{item_id}/canDelete")["success"] is True
    assert as_alice(f"{MINE}/items/{item_id}/delete") == {"success": True, "itemId": item_id}
    assert as_alice.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)


def test_job_properties_are_kept_with_the_item(as_alice: Asker) -> None:
    item_id = as_alice.add("With properties")
    properties = json.dumps({"jobUrl": "https://h/jobs/1", "jobStatus": "completed"})
    as_alice(f"{MINE}/items/{item_id}/update", properties=properties)
    assert as_alice(f"{CONTENT}/items/{item_id}")["properties"] == properties


def test_script_in_items_is_escaped_on_pages(client: TestClient, as_alice: Asker, alice: Headers) -> None:
    item_id = as_alice.add("<script>alert(1)</script>", description="<img src=x onerror=alert(1)>")
    page = client.get(f"{CONTENT}/items/{item_id}", headers=alice)
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text


def test_owner_role_and_access_are_not_taken_from_forms(as_alice: Asker, as_bob: Asker) -> None:
    forbidden = {
        "owner": "admin", "access": "public", "role": "administrator", "id": "0" * 32, "size": "-7",
        "package_digest": "0" * 64, "data_file": "../../portal.sqlite", "url": "https://evil.example", "created": "0",
    }  # fmt: skip
    item_id = as_alice.add("Assigned", **forbidden)
    as_alice(f"{MINE}/items/{item_id}/update", **forbidden)
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["owner"], item["access"], item["size"], item["url"]) == ("alice", "private", 0, None)
    assert as_alice(f"{CONTENT}/items/{item_id}/data") == {}
    assert as_bob.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)


def test_others_items_cannot_be_told_from_missing_ones(as_alice: Asker, as_carol: Asker, nobody: Asker) -> None:
    item_id = as_alice.add("Secret")
    for other in (as_carol, nobody):
        for path in (f"{CONTENT}/items/{{}}", f"{CONTENT}/items/{{}}/data"):
            answers = {other.error(path.format(each)) for each in (item_id, "0" * 32, "x", "%2e%2e", "1 OR 1=1")}
            assert answers == {(400, INACCESSIBLE)}
    for action in ("update", "delete", "canDelete", "status"):
        paths = [
            f"{CONTENT}/users/{user}/items/{each}/{action}"
            for user in ("alice", "carol")
            for each in (item_id, "0" * 32)
        ]
        assert {as_carol.error(path, title="mine") for path in paths} == {(400, INACCESSIBLE)}
    assert as_alice(f"{CONTENT}/items/{item_id}")["title"] == "Secret"


def test_others_folders_cannot_be_told_from_missing_ones(as_alice: Asker, as_carol: Asker) -> None:
    folder = as_alice(f"{MINE}/createFolder", title="Private folder")["folder"]
    theirs = {as_carol.error(f"{CONTENT}/users/carol/{each}") for each in (folder["id"], "0" * 32)}
    assert theirs == {(400, "Folder does not exist or is inaccessible.")}
    users = {as_carol.error(f"{CONTENT}/users/{user}") for user in ("alice", "nobody")}
    assert users == {(400, "User does not exist or is inaccessible.")}


def test_a_viewer_adds_nothing(as_bob: Asker) -> None:
    home = f"{CONTENT}/users/bob"
    parameters = json.dumps({"name": "viewers_service"})
    file = {"file": ("m.dlpk", b"x")}
    assert as_bob.error(f"{home}/addItem", type="PDF", title="x")[0] == 403
    assert as_bob.error(f"{home}/addItem", file, type="PDF", title="x")[0] == 403
    assert as_bob.error(f"{home}/createFolder", title="x")[0] == 403
    assert as_bob.error(f"{home}/createService", outputType="featureService", createParameters=parameters)[0] == 403


def test_an_administrator_acts_for_others(as_admin: Asker, as_alice: Asker) -> None:
    item_id = as_admin.add("Put here by the administrator")
    assert as_alice(f"{CONTENT}/items/{item_id}")["owner"] == "alice"
    assert as_admin(f"{MINE}/items/{item_id}/delete")["success"] is True


def test_folders_hold_items_and_lists_are_paged(as_admin: Asker) -> None:
    home = f"{CONTENT}/users/admin"
    made = as_admin(f"{home}/createFolder", title="Paged")
    folder = made["folder"]
    assert (made["success"], folder["title"], folder["username"]) == (True, "Paged", "admin")
    ids = {as_admin.add(f"Paged {n}", path=f"{home}/{folder['id']}/addItem") for n in range(5)}
    assert {"id": folder["id"], "title": "Paged"}.items() <= as_admin(home)["folders"][0].items()
    seen: set[str] = set()
    start = 1
    while start != -1:
        page = as_admin(f"{home}/{folder['id']}", start=start, num=2)
        assert page["total"] == 5
        seen |= {item["id"] for item in page["items"]}
        start = page["nextStart"]
    assert seen == ids
    assert not ids & {item["id"] for item in as_admin(home)["items"]}
    assert as_admin(f"{CONTENT}/items/{min(ids)}")["ownerFolder"] == folder["id"]
    for item_id in ids:
        assert as_admin(f"{home}/{folder['id']}/items/{item_id}/delete")["success"] is True
    assert as_admin.error(f"{home}/createFolder", title="Paged")[0] == 400


def test_items_are_deleted_in_one_request_each_with_its_outcome(as_alice: Asker, as_carol: Asker) -> None:
    mine, theirs = as_alice.add("Mine"), as_carol.add("Theirs", path=f"{CONTENT}/users/carol/addItem")
    results = as_alice(f"{MINE}/deleteItems", items=f"{mine},{theirs}")["results"]
    assert [(each["itemId"], each["success"]) for each in results] == [(mine, True), (theirs, False)]
    assert results[1]["error"]["message"] == INACCESSIBLE


# Packages and their data


def test_a_package_is_uploaded_found_and_downloaded(as_alice: Asker, client: TestClient, alice: Headers) -> None:
    content = package("uploaded")
    file = {"file": ("my trees.dlpk", content)}
    item_id = as_alice.add("Uploaded trees", file, type="Deep Learning Package")
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["name"], item["size"], item["type"]) == ("my trees.dlpk", len(content), "Deep Learning Package")
    for form in ("json", None):
        answer = client.get(f"{CONTENT}/items/{item_id}/data", params={"f": form} if form else {}, headers=alice)
        assert answer.content == content
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["x-content-type-options"] == "nosniff"
    part = client.get(f"{CONTENT}/items/{item_id}/data", headers=alice | {"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    found = as_alice(f"{SHARING}/search", q=f'Uploaded AND  (type:"deep learning package") accountid:x id:{item_id}')
    assert [each["id"] for each in found["results"]] == [item_id]


def test_new_content_keeps_the_items_id(as_alice: Asker, client: TestClient, alice: Headers, rooms: Rooms) -> None:
    item_id = as_alice.add("Replaced", {"file": ("a.dlpk", package("before"))}, type="Deep Learning Package")
    after = package("after")
    assert as_alice(f"{MINE}/items/{item_id}/update", {"file": ("b.dlpk", after)}, title="Again")["success"] is True
    assert client.get(f"{CONTENT}/items/{item_id}/data", headers=alice).content == after
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["title"], item["name"]) == ("Again", "b.dlpk")
    bad = as_alice.error(f"{MINE}/items/{item_id}/update", {"file": ("c.dlpk", b"no package")}, title="Never")
    assert bad[0] == 400
    assert client.get(f"{CONTENT}/items/{item_id}/data", headers=alice).content == after
    assert as_alice(f"{CONTENT}/items/{item_id}")["title"] == "Again"


def test_a_bad_package_is_refused_with_its_finding_and_leaves_nothing(as_alice: Asker, rooms: Rooms) -> None:
    folder = rooms.settings.data
    before = sorted(path for name in ("items", "packages", "uploads") for path in (folder / name).rglob("*"))
    for content in (b"", b"GIF89a", package("cut")[:-30]):
        code, message = as_alice.error(
            f"{MINE}/addItem", {"file": ("bad.dlpk", content)}, type="Deep Learning Package", title="bad"
        )
        assert code == 400
        assert "'bad.dlpk' is not a usable package" in message
        assert str(folder) not in message
    assert before == sorted(path for name in ("items", "packages", "uploads") for path in (folder / name).rglob("*"))


def test_equal_packages_at_once_become_items_with_one_copy(as_alice: Asker, rooms: Rooms) -> None:
    content = package("concurrent")
    before = set((rooms.settings.data / "packages").iterdir())
    with ThreadPoolExecutor(8) as threads:
        ids = set(
            threads.map(
                lambda n: as_alice.add(f"Same {n}", {"file": ("m.dlpk", content)}, type="Deep Learning Package"),
                range(16),
            )
        )
    assert len(ids) == 16
    assert len(set((rooms.settings.data / "packages").iterdir()) - before) == 1


@pytest.mark.parametrize("name", ['x";\r\nX-Evil: 1.dlpk', "../../../etc/passwd", "a\x00b.pdf", "bäume.pdf", "💥.html"])
def test_file_names_cannot_break_headers_or_folders(
    as_alice: Asker, client: TestClient, alice: Headers, name: str
) -> None:
    item_id = as_alice.add("Hostile name", {"file": (name, b"content")})
    answer = client.get(f"{CONTENT}/items/{item_id}/data", headers=alice)
    assert answer.content == b"content"
    assert "x-evil" not in answer.headers
    assert answer.headers["content-type"] == "application/octet-stream"
    assert "/" not in as_alice(f"{CONTENT}/items/{item_id}")["name"]


def test_uploads_over_the_limit_are_refused(as_alice: Asker, rooms: Rooms) -> None:
    uploads = rooms.portal.uploads
    uploads.limit, limit = 1000, uploads.limit
    try:
        code, message = as_alice.error(f"{MINE}/addItem", {"file": ("big.pdf", b"x" * 1001)}, type="PDF", title="big")
    finally:
        uploads.limit = limit
    assert (code, "1,000 bytes" in message) == (400, True)
    assert list((rooms.settings.data / "uploads").iterdir()) == []


# Search


def test_search_echoes_the_page_size_and_ends(as_alice: Asker) -> None:
    ids = {as_alice.add(f"Needle {n}", tags="needle-tag") for n in range(3)}
    first = as_alice(f"{SHARING}/search", q="tags:needle-tag", start=1, num=2, sortField="avgRating", sortOrder="desc")
    assert (first["total"], first["start"], first["num"], first["nextStart"]) == (3, 1, 2, 3)
    rest = as_alice(f"{SHARING}/search", q="tags:needle-tag", start=3, num=2)
    assert (rest["num"], rest["nextStart"]) == (2, -1)
    assert {item["id"] for item in first["results"] + rest["results"]} == ids
    beyond = as_alice(f"{SHARING}/search", q="tags:needle-tag", start=-1, num=1)
    assert (beyond["results"], beyond["num"], beyond["nextStart"]) == ([], 1, -1)


def test_search_without_a_token_finds_public_items_only(as_alice: Asker, nobody: Asker, rooms: Rooms) -> None:
    item_id = as_alice.add("Findable haystack")
    assert nobody(f"{SHARING}/search", q="haystack")["total"] == 0
    user = rooms.portal.users.get("alice")
    rooms.portal.items.change(item_id, user, {"access": Access.PUBLIC})
    assert [item["id"] for item in nobody(f"{SHARING}/search", q="haystack")["results"]] == [item_id]
    assert nobody(f"{CONTENT}/items/{item_id}")["access"] == "public"


@pytest.mark.parametrize("query", ["(", 'title:"', "colour:red", "a AND", "x" * 5000])
def test_queries_that_cannot_be_read_are_told(nobody: Asker, query: str) -> None:
    assert nobody.error(f"{SHARING}/search", q=query)[0] == 400


# Services made before their job


def make_service(
    ask: Asker, name: str, kind: str = "featureService", home: str = MINE, **form: object
) -> dict[str, Any]:
    return ask(
        f"{home}/createService", outputType=kind, createParameters=json.dumps({"name": name}), isView="false", **form
    )


@pytest.mark.parametrize(
    ("kind", "item_type", "server"),
    [("featureService", "Feature Service", "FeatureServer"), ("imageService", "Image Service", "ImageServer")],
)
def test_an_output_service_is_made_before_its_job(as_alice: Asker, kind: str, item_type: str, server: str) -> None:
    name = f"made_{kind}"
    asked = {"name": name, "type": item_type}
    assert as_alice(f"{SHARING}/portals/self/isServiceNameAvailable", **asked) == {"available": True}
    made = make_service(as_alice, name, kind)
    url = f"{BASE_URL}/arcgis/rest/services/Hosted/{name}/{server}"
    assert (made["success"], made["serviceurl"], made["type"]) == (True, url, item_type)
    item = as_alice(f"{CONTENT}/items/{made['itemId']}")
    assert (item["type"], item["name"], item["url"], item["title"]) == (item_type, name, url, name)
    assert as_alice(f"{CONTENT}/items/{made['itemId']}/data") == {}
    update = {"title": "Trees", "tags": "Analysis Result, Detect", "snippet": "s", "description": "d"}
    assert as_alice(f"{MINE}/items/{made['itemId']}/update", **update)["success"] is True
    assert as_alice(f"{CONTENT}/items/{made['itemId']}")["name"] == name


def test_service_names_are_unique_but_an_empty_one_is_given_again(as_alice: Asker, as_carol: Asker) -> None:
    made = make_service(as_alice, "only_once")
    theirs = f"{CONTENT}/users/carol"
    asked = {"name": "ONLY_once", "type": "Feature Service"}
    assert as_carol(f"{SHARING}/portals/self/isServiceNameAvailable", **asked) == {"available": False}
    assert make_service(as_carol, "only_once", home=theirs)["error"]["code"] == 400
    assert make_service(as_alice, "only_once")["itemId"] == made["itemId"]
    as_alice(f"{MINE}/items/{made['itemId']}/delete")
    assert make_service(as_carol, "only_once", home=theirs)["success"] is True


@pytest.mark.parametrize("name", ["a b", "a/../b", "a.b", "", "x" * 200, "<x>"])
def test_unusable_service_names_are_refused(as_alice: Asker, name: str) -> None:
    assert make_service(as_alice, name)["error"]["code"] == 400


@pytest.mark.parametrize("parameters", ["", "{", "[]", "{}", '{"name": 5}', "[" * 100_000])
def test_unreadable_service_parameters_are_refused(as_alice: Asker, parameters: str) -> None:
    answer = as_alice.error(f"{MINE}/createService", outputType="featureService", createParameters=parameters)
    assert answer[0] == 400


def test_the_data_of_a_service_is_a_file_for_people_and_empty_for_layer_settings(
    as_alice: Asker, client: TestClient, alice: Headers, rooms: Rooms, tmp_path: Any
) -> None:
    made = make_service(as_alice, "with_data")
    (tmp_path / "r.gpkg").write_bytes(b"features")
    user, items = rooms.portal.users.get("alice"), rooms.portal.items
    items.replace_data(made["itemId"], user, items.place(made["itemId"], tmp_path / "r.gpkg", "r.gpkg"))
    assert as_alice(f"{CONTENT}/items/{made['itemId']}/data") == {}
    download = client.get(f"{CONTENT}/items/{made['itemId']}/data", headers=alice)
    assert download.content == b"features"
    assert 'filename="with_data.gpkg"' in download.headers["content-disposition"]
    path = "/arcgis/rest/services/Hosted/with_data/FeatureServer"
    # What is in the file is the layers' business; that it is there is told to those who may read it.
    assert "inaccessible" not in client.get(path, params={"f": "json"}, headers=alice).text
    assert client.get(path, params={"f": "json"}).json()["error"]["code"] == 400
    # Other tests walk through every service there is.
    items.delete(made["itemId"], user)
