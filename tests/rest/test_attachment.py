from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from raster_analysis.errors import StoreError
from raster_analysis.portal.item import Access, Item
from raster_analysis.rest.attachment import attachment

CONTENT = random.Random(7).randbytes(1000)
ITEM = Item(
    id="a" * 32, owner="ann", folder_id=None, type="Image", title="t", name="x.tif", tags=(), snippet=None,
    description=None, properties=None, access=Access.PRIVATE, url=None, size=1000, created_ms=0, modified_ms=0,
    data_file="0123abcd.tif", package_digest=None,
)  # fmt: skip


def read(start: int, stop: int) -> Iterator[bytes]:
    yield CONTENT[start:stop]


def client_of(item: Item) -> TestClient:
    def answer(request: Request) -> Response:
        return attachment(request, item, read)

    return TestClient(Starlette(routes=[Route("/", answer, methods=["GET", "POST"])]))


CLIENT = client_of(ITEM)


def test_the_whole_file_comes_with_length_and_tag() -> None:
    answer = CLIENT.get("/")
    assert answer.content == CONTENT
    headers = answer.headers
    assert headers["content-length"] == "1000"
    assert headers["etag"] == '"0123abcd"'
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-disposition"] == 'attachment; filename="x.tif"'
    assert headers["content-type"] == "application/octet-stream"
    head = CLIENT.head("/")
    assert (head.content, head.headers["content-length"]) == (b"", "1000")


@given(first=st.integers(0, 1100), last=st.one_of(st.none(), st.integers(0, 1100)))
def test_a_range_is_that_part_of_the_file(first: int, last: int | None) -> None:
    answer = CLIENT.get("/", headers={"range": f"bytes={first}-{'' if last is None else last}"})
    if last is not None and last < first:
        assert (answer.status_code, answer.content) == (200, CONTENT)
    elif first >= 1000:
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */1000")
    else:
        stop = 1000 if last is None else min(last + 1, 1000)
        assert (answer.status_code, answer.content) == (206, CONTENT[first:stop])
        assert answer.headers["content-range"] == f"bytes {first}-{stop - 1}/1000"
        assert answer.headers["content-length"] == str(stop - first)


@pytest.mark.parametrize(("suffix", "start"), [(1, 999), (300, 700), (5000, 0)])
def test_a_range_may_count_from_the_end(suffix: int, start: int) -> None:
    assert CLIENT.get("/", headers={"range": f"bytes=-{suffix}"}).content == CONTENT[start:]


@pytest.mark.parametrize("value", ["bytes=0-1,5-6", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=" + "9" * 5000, ""])
def test_what_is_no_single_range_is_answered_by_the_whole(value: str) -> None:
    answer = CLIENT.get("/", headers={"range": value})
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_of_a_file_that_was_replaced_is_answered_by_the_whole() -> None:
    for tag, status in (('"0123abcd"', 206), ('"other"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)):
        assert CLIENT.get("/", headers={"range": "bytes=0-1", "if-range": tag}).status_code == status


def test_an_empty_file_has_no_range() -> None:
    client = client_of(replace(ITEM, size=0))
    assert client.get("/").headers["content-length"] == "0"
    assert client.get("/", headers={"range": "bytes=0-"}).status_code == 416


def test_a_storage_that_fails_is_told_before_the_answer_begins() -> None:
    def fail(_start: int, _stop: int) -> Iterator[bytes]:
        raise StoreError("item storage s3://x cannot give a file")

    with pytest.raises(StoreError, match="s3://x"):
        attachment(Request({"type": "http", "method": "GET", "headers": []}), ITEM, fail)
