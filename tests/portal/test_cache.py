from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.errors import BudgetError, StoreError
from raster_analysis.portal.cache import Cache


class Time:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        self.now += 100
        return self.now


def of(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_is_found_until_it_is_dropped(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 100)
    assert cache.find("a/x.tif") is None
    path = cache.fill("a/x.tif", 3, of(b"abc"))
    assert cache.find("a/x.tif") == path
    assert path.read_bytes() == b"abc"
    cache.drop("a/x.tif")
    assert cache.find("a/x.tif") is None


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 30, clock=Time())
    for key in ("a", "b", "c"):
        cache.fill(key, 10, of(bytes(10)))
    cache.find("a")
    cache.fill("d", 10, of(bytes(10)))
    assert names(tmp_path / "c") == ["a", "c", "d"]


def test_what_a_job_has_linked_stays_whatever_the_bound(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 30, clock=Time())
    held = cache.fill("held", 20, of(bytes(20)))
    os.link(held, tmp_path / "job")
    cache.fill("b", 10, of(bytes(10)))
    cache.fill("c", 20, of(bytes(20)))
    assert names(tmp_path / "c") == ["c", "held"]
    (tmp_path / "job").unlink()
    cache.fill("d", 20, of(bytes(20)))
    assert names(tmp_path / "c") == ["d"]


def test_what_was_just_asked_for_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 15, clock=lambda: 1_800_000_000.0)
    cache.fill("a", 10, of(bytes(10)))
    cache.fill("b", 10, of(bytes(10)))
    assert names(tmp_path / "c") == ["a", "b"]


def test_many_who_ask_at_once_are_served_by_one_fill(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 100)
    fills: list[Path] = []
    together = Barrier(8)

    def write(path: Path) -> None:
        fills.append(path)
        path.write_bytes(b"abc")

    def ask(_: int) -> Path:
        together.wait(10)
        return cache.find("k") or cache.fill("k", 3, write)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {tmp_path / "c" / "k"}
    assert len(fills) == 1
    assert cache._filling == {}


def test_a_fill_that_fails_leaves_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 100)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise StoreError("gone")

    with pytest.raises(StoreError, match="gone"):
        cache.fill("k", 8, fail)
    with pytest.raises(StoreError, match="4 of 8 bytes"):
        cache.fill("k", 8, of(b"half"))
    with pytest.raises(BudgetError, match=r"101 bytes .* 100"):
        cache.fill("k", 101, of(bytes(101)))
    assert names(tmp_path / "c") == []
    assert cache.fill("k", 4, of(b"full")).read_bytes() == b"full"


def test_what_a_crash_left_is_swept_and_copies_stay(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", 100)
    cache.fill("k", 1, of(b"x"))
    (tmp_path / "c" / ".tmp-1").write_bytes(b"x")
    Cache(tmp_path / "c", 100).sweep()
    assert names(tmp_path / "c") == ["k"]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), min_size=1, max_size=25))
def test_the_bound_holds_whatever_is_asked_for(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache = Cache(folder, 100, clock=Time())
    for number, size in asked:
        path = cache.find(f"{number}-{size}") or cache.fill(f"{number}-{size}", size, of(bytes(size)))
        assert path.stat().st_size == size
        assert sum(each.stat().st_size for each in folder.iterdir()) <= 100
