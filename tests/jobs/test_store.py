from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from raster_analysis.errors import StaleFence, StoreError
from raster_analysis.grid import Window
from raster_analysis.handle import Handle, Stamp
from raster_analysis.jobs import tables
from raster_analysis.jobs.job import Job, JobStatus, new_job, note, transition
from raster_analysis.jobs.store import Store
from raster_analysis.tool import Block, BlockResult, Plan

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLAN = Plan((Block(0, Window(0, 0, 4, 4)), Block(1, Window(0, 4, 4, 4))), {"seed": 7}, 100)
HANDLES = {"inputRaster": Handle("raster", "/data/r.tif", "r", "GTiff", Stamp(1, 2, 3))}
RESULT = BlockResult(1, "1/block-1.npz", "ab" * 32, {"pixels": 16.0})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "jobs.db")
    yield store
    store.close()


def add(store: Store, tool: str = "Count", now: datetime = NOW) -> Job:
    job = new_job(tool, {"count": "3", "name": "Zürich"}, "ann", now)
    store.add(job)
    return job


def claim(store: Store, owner: str = "a") -> Job:
    job = store.claim(owner, ["Count"], NOW)
    assert job is not None
    return job


def test_a_job_reads_back_as_it_was_stored(store: Store) -> None:
    job = add(store)
    assert store.get(job.id) == job
    assert store.unfinished() == [job]


def test_the_oldest_job_of_the_wanted_tools_is_claimed_first(store: Store) -> None:
    add(store, "Other")
    first, second = add(store), add(store)
    assert [claim(store).id, claim(store).id] == [first.id, second.id]
    assert store.claim("a", ["Count"], NOW) is None


def test_jobs_that_are_added_at_once_are_all_there(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda _: add(store), range(80)))
    assert {job.id for job in store.unfinished()} == {job.id for job in jobs}


def test_a_job_that_cannot_be_stored_spoils_no_other(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(store.add, new_job("Count", {}, "\ud800", NOW)) for _ in range(4)]
        good = [pool.submit(add, store) for _ in range(12)]
        bad += [pool.submit(store.add, new_job("Count", {}, "\ud800", NOW)) for _ in range(4)]
    assert all(isinstance(future.exception(), UnicodeEncodeError) for future in bad)
    assert {job.id for job in store.unfinished()} == {future.result().id for future in good}


def test_a_claim_takes_a_job_once_however_many_ask(store: Store) -> None:
    jobs = {add(store).id for _ in range(40)}
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: store.claim("a", ["Count"], NOW), range(60)))
    taken = [job.id for job in claims if job]
    assert len(taken) == 40
    assert set(taken) == jobs


def test_another_owner_takes_over_with_a_higher_fence(store: Store) -> None:
    add(store)
    first, second = claim(store, "a"), claim(store, "b")
    assert (first.fence, second.fence) == (1, 2)
    assert second.started_at == first.started_at


def test_every_write_of_an_earlier_claim_is_refused(store: Store) -> None:
    add(store)
    late, _ = claim(store, "a"), claim(store, "b")
    for write in (
        lambda: store.write(late, [RESULT]),
        lambda: store.keep_plan(late, PLAN, HANDLES),
        lambda: store.finish(transition(late, JobStatus.SUCCEEDED, NOW)),
    ):
        with pytest.raises(StaleFence, match="claim 1 of job"):
            write()
    assert store.kept(late.id) is None


def test_the_plan_and_the_ledger_read_back_as_written(store: Store) -> None:
    add(store)
    job = claim(store)
    store.keep_plan(job, PLAN, HANDLES)
    store.write(job, [RESULT, replace(RESULT, index=0)])
    store.write(job, [replace(RESULT, sha256="cd" * 32)])
    kept = store.kept(job.id)
    assert kept is not None
    assert (kept.plan, kept.handles) == (PLAN, HANDLES)
    assert kept.results == (replace(RESULT, index=0), replace(RESULT, sha256="cd" * 32))


