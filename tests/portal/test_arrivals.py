from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.arrivals import KEPT_MS, MOST_OPEN, Arrivals, State
from raster_analysis.portal.database import Database
from raster_analysis.portal.item import ItemText
from raster_analysis.portal.item_uploads import ItemUploads
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.uploads import Uploads
from raster_analysis.portal.users import Role, User

BASE_URL = "https://gis.example:8443"
MakePackage = Callable[..., Path]
ID = "0123456789abcdef" * 2


def send(portal: Portal, user: User, number: int, data: bytes, arrival_id: str = ID) -> None:
    portal.arrivals.add_part(arrival_id, user, number, io.BytesIO(data))


def joined(portal: Portal, user: User, wanted: tuple[int, ...] = ()) -> bytes:
    with portal.arrivals.join(ID, user, wanted) as (_, path):
        return path.read_bytes()


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=12), data=st.data())
def test_parts_of_any_order_become_the_file(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("arrivals")
    database = Database(folder / "portal.sqlite")
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO users VALUES ('alice', 'alice', 'publisher', '', 0)")
    arrivals = Arrivals(database, folder / "arrivals", Uploads(folder / "uploads", 10**6))
    alice = User("alice", Role.PUBLISHER, 0)
    arrivals.open(ID, alice, "file")
    for number, part in data.draw(st.permutations(list(enumerate(parts, 1)))):
        arrivals.add_part(ID, alice, number, io.BytesIO(part), size=len(part))
    with arrivals.join(ID, alice) as (_, path):
        assert path.read_bytes() == b"".join(parts)
    assert not any((folder / "uploads").iterdir())
    database.close()


def test_an_upload_outlives_a_restart_even_in_the_middle_of_its_commit(
    portal: Portal, alice: User, tmp_path: Path, make_package: MakePackage
) -> None:
    data = make_package("restarted").read_bytes()
    draft = portal.draft(alice, "Deep Learning Package", ItemText(title="Restarted"))
    item_id = ItemUploads(portal).begin(draft, alice, "m.dlpk", text=ItemText(title="Restarted"), thumbnail=None)
    send(portal, alice, 1, data[:1000], item_id)
    portal.arrivals._begin_joining(item_id, alice)
    portal.close()
    again = Portal(Settings(tmp_path / "data", BASE_URL))
    again.sweep()
    assert ItemUploads(again).status(item_id, alice)[0] == "partial"
    send(again, alice, 2, data[1000:], item_id)
    item = ItemUploads(again).commit(item_id, alice, ItemText())
    assert (item.id, item.title, item.size) == (item_id, "Restarted", len(data))
    assert list((tmp_path / "data" / "arrivals").iterdir()) == []
    again.close()


def test_a_fault_of_the_server_leaves_the_parts_for_another_commit(portal: Portal, alice: User) -> None:
    portal.arrivals.open(ID, alice, "file")
    send(portal, alice, 1, b"good")

    def fail() -> None:
        with portal.arrivals.join(ID, alice):
            raise MemoryError

    with pytest.raises(MemoryError):
        fail()
    assert joined(portal, alice) == b"good"


def test_two_commits_at_once_make_one_file(portal: Portal, alice: User) -> None:
    portal.arrivals.open(ID, alice, "file")
    send(portal, alice, 1, b"once")

    def commit(_: int) -> str:
        try:
            return joined(portal, alice).decode()
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(commit, range(4)))
    assert sorted(told) == [*["once"], *[f"upload {ID} is committed already"] * 3]
    with pytest.raises(InputError, match="committed already"):
        send(portal, alice, 2, b"late")


@pytest.mark.parametrize(("present", "wanted", "missing"), [((1, 3), (), 2), ((2,), (), 1), ((1, 2), (2,), 1)])
def test_a_gap_is_named(
    portal: Portal, alice: User, present: tuple[int, ...], wanted: tuple[int, ...], missing: int
) -> None:
    portal.arrivals.open(ID, alice, "file")
    for number in present:
        send(portal, alice, number, b"x")
    with pytest.raises(InputError, match=f"part {missing} of"):
        joined(portal, alice, wanted)
    failed = portal.arrivals.get(ID, alice)
    assert (failed.state, f"part {missing} of" in failed.message) == (State.FAILED, True)
    assert portal.arrivals.parts(ID) == []


