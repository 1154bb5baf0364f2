"""Whom an item is for, asked at every reading of it (contract 4.2, A04)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from portal_client import BASE_URL, CONTENT, INACCESSIBLE, MINE, SHARING, Asker, make_package
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.portal.item import Access

PICTURE = b"\x89PNG\r\n\x1a\n" + b"0" * 40
READERS = ("nobody", "bob", "carol", "alice", "admin")
MAY_READ = {"private": ("alice", "admin"), "org": READERS[1:], "public": READERS}


@pytest.fixture
def askers(client: TestClient, token: dict[str, str]) -> dict[str, Asker]:
    headers = {name: {"X-Esri-Authorization": f"Bearer {value}"} for name, value in token.items()}
    return {"nobody": Asker(client), **{name: Asker(client, each) for name, each in headers.items()}}


def share(ask: Asker, item_id: str, **form: object) -> dict[str, Any]:
    return ask(f"{MINE}/items/{item_id}/share", **form)


@pytest.mark.parametrize("access", MAY_READ)
def test_items_are_read_by_those_they_are_for_and_nobody_else(
    askers: dict[str, Asker], access: str, as_alice: Asker
) -> None:
    files = {"file": ("m.dlpk", make_package(access)), "thumbnail": ("t.png", PICTURE)}
    item_id = as_alice.add(f"For {access}", files, type="Deep Learning Package")
    share(as_alice, item_id, everyone=access == "public", org=access == "org")
    item = f"{CONTENT}/items/{item_id}"
    paths = [item, *(f"{item}/{part}" for part in ("data", "info/thumbnail/thumbnail.png", "relatedItems", "groups"))]
    for name in READERS:
        allowed = name in MAY_READ[access]
        for path in paths:
            refused = INACCESSIBLE in askers[name].get(path).text
            assert refused is not allowed, (name, path)
        found = askers[name](f"{SHARING}/search", q=f"id:{item_id}")["total"]
        assert found == int(allowed), name


@pytest.mark.parametrize("access", MAY_READ)
def test_services_are_read_by_those_they_are_for_and_nobody_else(
    askers: dict[str, Asker], access: str, as_alice: Asker, rooms: Rooms, tmp_path: Path
) -> None:
    name = f"layer_for_{access}"
    parameters = json.dumps({"name": name})
    made = as_alice(f"{MINE}/createService", outputType="featureService", createParameters=parameters)
    (tmp_path / "r.gpkg").write_bytes(b"features")
    items, alice = rooms.portal.items, rooms.portal.users.get("alice")
    items.replace_data(made["itemId"], alice, items.place(made["itemId"], tmp_path / "r.gpkg", "r.gpkg"))
    share(as_alice, made["itemId"], everyone=access == "public", org=access == "org")
    service = f"/arcgis/rest/services/Hosted/{name}/FeatureServer"
    for reader in READERS:
        allowed = reader in MAY_READ[access]
        for path in (service, f"{CONTENT}/items/{made['itemId']}/data"):
            refused = "inaccessible" in askers[reader].get(path).text
            assert refused is not allowed, (reader, path)
        assert (name in askers[reader].get("/arcgis/rest/services/Hosted").text) is allowed, reader
    items.delete(made["itemId"], alice)


@pytest.mark.parametrize("way", ["share", "shareItems", "items/{id}/share"])
@pytest.mark.parametrize(
    ("form", "access"),
    [
        ({"everyone": "true", "org": "true"}, "public"),
        ({"everyone": "false", "org": "True"}, "org"),
        ({"everyone": "False", "org": "false"}, "private"),
        ({"groups": "g1"}, "public"),
        ({"access": "org"}, "public"),
    ],
)
def test_sharing_sets_the_access(as_alice: Asker, way: str, form: dict[str, str], access: str) -> None:
    item_id = as_alice.add("Shared")
    share(as_alice, item_id, everyone="true")
    groups = form.get("groups", "").split(",") if "groups" in form else []
    if way == "shareItems":
        told = as_alice(f"{MINE}/shareItems", items=item_id, **form)["results"][0]
        assert told == {"itemId": item_id, "success": True, "notSharedWith": groups}
    else:
        path = f"{MINE}/items/{item_id}/share" if way == "share" else f"{CONTENT}/items/{item_id}/share"
        assert as_alice(path, **form) == {"itemId": item_id, "notSharedWith": groups}
    assert as_alice(f"{CONTENT}/items/{item_id}")["access"] == access
    own = as_alice(f"{MINE}/items/{item_id}")
    assert (own["sharing"], own["item"]["id"]) == ({"access": access, "groups": []}, item_id)


def test_there_are_no_groups_to_take_an_item_away_from(as_alice: Asker) -> None:
    item_id = as_alice.add("Unshared")
    told = as_alice(f"{MINE}/items/{item_id}/unshare", groups="a, b")
    assert told == {"itemId": item_id, "notUnsharedFrom": ["a", "b"]}
    gone, mine = as_alice(f"{MINE}/unshareItems", items=f"{'0' * 32},{item_id}", groups="a")["results"]
    assert (gone["success"], gone["error"]["message"]) == (False, INACCESSIBLE)
    assert mine == {"itemId": item_id, "success": True, "notUnsharedFrom": ["a"]}


def test_only_owner_and_administrator_share(
    as_alice: Asker, as_carol: Asker, as_admin: Asker, nobody: Asker, as_bob: Asker
) -> None:
    item_id = as_alice.add("Not yours to share")
    share(as_alice, item_id, org="true")
    for path in (f"{MINE}/items/{item_id}/share", f"{CONTENT}/items/{item_id}/share"):
        assert as_carol.error(path, everyone="true") == (400, INACCESSIBLE)
        assert as_bob.error(path, everyone="true")[0] == 403
    told = as_carol(f"{CONTENT}/users/carol/shareItems", items=item_id, everyone="true")["results"][0]
    assert (told["success"], told["error"]["message"]) == (False, INACCESSIBLE)
    assert nobody.error(f"{CONTENT}/items/{item_id}/share", everyone="true")[0] == 499
    assert as_alice(f"{CONTENT}/items/{item_id}")["access"] == "org"
    assert share(as_admin, item_id, everyone="true")["notSharedWith"] == []
    assert as_alice(f"{CONTENT}/items/{item_id}")["access"] == "public"


def test_a_viewer_shares_nothing_not_even_what_is_left_of_its_own(as_bob: Asker, rooms: Rooms) -> None:
    item = rooms.portal.items.add(rooms.portal.items.draft("bob", "PDF", "From better times"))
    assert as_bob.error(f"{CONTENT}/users/bob/items/{item.id}/share", everyone="true")[0] == 403
    assert rooms.portal.items.get(item.id, rooms.portal.users.get("bob")).access is Access.PRIVATE


def test_a_token_in_the_url_of_a_service_is_asked_too(
    client: TestClient, as_alice: Asker, token: dict[str, str]
) -> None:
    parameters = json.dumps({"name": "with_token"})
    as_alice(f"{MINE}/createService", outputType="imageService", createParameters=parameters)
    url = f"{BASE_URL}/arcgis/rest/services/Hosted/with_token/ImageServer"
    assert "inaccessible" in client.get(url, params={"f": "json", "token": token["carol"]}).text
    assert "inaccessible" not in client.get(url, params={"f": "json", "token": token["alice"]}).text
