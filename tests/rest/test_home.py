"""The portal's pages for people: what a visitor finds, and what an owner changes through forms."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.portal.item import Access
from raster_analysis.portal.services import ServiceKind, ServiceName

HOME = "/portal/home"
LOGIN = "/arcgis/rest/login"
PASSWORD = "correct horse battery"


@pytest.fixture
def alice_browser(client: TestClient) -> Iterator[TestClient]:
    client.post(LOGIN, data={"username": "alice", "password": PASSWORD})
    yield client
    client.cookies.clear()


@pytest.fixture
def item_id(rooms: Rooms) -> Iterator[str]:
    """A private item of alice's, whose title would like to be markup."""
    alice = rooms.portal.users.get("alice")
    draft = rooms.portal.items.draft("alice", "Feature Service", "<script>alert(1)</script>")
    item = rooms.portal.services.create(ServiceName(ServiceKind.FEATURES, "home_page"), alice, draft)
    yield item.id
    rooms.portal.items.change(item.id, alice, {"access": Access.PRIVATE})
    rooms.portal.items.delete(item.id, alice)


def form_of(page: httpx.Response, action: str) -> dict[str, str]:
    """Return the hidden fields of the form that posts to an action."""
    form = re.search(rf'<form[^>]*action="[^"]*{action}"[^>]*>(.*?)</form>', page.text, re.DOTALL)
    assert form, page.text
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[1]))


def test_a_visitor_finds_only_what_everyone_may_see(client: TestClient, rooms: Rooms, item_id: str) -> None:
    assert item_id not in client.get(f"{HOME}/search.html").text
    rooms.portal.items.change(item_id, rooms.portal.users.get("alice"), {"access": Access.PUBLIC})
    assert item_id in client.get(f"{HOME}/search.html").text


def test_a_title_is_text_wherever_it_stands(alice_browser: TestClient, item_id: str) -> None:
    for path in ("search.html", "content.html", f"item.html?id={item_id}"):
        page = alice_browser.get(f"{HOME}/{path}").text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_the_content_of_somebody_needs_a_sign_in(client: TestClient) -> None:
    answer = client.get(f"{HOME}/content.html")
    assert (answer.status_code, LOGIN in answer.headers["location"]) == (303, True)


def test_a_form_changes_an_item_and_leads_back_to_its_page(alice_browser: TestClient, item_id: str) -> None:
    page = alice_browser.get(f"{HOME}/item.html", params={"id": item_id})
    path = f"/portal/sharing/rest/content/users/alice/items/{item_id}"
    answer = alice_browser.post(f"{path}/share", data={**form_of(page, "/share"), "org": "true"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/item.html?id={item_id}")
    assert "the organisation" in alice_browser.get(answer.headers["location"]).text


def test_a_form_without_its_token_changes_nothing(alice_browser: TestClient, rooms: Rooms, item_id: str) -> None:
    path = f"/portal/sharing/rest/content/users/alice/items/{item_id}"
    alice_browser.post(f"{path}/share", data={"f": "html", "everyone": "true"})
    alice_browser.post(f"{path}/delete", data={"f": "html"})
    assert rooms.portal.items.get(item_id, rooms.portal.users.get("alice")).access is Access.PRIVATE


@pytest.mark.parametrize(
    "next_page", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_form_leads_to_no_other_site(alice_browser: TestClient, item_id: str, next_page: str) -> None:
    page = alice_browser.get(f"{HOME}/item.html", params={"id": item_id})
    fields = form_of(page, "/update") | {"next": next_page, "title": "Trees"}
    answer = alice_browser.post(f"/portal/sharing/rest/content/users/alice/items/{item_id}/update", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/arcgis/rest/services")


def test_an_item_of_somebody_else_reads_as_one_that_is_not_there(client: TestClient, item_id: str) -> None:
    missing = client.get(f"{HOME}/item.html", params={"id": "0" * 32}).text
    hidden = client.get(f"{HOME}/item.html", params={"id": item_id}).text
    assert "does not exist or is inaccessible" in hidden
    assert hidden == missing
