from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from argon2 import PasswordHasher

from raster_analysis.errors import InputError
from raster_analysis.portal.item import ItemText
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.users import Role, User


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    portal = Portal(Settings(tmp_path / "data", "https://gis.example", user_quota=1000), hasher=cheap)
    yield portal
    portal.close()


@pytest.fixture
def ann(portal: Portal) -> User:
    return portal.users.add("ann", "correct horse", Role.PUBLISHER)


@pytest.fixture
def add(portal: Portal, ann: User, tmp_path: Path) -> Callable[..., str]:
    def add(size: int, name: str = "x", owner: User = ann) -> str:
        path = tmp_path / name
        path.write_bytes(bytes(size))
        return portal.add_item(portal.draft(owner, "PDF", ItemText(title=name)), owner, path, name).id

    return add


def used(portal: Portal, owner: str = "ann") -> int:
    room = portal.quota.room(owner)
    assert room is not None
    return room.used


def test_a_file_without_room_is_refused_with_figures(portal: Portal, add: Callable[..., str]) -> None:
    add(600)
    with pytest.raises(InputError, match=r"401 bytes: .* 600 of the 1,000 bytes allowed, which leaves 400; delete"):
        add(401)
    assert used(portal) == 600
    assert len(list(portal.storage.all_keys())) == 1
    add(400, "y")
    assert used(portal) == 1000


def test_everybody_has_a_quota_of_their_own(portal: Portal, add: Callable[..., str]) -> None:
    bob = portal.users.add("bob", "battery staple", Role.PUBLISHER)
    add(1000)
    add(1000, "y", bob)
    assert (used(portal), used(portal, "bob")) == (1000, 1000)


def test_deleting_gives_room(portal: Portal, ann: User, add: Callable[..., str]) -> None:
    portal.items.delete(add(1000), ann)
    add(1000)


def test_a_new_file_counts_in_place_of_the_old_one(
    portal: Portal, ann: User, add: Callable[..., str], tmp_path: Path
) -> None:
    item_id = add(900)
    (tmp_path / "new").write_bytes(bytes(1000))
    portal.replace_file(item_id, ann, tmp_path / "new", "new")
    (tmp_path / "new").write_bytes(bytes(1001))
    with pytest.raises(InputError, match="bytes allowed"):
        portal.replace_file(item_id, ann, tmp_path / "new", "new")
    assert used(portal) == 1000
    assert len(list(portal.storage.all_keys())) == 1


def test_parts_count_before_the_item_is_there_and_not_twice_after(portal: Portal, ann: User) -> None:
    portal.arrivals.open("f" * 32, ann, "x")
    portal.arrivals.add_part("f" * 32, ann, 1, io.BytesIO(bytes(600)))
    with pytest.raises(InputError, match=r"600 of the 1,000"):
        portal.arrivals.add_part("f" * 32, ann, 2, io.BytesIO(bytes(401)))
    portal.arrivals.add_part("f" * 32, ann, 2, io.BytesIO(bytes(400)))
    with portal.arrivals.join("f" * 32, ann) as (_, path):
        draft = portal.draft(ann, "PDF", ItemText(title="x"))
        portal.add_item(replace(draft, id="f" * 32), ann, path, "x")
    portal.arrivals.forget("f" * 32)
    assert used(portal) == 1000


def test_uploads_for_jobs_count_when_they_are_complete(portal: Portal, ann: User) -> None:
    upload = portal.input_uploads.store(ann, "scene.tif", io.BytesIO(bytes(600)))
    assert used(portal) == 600
    with pytest.raises(InputError, match="leaves 400"):
        portal.input_uploads.store(ann, "scene.tif", io.BytesIO(bytes(600)))
    portal.input_uploads.delete(upload.id, ann)
    assert used(portal) == 0


def test_of_many_uploads_at_once_only_those_with_room_stay(portal: Portal, add: Callable[..., str]) -> None:
    together = Barrier(6)

    def try_to_add(number: int) -> bool:
        together.wait(10)
        try:
            add(300, f"x{number}")
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(try_to_add, range(6))) == 3
    assert used(portal) == 900
    assert len(list(portal.storage.all_keys())) == 3


def test_a_result_is_kept_and_the_next_job_is_not_begun(
    portal: Portal, ann: User, add: Callable[..., str], tmp_path: Path
) -> None:
    add(999)
    portal.quota.check_begin("ann")
    (tmp_path / "result").write_bytes(bytes(5000))
    draft: Any = portal.draft(ann, "Image Service", ItemText(title="result"))
    data = portal.items.place(draft.id, tmp_path / "result", "result.tif")
    with portal.database.write() as connection:  # as results are published
        portal.items.insert(connection, draft, data)
    assert used(portal) == 5999
    with pytest.raises(InputError, match=r"no room for results: .* 5,999 of the 1,000 bytes allowed, which leaves 0"):
        portal.quota.check_begin("ann")


def test_without_a_quota_nothing_is_counted(tmp_path: Path) -> None:
    portal = Portal(Settings(tmp_path / "free", "https://gis.example"))
    assert portal.quota.room("ann") is None
    portal.quota.check_begin("ann")
    portal.close()