def test_numbers_may_begin_at_nought(portal: Portal, alice: User) -> None:
    portal.arrivals.open(ID, alice, "file")
    for number, part in ((1, b"b"), (0, b"a")):
        send(portal, alice, number, part)
    assert joined(portal, alice) == b"ab"


def test_an_upload_is_for_its_owner_and_administrators(portal: Portal, alice: User, bob: User, root: User) -> None:
    portal.arrivals.open(ID, alice, "file")
    use: tuple[Callable[[User], object], ...] = (
        lambda user: portal.arrivals.get(ID, user),
        lambda user: send(portal, user, 1, b"x"),
        lambda user: portal.arrivals.remove(ID, user),
    )
    for each in use:
        with pytest.raises(AccessError, match="does not exist or is inaccessible"):
            each(bob)
    for each in use:
        each(root)


def test_a_user_has_so_many_uploads_and_no_more(portal: Portal, alice: User, bob: User) -> None:
    for number in range(MOST_OPEN):
        portal.arrivals.open(f"{number:032x}", alice, "file")
    with pytest.raises(InputError, match=f"{MOST_OPEN} uploads that are not finished"):
        portal.arrivals.open(ID, alice, "file")
    portal.arrivals.open(ID, bob, "file")


def test_complete_uploads_do_not_count_as_unfinished(portal: Portal, alice: User) -> None:
    for _ in range(MOST_OPEN + 1):
        portal.input_uploads.store(alice, "scene.tif", io.BytesIO(b"pixels"))
    assert portal.input_uploads.register(alice, "next.tif").state is State.OPEN


def test_what_is_deleted_while_it_is_committed_is_gone(portal: Portal, alice: User, tmp_path: Path) -> None:
    upload = portal.input_uploads.register(alice, "scene.tif")
    send(portal, alice, 1, b"pixels", upload.id)
    copy = tmp_path / "copy"
    copy.write_bytes(b"pixels")

    def delete_and_keep() -> None:
        with portal.arrivals.join(upload.id, alice):
            portal.arrivals.remove(upload.id, alice)
            portal.arrivals.keep(upload.id, copy)

    with pytest.raises(AccessError, match="Upload does not exist"):
        delete_and_keep()
    assert list((tmp_path / "data" / "arrivals").iterdir()) == []


def test_parts_that_are_deleted_while_they_are_joined_are_no_fault_of_the_server(portal: Portal, alice: User) -> None:
    upload = portal.input_uploads.register(alice, "scene.tif")
    send(portal, alice, 1, b"pixels", upload.id)

    def delete_and_read() -> None:
        with portal.arrivals.join(upload.id, alice) as (_, path):
            portal.arrivals.remove(upload.id, alice)
            path.read_bytes()

    with pytest.raises(AccessError, match="Upload does not exist"):
        delete_and_read()


def test_what_a_job_names_outlives_its_day(portal: Portal, alice: User, time: Callable[[], int]) -> None:
    for arrival_id in (ID, "i" + ID):
        portal.arrivals.open(arrival_id, alice, "file")
        send(portal, alice, 1, b"x", arrival_id)
    time.ms += KEPT_MS + 1  # type: ignore[attr-defined]
    portal.tidy({"i" + ID})
    assert portal.arrivals.parts(ID) == []
    assert portal.arrivals.parts("i" + ID) == [1]


def test_files_without_a_row_are_swept(portal: Portal, tmp_path: Path) -> None:
    left = tmp_path / "data" / "arrivals" / ID
    left.mkdir()
    (left / "1").write_bytes(b"x")
    portal.sweep()
    assert not left.exists()
