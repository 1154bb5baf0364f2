"""Signing in by guess and by crowd, JSONP, and other sites' pages: cases A01, A02, A05 and A14."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.portal.throttle import FAILURES

TOKENS = "/portal/sharing/rest/generateToken"
PASSWORD = "correct horse battery"
MIB = 2**20


def sign_in(client: TestClient, name: str, password: str = "guess") -> dict[str, object]:
    form = {"username": name, "password": password, "f": "json", "client": "referer", "referer": "http"}
    return client.post(TOKENS, data=form).json()  # type: ignore[no-any-return]


@pytest.fixture
def unthrottled(rooms: Rooms) -> Iterator[None]:
    """Forget afterwards who failed: the other tests sign in from the same address."""
    yield
    rooms.portal.throttle._failures.clear()


def test_A01_guessing_tells_nothing_and_locks_nobody_else_out(
    client: TestClient, rooms: Rooms, monkeypatch: pytest.MonkeyPatch, unthrottled: None
) -> None:
    hashed: list[str] = []
    matches = rooms.portal.users._matches
    monkeypatch.setattr(
        rooms.portal.users, "_matches", lambda known, given: hashed.append(known) or matches(known, given)
    )
    assert sign_in(client, "carol") == sign_in(client, "nobody-of-that-name")
    # The same work for both, so that the time tells nothing either.
    assert len(hashed) == 2
    answers = [sign_in(client, "carol") for _ in range(FAILURES + 2)]
    assert "attempts" in str(answers[-1]) or "wait" in str(answers[-1]).lower()
    # What is refused for its number costs no hash: a thousand guesses take no more than ten.
    assert len(hashed) <= FAILURES + 2
    assert "token" in sign_in(client, "alice", PASSWORD)


def test_A02_fifty_who_sign_in_at_once_take_the_memory_of_two(client: TestClient, unthrottled: None) -> None:
    process = psutil.Process()
    before, highest = process.memory_info().rss, 0
    with ThreadPoolExecutor(50) as threads:
        running = [threads.submit(sign_in, client, f"stranger{number}") for number in range(50)]
        while not all(attempt.done() for attempt in running):
            highest = max(highest, process.memory_info().rss)
    assert all("error" in attempt.result() for attempt in running)
    assert highest - before < 200 * MIB


@pytest.mark.parametrize("name", ["alert(1)//", "</script>", "x" * 10_000, "callback", "dojo.io.jsonp_1"])
def test_A05_answers_never_become_scripts(client: TestClient, name: str) -> None:
    answer = client.get("/portal/sharing/rest/info", params={"f": "json", "callback": name})
    assert answer.json()["error"]["code"] == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_A14_a_page_of_another_site_changes_nothing_and_reads_nothing(client: TestClient, rooms: Rooms) -> None:
    client.post("/arcgis/rest/login", data={"username": "alice", "password": PASSWORD})
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    before = len(rooms.portal.folders.list("alice"))
    try:
        place = "/portal/sharing/rest/content/users/alice/createFolder"
        for form in ({"title": "forged"}, {"title": "forged", "csrf": "0" * 64}, {"title": "forged", "f": "json"}):
            client.post(place, data=form, headers=evil)
        assert len(rooms.portal.folders.list("alice")) == before
        for method in ("GET", "OPTIONS"):
            answer = client.request(method, "/portal/sharing/rest/community/self", params={"f": "json"}, headers=evil)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert "alice" not in answer.text
    finally:
        client.cookies.clear()
