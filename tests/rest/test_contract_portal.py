"""What clients ask a portal for, in the forms that they send (contract 1 to 4)."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from portal_client import BASE_URL, CONTENT, INACCESSIBLE, MINE, PASSWORD, SHARING, TOOLBOX, Asker, make_package
from starlette.testclient import TestClient

PICTURES = {
    "png": b"\x89PNG\r\n\x1a\n" + b"0" * 40,
    "jpeg": b"\xff\xd8\xff\xe0" + b"0" * 40,
    "gif": b"GIF89a" + b"0" * 40,
}


# Addresses and connecting: contract 2.1 and 3.1


@pytest.mark.parametrize("context", ["/portal", ""])
def test_clients_connect_with_and_without_a_context(client: TestClient, context: str, alice: dict[str, str]) -> None:
    for probe in ("/info", "/rest/info", "/sharing/info", "/sharing/rest/info", "/sharing/sharing/rest/info",
                  "/rest/services", "/sharing/rest/services"):  # fmt: skip
        answer = client.get(f"{context}{probe}", params={"f": "json"})
        assert answer.status_code in (200, 404), probe
        assert not {"www-authenticate", "set-cookie"} & set(answer.headers), probe
    info = client.get(f"{context}/sharing/rest/info", params={"f": "json"}).json()
    assert info["authInfo"]["isTokenBasedSecurity"] is True
    assert info["authInfo"]["tokenServicesUrl"] == f"{BASE_URL}{SHARING}/generateToken"
    described = client.get(f"{context}/sharing/rest/portals/self", params={"f": "json"}, headers=alice).json()
    assert described["user"]["username"] == "alice"
    assert described["helperServices"]["rasterAnalytics"]["url"] == BASE_URL + TOOLBOX
    assert client.get(f"{context}/sharing/rest/", params={"f": "json"}).json()["currentVersion"]


def test_items_added_at_the_root_are_those_below_portal(as_alice: Asker) -> None:
    item_id = as_alice.add("At the root", path="/sharing/rest/content/users/alice/addItem")
    assert as_alice(f"{CONTENT}/items/{item_id}") == as_alice(f"/sharing/rest/content/items/{item_id}")
    assert as_alice("/sharing/rest/search", q=f"id:{item_id}")["total"] == 1


@pytest.mark.parametrize("path", ["/portal/info", "/portal/rest/info", "/portal/rest/services", "/rest/info", "/info"])
def test_addresses_that_clients_only_try_are_plainly_not_found(client: TestClient, path: str) -> None:
    assert client.get(path, params={"f": "json"}).status_code == 404


def test_unknown_resources_of_the_portal_are_told_in_an_envelope(client: TestClient) -> None:
    for path in (f"{SHARING}/nothing", "/sharing/rest/nothing"):
        answer = client.get(path, params={"f": "json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (200, 404)


def test_whatever_is_read_may_be_posted_to(client: TestClient) -> None:
    """Clients post to read-only resources (contract 1.13)."""
    only_posted = ("/oauth2/signin", "/oauth2/revokeToken", "/arcgis/rest/logout")
    for endpoint in client.app.state.endpoints:  # type: ignore[attr-defined]
        if endpoint.path.startswith(("/portal/sharing", "/sharing", TOOLBOX)) and not endpoint.path.endswith(
            only_posted
        ):
            assert {"GET", "POST"} <= set(endpoint.methods), endpoint.path


def test_no_document_of_the_portal_asks_clients_to_sign_in_again(as_alice: Asker) -> None:
    """Answers with these words are requested twice, or without a token (contract 2.3)."""
    for path in (
        f"{SHARING}/portals/self",
        f"{SHARING}/info",
        TOOLBOX,
        f"{SHARING}/community/self",
        "/arcgis/rest/info",
    ):
        assert not re.search("token required|invalid token", json.dumps(as_alice(path)), re.IGNORECASE), path


@pytest.mark.parametrize("context", ["/portal", ""])
def test_the_default_sign_in_reads_pages(client: TestClient, context: str) -> None:
    """The two requests of `GIS(url, user, password)`: a page with one JSON object, and a redirect with the token."""
    query = {
        "response_type": "token", "client_id": "pythonapi", "redirect_uri": BASE_URL, "state": "S2", "expiration": 600,
        "allow_verification": "false", "style": "dark", "locale": "en-US",
    }  # fmt: skip
    page = client.get(f"{context}/sharing/rest/oauth2/authorize", params=query)
    assert page.headers["content-type"].startswith("text/html")
    first = next(line for line in page.text.splitlines() if "{" in line)
    state = json.loads(re.search(r"\{.*\}", first)[0])["oauth_state"]  # type: ignore[index]
    form = {"expiration": 600, "oauth_state": state, "username": "alice", "password": PASSWORD}
    answer = client.post(f"{context}/sharing/oauth2/signin", data=form)
    assert answer.status_code == 302
    given = parse_qs(urlsplit(answer.headers["location"]).fragment)
    assert (given["state"], given["username"], given["ssl"]) == (["S2"], ["alice"], ["true"])
    assert int(given["expires_in"][0]) > 300
    asker = Asker(client, {"X-Esri-Authorization": f"Bearer {given['access_token'][0]}"})
    assert asker(f"{context}/sharing/rest/community/self")["username"] == "alice"


@pytest.mark.parametrize("context", ["/portal", ""])
def test_the_second_sign_in_shows_a_code(client: TestClient, context: str) -> None:
    query = {"response_type": "code", "client_id": "pythonapi", "redirect_uri": "urn:ietf:wg:oauth:2.0:oob"}
    page = client.get(f"{context}/sharing/rest/oauth2/authorize", params=query)
    state = json.loads(re.search(r"\{.*\}", page.text)[0])["oauth_state"]  # type: ignore[index]
    form = {"oauth_state": state, "username": "alice", "password": PASSWORD}
    page = client.post(f"{context}/sharing/oauth2/signin", data=form)
    code = re.search(r"<title>SUCCESS code=([^<]+)</title>", page.text)[1]  # type: ignore[index]
    form = {"grant_type": "authorization_code", "client_id": "pythonapi", "code": code, **query, "expiration": 60}
    answer = client.post(f"{context}/sharing/rest/oauth2/token", data=form).json()
    assert set(answer) >= {"access_token", "expires_in", "username"}


# Tokens: contract 2.3 and 3.3


def test_a_token_is_revoked_by_who_has_it(client: TestClient, rooms: Any) -> None:
    revoke = f"{SHARING}/oauth2/revokeToken"
    for form in ({"auth_token": "VALUE", "client_id": "x"}, {"token": "VALUE"}):
        value = rooms.portal.tokens.issue("alice", 600).value
        sent = {name: text.replace("VALUE", value) for name, text in form.items()}
        assert client.post(revoke, data={"f": "json", **sent}).json() == {"success": True}
        told = client.get(f"{SHARING}/community/self", params={"f": "json", "token": value}).json()
        assert told["error"]["code"] == 498
    assert client.post(revoke, data={"f": "json", "auth_token": "unknown"}).json() == {"success": True}


@pytest.mark.parametrize(("target", "leads"), [(f"{BASE_URL}/x", True), ("https://evil.example", False), ("", False)])
def test_signing_out_ends_the_token_and_leads_only_home(
    client: TestClient, rooms: Any, target: str, leads: bool
) -> None:
    value = rooms.portal.tokens.issue("alice", 600).value
    headers = {"X-Esri-Authorization": f"Bearer {value}"}
    answer = client.get(f"{SHARING}/oauth2/signout", params={"redirect_uri": target}, headers=headers)
    assert answer.headers.get("location") == (target if leads else None)
    assert Asker(client, headers).error(f"{SHARING}/community/self") == (498, "Invalid Token.")


def test_an_invalid_token_says_the_words_that_clients_look_for(client: TestClient) -> None:
    for value in ("None", "expired", ""):
        headers = {"X-Esri-Authorization": f"Bearer {value}"}
        error = client.get(f"{SHARING}/community/self", params={"f": "json"}, headers=headers).json()["error"]
        assert (error["code"], error["message"]) == ((499, "Token Required") if not value else (498, "Invalid Token."))


# Lists of the portal: contract 3.3


def test_the_server_hosts_and_analyses(as_alice: Asker) -> None:
    (server,) = as_alice(f"{SHARING}/portals/self/servers")["servers"]
    assert set(server) >= {"id", "name", "adminUrl", "url", "isHosted", "serverRole", "serverFunction"}
    assert (server["url"], server["serverRole"]) == (f"{BASE_URL}/arcgis", "HOSTING_SERVER")
    assert {"RasterAnalytics", "ImageHosting"} <= set(server["serverFunction"].split(","))


def test_the_usual_keys_of_a_portal_are_there(nobody: Asker) -> None:
    portal = nobody(f"{SHARING}/portals/self")
    assert portal["portalHostname"] == "gis.example.org:8443/portal"
    assert (portal["portalProtocol"], portal["httpsPort"], portal["allSSL"]) == ("https", 8443, True)
    assert portal["portalMode"] == "singletenant"
    assert "portalDeploymentType" not in portal
    assert "user" not in portal


def test_users_are_found(as_bob: Asker) -> None:
    for path, key in ((f"{SHARING}/portals/self/users", "users"), (f"{SHARING}/community/users", "results")):
        everybody = as_bob(path, num=2)
        assert (everybody["num"], everybody["nextStart"], len(everybody[key])) == (2, 3, 2)
        assert everybody["total"] >= 4
        names = [user["username"] for user in as_bob(path, q='username:ALI* accountid:x role:"org_publisher"')[key]]
        assert names == ["alice"]
        assert as_bob(path, start=-1)[key] == []
    assert as_bob.error(f"{SHARING}/community/users", q="shoesize:44")[0] == 400


def test_there_are_no_groups_and_no_roles_of_ones_own(as_alice: Asker) -> None:
    groups = as_alice(f"{SHARING}/community/groups", q="trees", num=7)
    assert (groups["total"], groups["results"], groups["num"], groups["nextStart"]) == (0, [], 7, -1)
    assert as_alice(f"{SHARING}/portals/self/roles")["roles"] == []


@pytest.mark.parametrize("name", ["", "a b", "a.b", "x" * 200, "a/b", "<x>"])
def test_a_name_that_cannot_be_is_not_available(as_alice: Asker, name: str) -> None:
    asked = {"name": name, "type": "Feature Service"}
    assert as_alice(f"{SHARING}/portals/self/isServiceNameAvailable", **asked) == {"available": False}


def test_publishers_list_the_stores_without_learning_where_they_are(
    as_alice: Asker, as_bob: Asker, nobody: Asker, rooms: Any
) -> None:
    data = "/arcgis/admin/data"
    place = str(rooms.settings.stores["s"])
    for root in ("/fileShares", "/rasterStores"):
        (store,) = as_alice(f"{data}/findItems", parentPath=root)["items"]
        assert store["path"] == f"{root}/s"
        assert as_alice(f"{data}/items{root}/s") == store
        assert place not in json.dumps([store, as_alice(f"{data}/items{root}")])
    assert len(as_alice(f"{data}/findItems")["items"]) == 2
    assert [each["path"] for each in as_alice(f"{data}/findItems", types="rasterStore")["items"]] == ["/rasterStores/s"]
    assert as_alice(f"{data}/items")["rootItems"] == ["/fileShares", "/rasterStores"]
    for missing in (f"{data}/items/fileShares/t", f"{data}/items/cloudStores", f"{data}/items/fileShares/..%2Fs"):
        assert as_alice(missing)["error"]["code"] in (400, 404)
    for path in ("/arcgis/admin", data, f"{data}/config", f"{data}/findItems", f"{data}/items"):
        assert nobody.error(path)[0] == 499
        assert as_bob.error(path)[0] == 403
        assert "error" not in as_alice(path)


# Items: contract 4.2


def test_can_delete_answers_success_or_not_and_why(as_alice: Asker, as_carol: Asker) -> None:
    item_id = as_alice.add("Deletable")
    path = f"{MINE}/items/{item_id}/canDelete"
    assert as_alice(path) == {"success": True, "itemId": item_id}
    assert as_alice(f"{MINE}/items/{item_id}/protect") == {"success": True}
    told = as_alice(path)
    assert (told["success"], told["itemId"], "protection" in told["error"]["message"]) == (False, item_id, True)
    assert as_carol(path) == {
        "success": False, "itemId": item_id, "error": {"code": 400, "message": INACCESSIBLE, "details": []},
    }  # fmt: skip


@pytest.mark.parametrize("force", ["true", "false", ""])
def test_a_protected_item_is_deleted_in_no_way(as_alice: Asker, as_admin: Asker, force: str) -> None:
    folder = as_alice(f"{MINE}/createFolder", title=f"Protected {force}")["folder"]["id"]
    item_id = as_alice.add("Protected", path=f"{MINE}/{folder}/addItem")
    as_alice(f"{MINE}/items/{item_id}/protect")
    assert as_alice(f"{CONTENT}/items/{item_id}")["protected"] is True
    for ask in (as_alice, as_admin):
        assert "protection" in ask.error(f"{MINE}/{folder}/items/{item_id}/delete", force=force)[1]
        assert ask(f"{MINE}/deleteItems", items=item_id)["results"][0]["success"] is False
        assert "protection" in ask.error(f"{MINE}/{folder}/delete")[1]
    assert as_alice(f"{MINE}/items/{item_id}/unprotect") == {"success": True}
    assert as_alice(f"{MINE}/{folder}/items/{item_id}/delete", force="true") == {"success": True, "itemId": item_id}


def test_items_move_between_folders_of_their_owner(as_alice: Asker, as_carol: Asker) -> None:
    folder = as_alice(f"{MINE}/createFolder", title="Target")["folder"]["id"]
    theirs = as_carol(f"{CONTENT}/users/carol/createFolder", title="Target")["folder"]["id"]
    one, two = as_alice.add("One"), as_alice.add("Two")
    moved = as_alice(f"{MINE}/items/{one}/move", folder=folder)
    assert moved == {"success": True, "itemId": one, "owner": "alice", "folder": folder}
    results = as_alice(f"{MINE}/moveItems", items=f"{two},{'0' * 32}", folder=folder)["results"]
    assert [each["success"] for each in results] == [True, False]
    assert as_alice(f"{MINE}/{folder}")["total"] == 2
    assert as_alice.error(f"{MINE}/items/{one}/move", folder=theirs)[0] == 400
    assert as_carol.error(f"{MINE}/items/{one}/move", folder=theirs) == (400, INACCESSIBLE)
    assert as_alice(f"{MINE}/{folder}/items/{one}/move", folder="/")["folder"] is None
    assert as_alice(f"{CONTENT}/items/{one}")["ownerFolder"] is None


def test_a_folder_goes_with_what_lies_in_it(as_alice: Asker, as_carol: Asker) -> None:
    folder = as_alice(f"{MINE}/createFolder", title="Doomed")["folder"]["id"]
    item_id = as_alice.add("Doomed too", {"file": ("f.pdf", b"x")}, path=f"{MINE}/{folder}/addItem")
    assert as_carol.error(f"{MINE}/{folder}/delete")[0] == 400
    renamed = as_alice(f"{MINE}/{folder}/updateFolder", newTitle="Still doomed")["folder"]
    assert (renamed["id"], renamed["title"]) == (folder, "Still doomed")
    deleted = as_alice(f"{MINE}/{folder}/delete")
    assert (deleted["success"], deleted["folder"]["id"]) == (True, folder)
    assert as_alice.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)
    assert as_alice.error(f"{MINE}/{folder}")[0] == 400


def test_type_keywords_are_kept_and_cleared(as_alice: Asker) -> None:
    item_id = as_alice.add("Keywords", typeKeywords="Deep Learning, ONNX,,ONNX")
    assert as_alice(f"{SHARING}/search", q=f'typekeywords:"onnx" id:{item_id}')["total"] == 1
    assert as_alice(f"{SHARING}/search", q=f"typekeywords:keras id:{item_id}")["total"] == 0
    assert as_alice(f"{CONTENT}/items/{item_id}")["typeKeywords"] == ["Deep Learning", "ONNX"]
    as_alice(f"{MINE}/items/{item_id}/update", typeKeywords="", tags="x")
    assert as_alice(f"{CONTENT}/items/{item_id}")["typeKeywords"] == ["Deep Learning", "ONNX"]
    as_alice(f"{MINE}/items/{item_id}/update", typeKeywords="", tags="", snippet="", clearEmptyFields="true")
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["typeKeywords"], item["tags"], item["snippet"], item["title"]) == ([], [], None, "Keywords")


def test_lists_that_other_clients_ask_for_are_empty(as_alice: Asker) -> None:
    item = f"{CONTENT}/items/{as_alice.add('Alone')}"
    assert as_alice(f"{item}/relatedItems", relationshipType="Service2Data")["relatedItems"] == []
    assert as_alice(f"{item}/groups") == {"admin": [], "member": [], "other": []}
    assert as_alice(f"{item}/resources")["resources"] == []


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("way", ["addItem", "update"])
def test_thumbnails_are_kept_and_served_as_what_they_are(as_alice: Asker, kind: str, way: str) -> None:
    picture = {"thumbnail": ("whatever.svg", PICTURES[kind], "image/svg+xml")}
    item_id = as_alice.add("Pictured", picture if way == "addItem" else None)
    if way == "update":
        assert as_alice(f"{MINE}/items/{item_id}/update", picture)["success"] is True
    thumbnail = as_alice(f"{CONTENT}/items/{item_id}")["thumbnail"]
    assert thumbnail == f"thumbnail/thumbnail.{kind}"
    answer = as_alice.get(f"{CONTENT}/items/{item_id}/info/{thumbnail}")
    assert (answer.content, answer.headers["content-type"]) == (PICTURES[kind], f"image/{kind}")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert as_alice(f"{MINE}/items/{item_id}/deleteThumbnail")["success"] is True
    assert as_alice(f"{CONTENT}/items/{item_id}")["thumbnail"] is None
    assert as_alice.get(f"{CONTENT}/items/{item_id}/info/{thumbnail}").json()["error"]["code"] == 400


def test_the_whole_flow_of_a_model_replayed(as_alice: Asker) -> None:
    """`gis.content.folders.get().add`, `gis.content.get`, `Item.update`, `Item.delete` as they were recorded."""
    assert as_alice.get(f"{SHARING}/community/self").json()["username"] == "alice"
    folders = as_alice.get(MINE).json()
    assert {"username", "folders", "items", "nextStart"} <= set(folders)
    item_id = as_alice.add("m", {"file": ("m.dlpk", make_package("flow"))}, type="Deep Learning Package")
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert {"id", "owner", "type", "title", "name", "url", "ownerFolder", "thumbnail", "tags", "size"} <= set(item)
    owner = as_alice.get(f"{SHARING}/community/users/{item['owner']}").json()
    assert {"username", "privileges"} <= set(owner)
    form = {"tags": "a,b", "properties": '{"jobStatus":"completed"}', "snippet": "", "clearEmptyFields": "true"}
    assert as_alice(f"{MINE}/items/{item_id}/update", **form)["success"] is True
    assert as_alice(f"{MINE}/items/{item_id}/canDelete")["success"] is True
    assert as_alice(f"{MINE}/items/{item_id}/delete", force="true") == {"success": True, "itemId": item_id}