def test_a_final_state_never_changes(store: Store) -> None:
    add(store)
    job = claim(store)
    done = transition(replace(job, outputs={"result": {"itemId": "1"}}), JobStatus.SUCCEEDED, NOW)
    store.finish(done)
    assert not store.request_cancel(job.id)
    with pytest.raises(StaleFence):
        store.finish(transition(job, JobStatus.FAILED, NOW))
    assert store.get(job.id) == done


def test_a_cancelling_job_is_not_claimed(store: Store) -> None:
    job = add(store)
    assert store.request_cancel(job.id)
    assert not store.request_cancel(job.id)
    assert store.claim("a", ["Count"], NOW) is None


def test_messages_are_added_and_never_rewritten(store: Store) -> None:
    add(store)
    job = claim(store)
    for text in ("one", "two"):
        job = note(job, text, now=NOW)
        store.write(job)
    read = store.get(job.id)
    assert read is not None
    assert read.messages == job.messages


def test_expiry_deletes_what_finished_before_and_all_that_belongs_to_it(store: Store, tmp_path: Path) -> None:
    ended = []
    for age_days in (40, 10):
        add(store)
        job = claim(store)
        job = replace(job, submitted_at=NOW - timedelta(99), started_at=NOW - timedelta(98))
        ended.append(transition(job, JobStatus.FAILED, NOW - timedelta(age_days)))
        store.finish(ended[-1])
    running = add(store)
    assert store.expire(NOW - timedelta(30)) == [ended[0].id]
    assert store.get(ended[0].id) is None
    assert store.get(ended[1].id) is not None
    assert store.get(running.id) is not None
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        owners = {row[0] for row in connection.execute("SELECT job_id FROM messages")}
    connection.close()
    assert owners == {ended[1].id, running.id}


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path / "jobs.db").close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection, connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema 99, this version knows 1"):
        Store.open(tmp_path / "jobs.db")


@pytest.mark.parametrize("content", [b"not a database, but long enough to look at" * 10, None])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "jobs.db"
    if content is None:
        Store.open(path).close()
        content = path.read_bytes()[:5000]
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"the job file jobs\.db cannot be used"):
        Store.open(path)
    assert path.read_bytes() == content


def test_a_locked_file_is_waited_for_then_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BUSY_TIMEOUT_MS", 50)
    impatient = Store.open(tmp_path / "jobs.db")
    connection = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        add(impatient)
    connection.execute("ROLLBACK")
    connection.close()
    assert add(impatient).id
    impatient.close()


@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_job_file_is_not_made_anew_beside_files_of_jobs(tmp_path: Path, content: bytes | None) -> None:
    folder = tmp_path / "jobs" / ("j" + "0" * 32)
    folder.mkdir(parents=True)
    if content is not None:
        (tmp_path / "jobs.sqlite").write_bytes(content)
    with pytest.raises(StoreError, match=r"jobs\.sqlite is missing or empty.*restore it"):
        Store.open(tmp_path / "jobs.sqlite")
    assert folder.exists()


def test_unfinished_jobs_are_counted_by_state(store: Store) -> None:
    for _ in range(3):
        store.add(new_job("Count", {}, "ann", datetime.now(UTC)))
    assert store.request_cancel(store.unfinished()[0].id)
    assert store.count_unfinished() == {"submitted": 2, "cancelling": 1}


def test_the_packages_of_unfinished_jobs_are_known(store: Store) -> None:
    model = Handle("package", "/kept/first", "first", digest="1" * 64)
    job = new_job("Count", {}, "ann", datetime.now(UTC))
    store.add(job, {"model": model, "inputRaster": Handle("raster", "/nowhere/roads.tif", "roads")})
    assert store.pinned_digests() == {"1" * 64}
    assert store.pinned(job.id)["model"] == model
    claimed = store.claim("me", ["Count"], datetime.now(UTC))
    assert claimed is not None
    store.finish(transition(claimed, JobStatus.FAILED, datetime.now(UTC)))
    assert store.pinned_digests() == set()
