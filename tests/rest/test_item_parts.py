"""Adding a package in each of the ways that clients have (contract 4.1), and what is refused on the way."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from portal_client import CONTENT, INACCESSIBLE, MINE, Asker, make_package
from starlette.testclient import TestClient

from raster_analysis.app import Rooms
from raster_analysis.portal.arrivals import KEPT_MS

PACKAGE = {"title": "m", "type": "Deep Learning Package", "tags": "a,b"}
BEGIN = {
    **PACKAGE, "multipart": "true", "fileName": "m.dlpk", "description": "d", "snippet": "s", "categories": "[]",
    "metadataFormats": "iso19139", "typeKeywords": "", "spatialReference": "", "appCategories": "", "industries": "",
}  # fmt: skip


@pytest.fixture
def leaves_nothing(rooms: Rooms) -> Iterator[None]:
    """The folders of files are at the end as they were before."""
    folders = [rooms.settings.data / name for name in ("items", "packages", "uploads", "arrivals")]
    before = sorted(path for folder in folders for path in folder.rglob("*"))
    yield
    assert sorted(path for folder in folders for path in folder.rglob("*")) == before


def begin(ask: Asker, home: str = MINE, **form: object) -> str:
    """Send addItem the way `Folder.add` does: multipart/form-data with text fields and no file."""
    fields = {name: (None, str(value)) for name, value in {"f": "json", **BEGIN, **form}.items()}
    answer = ask.client.post(f"{home}/addItem", files=fields, headers=ask.headers).json()
    assert answer["success"] is True, answer
    return str(answer["id"])


def add_part(ask: Asker, item_id: str, number: int, data: bytes, *, size: int | None = None) -> dict[str, Any]:
    query = f"f=json&partNum={number}&streamdata=True&size={len(data) if size is None else size}"
    url = f"{MINE}/items/{item_id}/addPart?{query}"
    return ask.client.post(url, files={"file": ("m.dlpk", data)}, headers=ask.headers).json()


def commit(ask: Asker, item_id: str, **form: object) -> dict[str, Any]:
    return ask(f"{MINE}/items/{item_id}/commit", **{"id": item_id, "async": "True", **BEGIN, **form})


def status(ask: Asker, item_id: str) -> tuple[str, str]:
    answer = ask.get(f"{MINE}/items/{item_id}/status").json()
    assert answer["itemId"] == item_id
    return answer["status"], answer["statusMessage"]


def download(ask: Asker, item_id: str) -> bytes:
    return ask.get(f"{CONTENT}/items/{item_id}/data").content  # type: ignore[no-any-return]


def parts_of(data: bytes, count: int) -> list[tuple[int, bytes]]:
    step = -(-len(data) // count)
    return [(number, data[(number - 1) * step : number * step]) for number in range(1, count + 1)]


def test_a_package_comes_in_one_streamed_part(as_alice: Asker) -> None:
    data = make_package("streamed", 3 << 20)
    item_id = begin(as_alice)
    assert status(as_alice, item_id)[0] == "partial"
    assert as_alice.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)
    assert add_part(as_alice, item_id, 1, data)["success"] is True
    assert commit(as_alice, item_id) == {"success": True, "id": item_id, "itemId": item_id}
    assert status(as_alice, item_id)[0] == "completed"
    item = as_alice(f"{CONTENT}/items/{item_id}")
    described = (item["type"], item["title"], item["name"], item["size"], item["tags"], item["snippet"])
    assert described == ("Deep Learning Package", "m", "m.dlpk", len(data), ["a", "b"], "s")
    assert download(as_alice, item_id) == data


def test_a_package_of_120_mb_comes_in_parts_of_any_order_side_by_side(as_alice: Asker, rooms: Rooms) -> None:
    data = make_package("large", 120 << 20)
    item_id = begin(as_alice)
    parts = parts_of(data, 3)[::-1]
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda part: add_part(as_alice, item_id, *part), parts))
    assert all(answer["success"] for answer in answers)
    assert commit(as_alice, item_id)["success"] is True
    path = rooms.portal.items.data_path(rooms.portal.items.get(item_id, rooms.portal.users.get("alice")))
    assert path is not None
    assert path.read_bytes() == data
    assert as_alice(f"{MINE}/items/{item_id}/delete")["success"] is True


def test_a_small_package_comes_with_add_item_itself(as_alice: Asker) -> None:
    data = make_package("small")
    form = {"type": PACKAGE["type"], "async": "true", "multipart": "false"}
    item_id = as_alice.add("m", {"file": ("m.dlpk", data)}, **form)
    assert status(as_alice, item_id)[0] == "completed"
    assert download(as_alice, item_id) == data


def test_a_package_comes_in_splits_without_announced_sizes(as_alice: Asker) -> None:
    data = make_package("split", 1 << 20)
    item_id = begin(as_alice)
    for number, part in parts_of(data, 3):
        url = f"{MINE}/items/{item_id}/addPart?f=json&partNum={number}"
        assert as_alice(url, {"file": (f"split{number}.split", part)})["success"] is True
    assert commit(as_alice, item_id)["success"] is True
    assert download(as_alice, item_id) == data


def test_a_client_chooses_the_id(as_alice: Asker, as_carol: Asker) -> None:
    wanted = secrets.token_hex(16)
    form = {"type": PACKAGE["type"], "async": "false", "itemIdToCreate": wanted}
    assert as_alice.add("chosen", {"file": ("m.dlpk", make_package("chosen"))}, **form) == wanted
    assert status(as_alice, wanted)[0] == "completed"
    theirs = f"{CONTENT}/users/carol/addItem"
    code, message = as_carol.error(theirs, type="PDF", title="t", itemIdToCreate=wanted.upper())
    assert (code, message) == (400, f"item id {wanted} is taken; choose another, or leave itemIdToCreate out")
    assert as_carol.error(theirs, type="PDF", title="t", itemIdToCreate=wanted, multipart="true")[0] == 400
    assert as_alice(f"{CONTENT}/items/{wanted}")["title"] == "chosen"


@pytest.mark.parametrize("wanted", ["x", "0" * 31, "../../etc", "g" * 32, "0" * 33])
def test_ids_that_are_no_ids_are_refused(as_alice: Asker, wanted: str, leaves_nothing: None) -> None:
    assert "32 hexadecimal digits" in as_alice.error(f"{MINE}/addItem", type="PDF", title="t", itemIdToCreate=wanted)[1]


def test_the_legacy_way_sends_part_numbers_as_form_fields(as_alice: Asker) -> None:
    data = make_package("legacy", 1 << 20)
    began = as_alice(f"{MINE}/addItem", **PACKAGE, multipart="true", fileName="m.dlpk")
    assert (began["success"], len(began["id"])) == (True, 32)
    item = f"{MINE}/items/{began['id']}"
    for number, part in reversed(parts_of(data, 4)):
        assert as_alice(f"{item}/addPart", {"file": ("part", part)}, partNum=number)["success"] is True
    # "async" is a word of Python.
    assert as_alice(f"{item}/commit", **{"async": "true", "type": PACKAGE["type"]})["success"] is True
    assert as_alice(f"{item}/status")["status"] == "completed"
    assert as_alice(f"{item}/update")["success"] is True
    assert download(as_alice, began["id"]) == data


def test_what_the_commit_says_wins_and_the_rest_stays(as_alice: Asker) -> None:
    item_id = begin(as_alice, title="before", typeKeywords="Deep Learning,ONNX")
    add_part(as_alice, item_id, 1, make_package("words"))
    commit(as_alice, item_id, title="after", snippet="", description="later")
    item = as_alice(f"{CONTENT}/items/{item_id}")
    assert (item["title"], item["snippet"], item["description"]) == ("after", "s", "later")
    assert item["typeKeywords"] == ["Deep Learning", "ONNX"]


def test_an_upload_goes_into_the_folder_of_its_path(as_alice: Asker) -> None:
    folder = as_alice(f"{MINE}/createFolder", title="For parts")["folder"]["id"]
    item_id = begin(as_alice, f"{MINE}/{folder}")
    url = f"{MINE}/{folder}/items/{item_id}"
    assert as_alice(f"{url}/addPart?partNum=1", {"file": ("m.dlpk", make_package("foldered"))})["success"] is True
    assert as_alice(f"{url}/commit", id=item_id)["success"] is True
    assert as_alice(f"{CONTENT}/items/{item_id}")["ownerFolder"] == folder


def test_a_part_sent_again_takes_the_place_of_the_first(as_alice: Asker) -> None:
    data = make_package("again", 1000)
    item_id = begin(as_alice)
    add_part(as_alice, item_id, 1, b"torn")
    add_part(as_alice, item_id, 1, data)
    assert commit(as_alice, item_id)["success"] is True
    assert download(as_alice, item_id) == data


def test_a_commit_sent_again_finds_the_item(as_alice: Asker) -> None:
    item_id = begin(as_alice)
    add_part(as_alice, item_id, 1, make_package("twice"))
    assert commit(as_alice, item_id) == commit(as_alice, item_id)


def test_a_part_of_another_size_is_refused_and_may_be_sent_again(as_alice: Asker, rooms: Rooms) -> None:
    item_id, data = begin(as_alice), make_package("resized")
    answer = add_part(as_alice, item_id, 1, data, size=len(data) + 1)
    assert "and not the" in answer["error"]["message"]
    assert rooms.portal.arrivals.parts(item_id) == []
    assert add_part(as_alice, item_id, 1, data)["success"] is True
    assert commit(as_alice, item_id)["success"] is True


def missing(ask: Asker, item_id: str) -> None:
    add_part(ask, item_id, 1, make_package("gap"))
    add_part(ask, item_id, 3, b"end")


def broken(ask: Asker, item_id: str) -> None:
    add_part(ask, item_id, 1, make_package("cut")[:-30])


FAULTS = {
    "nothing": (lambda _ask, _id: None, "no part of the file has arrived"),
    "missing": (missing, "part 2 of 3 is missing"),
    "broken": (broken, "'m.dlpk' is not a usable package"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_commit_that_is_refused_says_why_and_leaves_nothing(
    as_alice: Asker, fault: str, leaves_nothing: None, rooms: Rooms
) -> None:
    prepare, expected = FAULTS[fault]
    item_id = begin(as_alice)
    prepare(as_alice, item_id)
    error = commit(as_alice, item_id)["error"]
    assert expected in error["message"]
    assert str(rooms.settings.data) not in str(error)
    assert status(as_alice, item_id) == ("failed", error["message"])
    assert as_alice.error(f"{CONTENT}/items/{item_id}") == (400, INACCESSIBLE)
    assert as_alice.error(f"{CONTENT}/items/{item_id}/data") == (400, INACCESSIBLE)
    assert expected in commit(as_alice, item_id)["error"]["message"]
    assert expected in add_part(as_alice, item_id, 1, b"late")["error"]["message"]
    # Clients delete what they could not finish.
    assert as_alice(f"{MINE}/items/{item_id}/delete")["success"] is True
    assert as_alice.error(f"{MINE}/items/{item_id}/status") == (400, INACCESSIBLE)


@pytest.mark.parametrize("number", ["-1", "10001", "", "x", "9" * 30])
def test_parts_have_numbers(as_alice: Asker, number: str) -> None:
    item_id = begin(as_alice)
    answer = as_alice.error(f"{MINE}/items/{item_id}/addPart?partNum={number}", {"file": ("m", b"x")})
    assert answer[0] == 400
    assert as_alice(f"{MINE}/items/{item_id}/delete")["success"] is True


def test_a_part_without_a_file_is_refused(as_alice: Asker) -> None:
    item_id = begin(as_alice)
    assert "multipart field file" in as_alice.error(f"{MINE}/items/{item_id}/addPart", partNum=1)[1]
    assert as_alice(f"{MINE}/items/{item_id}/delete")["success"] is True


def test_parts_together_stay_below_the_limit(as_alice: Asker, rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    item_id = begin(as_alice)
    monkeypatch.setattr(rooms.portal.uploads, "limit", 1000)
    assert add_part(as_alice, item_id, 1, b"x" * 600)["success"] is True
    assert "larger than the 1,000 bytes" in add_part(as_alice, item_id, 2, b"x" * 600)["error"]["message"]
    assert rooms.portal.arrivals.parts(item_id) == [1]


def test_another_user_cannot_tell_an_upload_from_nothing(as_alice: Asker, as_carol: Asker) -> None:
    item_id = begin(as_alice)
    add_part(as_alice, item_id, 1, make_package("hidden"))
    for home in ("alice", "carol"):
        for each in (item_id, "0" * 32):
            item = f"{CONTENT}/users/{home}/items/{each}"
            refused = [
                as_carol.error(f"{item}/addPart?partNum=1", {"file": ("m", b"x")}),
                *(as_carol.error(f"{item}/{action}") for action in ("commit", "status", "delete", "update")),
            ]
            assert refused == [(400, INACCESSIBLE)] * 5
    assert commit(as_alice, item_id)["success"] is True


def test_a_viewer_and_a_service_type_begin_nothing(as_bob: Asker, as_alice: Asker) -> None:
    assert as_bob.error(f"{CONTENT}/users/bob/addItem", **BEGIN)[0] == 403
    assert as_alice.error(f"{MINE}/addItem", **{**BEGIN, "type": "Feature Service"})[0] == 400


def test_an_upload_that_nobody_goes_on_with_is_swept_after_a_day(
    as_alice: Asker, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    item_id = begin(as_alice)
    add_part(as_alice, item_id, 1, b"begun")
    arrivals = rooms.portal.arrivals
    now: Callable[[], int] = arrivals._clock
    rooms.portal.tidy()
    assert arrivals.parts(item_id) == [1]
    monkeypatch.setattr(arrivals, "_clock", lambda: now() + KEPT_MS + 60_000)
    rooms.portal.tidy()
    assert arrivals.parts(item_id) == []
    assert as_alice.error(f"{MINE}/items/{item_id}/status") == (400, INACCESSIBLE)


def test_a_thumbnail_may_come_with_the_first_request(as_alice: Asker, client: TestClient) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + b"0" * 40
    began = as_alice(f"{MINE}/addItem", {"thumbnail": ("t.png", picture)}, **BEGIN)
    add_part(as_alice, began["id"], 1, make_package("pictured"))
    commit(as_alice, began["id"])
    item = as_alice(f"{CONTENT}/items/{began['id']}")
    answer = as_alice.get(f"{CONTENT}/items/{began['id']}/info/{item['thumbnail']}")
    assert (answer.content, answer.headers["content-type"]) == (picture, "image/png")
