"""How jobs end other than well: cancelled, out of time, failed; and what is left of them."""

from __future__ import annotations

import errno
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from counting import marks
from memory_portal import MemoryPortal
from waiting import until

from raster_analysis.errors import StoreError
from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.jobs import conductor
from raster_analysis.jobs.conductor import Policy
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.jobs.store import Store

Finished = Callable[[Dispatcher, Job], Job]
Make = Callable[..., Dispatcher]


def submit(dispatcher: Dispatcher, stage: Path, count: int = 3) -> Job:
    return dispatcher.submit("Count", {"count": str(count), "stage": str(stage)}, "ann")


def folder(tmp_path: Path, job: Job) -> Path:
    return tmp_path / "data" / "jobs" / job.id


def test_a_queued_job_is_cancelled_without_having_run(dispatcher: Dispatcher, finished: Finished, stage: Path) -> None:
    (stage / "hold").touch()
    jobs = [submit(dispatcher, stage) for _ in range(4)]
    assert dispatcher.cancel(jobs[-1].id).status in (JobStatus.CANCELLING, JobStatus.CANCELLED)
    last = finished(dispatcher, jobs[-1])
    assert (last.status, last.fence, last.started_at) == (JobStatus.CANCELLED, 0, None)
    (stage / "hold").unlink()
    assert [finished(dispatcher, job).status for job in jobs[:-1]] == [JobStatus.SUCCEEDED] * 3


def test_an_executing_job_is_cancelled_once_and_its_files_go(
    dispatcher: Dispatcher, finished: Finished, stage: Path, tmp_path: Path
) -> None:
    (stage / "hold-1").touch()
    job = submit(dispatcher, stage)
    until(lambda: marks(stage, "start-1"))
    assert folder(tmp_path, job).exists()
    assert dispatcher.cancel(job.id).status is JobStatus.CANCELLING
    dispatcher.cancel(job.id)
    ended = finished(dispatcher, job)
    assert ended.status is JobStatus.CANCELLED
    assert [m.text for m in ended.messages if m.text.startswith("Cancelled at")] == [ended.messages[-1].text]
    assert dispatcher.cancel(job.id) == ended
    until(lambda: not folder(tmp_path, job).exists())


def test_a_job_that_puts_its_result_together_is_cancelled(
    dispatcher: Dispatcher, finished: Finished, stage: Path, portal: MemoryPortal
) -> None:
    (stage / "hold-finish").touch()
    job = submit(dispatcher, stage)
    until(lambda: marks(stage, "start-finish"))
    dispatcher.cancel(job.id)
    assert finished(dispatcher, job).status is JobStatus.CANCELLED
    assert portal.published == []


def test_a_cancel_during_publishing_is_too_late(
    dispatcher: Dispatcher, finished: Finished, stage: Path, portal: MemoryPortal
) -> None:
    portal.may_publish.clear()
    job = submit(dispatcher, stage)
    until(portal.publishing.is_set)
    assert dispatcher.cancel(job.id).status is JobStatus.CANCELLING
    portal.may_publish.set()
    ended = finished(dispatcher, job)
    assert ended.status is JobStatus.SUCCEEDED
    assert ended.outputs


def test_publishing_that_takes_long_decides_how_a_cancelled_job_ends(
    dispatcher: Dispatcher, finished: Finished, stage: Path, portal: MemoryPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "GRACE_S", 0.0)
    portal.may_publish.clear()
    job = submit(dispatcher, stage)
    until(portal.publishing.is_set)
    dispatcher.cancel(job.id)
    # Another job comes and goes meanwhile, so the conductor has looked at the first one.
    assert finished(dispatcher, dispatcher.submit("Count", {}, "ann")).status is JobStatus.FAILED
    portal.may_publish.set()
    assert finished(dispatcher, job).status is JobStatus.SUCCEEDED


def test_a_cancel_that_is_heard_after_the_end_stops_nobody_else(
    dispatcher: Dispatcher, finished: Finished, stage: Path
) -> None:
    job = finished(dispatcher, submit(dispatcher, stage))
    dispatcher._conductor.hear_cancelled(job.id)  # as `cancel` does when the job ended after it was marked
    assert finished(dispatcher, submit(dispatcher, stage)).status is JobStatus.SUCCEEDED
    assert dispatcher.get(job.id) == job


def test_a_fault_of_ours_at_the_end_of_a_job_fails_that_job_only(
    dispatcher: Dispatcher, finished: Finished, stage: Path, portal: MemoryPortal
) -> None:
    portal.values["result"] = {"set": {1}}  # JSON has no sets
    assert finished(dispatcher, submit(dispatcher, stage)).status is JobStatus.FAILED
    portal.values.clear()
    assert finished(dispatcher, submit(dispatcher, stage)).status is JobStatus.SUCCEEDED


def test_a_full_disk_while_publishing_is_named(
    dispatcher: Dispatcher, finished: Finished, stage: Path, portal: MemoryPortal
) -> None:
    portal.failure = OSError(errno.ENOSPC, "No space left on device", "/srv/data/items/x")
    job = finished(dispatcher, submit(dispatcher, stage))
    assert job.status is JobStatus.FAILED
    assert "there is no space left on the server's disk" in [message.text for message in job.messages]


def test_a_deaf_task_does_not_hold_up_its_cancel_for_six_seconds(
    make_dispatcher: Make, finished: Finished, stage: Path
) -> None:
    (stage / "hold-0").touch()
    (stage / "deaf").touch()
    dispatcher = make_dispatcher(ProcessExecutor("counting:open_bench", [{"PYTHONPATH": str(Path(__file__).parent)}]))
    job = submit(dispatcher, stage)
    until(lambda: marks(stage, "start-0"))
    asked_s = time.monotonic()
    dispatcher.cancel(job.id)
    assert finished(dispatcher, job).status is JobStatus.CANCELLED
    assert time.monotonic() - asked_s < 6.0


def test_a_job_over_its_time_limit_ends_as_timed_out(make_dispatcher: Make, finished: Finished, stage: Path) -> None:
    (stage / "hold").touch()
    dispatcher = make_dispatcher(policy=Policy(time_limit_s=0.2))
    ended = finished(dispatcher, submit(dispatcher, stage))
    assert ended.status is JobStatus.TIMED_OUT
    assert any("longer than 0.2 seconds" in message.text for message in ended.messages)


def test_a_block_that_fails_three_times_fails_its_job(
    dispatcher: Dispatcher, finished: Finished, stage: Path, tmp_path: Path
) -> None:
    (stage / "fail-1").touch()
    job = finished(dispatcher, submit(dispatcher, stage))
    assert job.status is JobStatus.FAILED
    assert len(marks(stage, "start-1")) == 3
    errors = [message.text for message in job.messages if message.level == "error"]
    assert errors[0].startswith("Block 2 of 3 failed 3 times: unexpected ZeroDivisionError")
    assert not any(str(stage) in message.text for message in job.messages)
    until(lambda: not folder(tmp_path, job).exists())


def test_an_input_error_in_a_block_fails_at_once(dispatcher: Dispatcher, finished: Finished, stage: Path) -> None:
    (stage / "refuse-1").touch()
    job = finished(dispatcher, submit(dispatcher, stage))
    assert job.status is JobStatus.FAILED
    assert len(marks(stage, "start-1")) == 1
    assert "block 1 is not to be had" in [message.text for message in job.messages]


def test_progress_never_falls_and_messages_only_grow(dispatcher: Dispatcher, stage: Path) -> None:
    job = submit(dispatcher, stage, count=30)
    seen = [job]
    while not seen[-1].status.is_final:
        seen.append(dispatcher.get(job.id) or seen[-1])
    assert [job.progress for job in seen] == sorted(job.progress for job in seen)
    for before, after in itertools.pairwise(seen):
        assert after.messages[: len(before.messages)] == before.messages


def test_retention_forgets_jobs(make_dispatcher: Make, finished: Finished, stage: Path) -> None:
    first = make_dispatcher()
    job = finished(first, submit(first, stage))
    first.close()
    in_a_year = datetime.now(UTC) + timedelta(days=365)
    second = make_dispatcher(clock=lambda: in_a_year)
    until(lambda: second.get(job.id) is None)


def test_a_job_that_succeeded_leaves_no_files(
    dispatcher: Dispatcher, finished: Finished, stage: Path, tmp_path: Path
) -> None:
    job = finished(dispatcher, submit(dispatcher, stage))
    assert job.status is JobStatus.SUCCEEDED
    until(lambda: not folder(tmp_path, job).exists())


def test_files_that_a_crash_left_of_an_ended_job_are_removed_at_the_start(
    make_dispatcher: Make, finished: Finished, stage: Path, tmp_path: Path
) -> None:
    first = make_dispatcher()
    job = finished(first, submit(first, stage))
    first.close()
    (folder(tmp_path, job) / "1").mkdir(parents=True, exist_ok=True)  # where the end was quicker than the cleaning
    make_dispatcher()
    until(lambda: not folder(tmp_path, job).exists())


def test_files_of_no_job_are_removed_at_the_start(make_dispatcher: Make, tmp_path: Path) -> None:
    stray = tmp_path / "data" / "jobs" / ("j" + "0" * 32) / "1"
    stray.mkdir(parents=True)
    kept = tmp_path / "data" / "jobs" / "notes"
    kept.mkdir()
    make_dispatcher()
    until(lambda: not stray.parent.exists())
    assert kept.exists()


def test_a_second_server_on_the_same_folder_is_refused(make_dispatcher: Make) -> None:
    first = make_dispatcher()
    with pytest.raises(StoreError, match=r"another server \(process \d+\) uses this data folder"):
        make_dispatcher()
    first.close()
    make_dispatcher()


def test_a_store_that_fails_for_a_while_delays_jobs_and_loses_none(
    dispatcher: Dispatcher, finished: Finished, stage: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter(range(2))
    finish = store.finish

    def stumble(job: Job) -> None:
        if next(failures, None) is not None:
            raise StoreError("database or disk is full")
        finish(job)

    monkeypatch.setattr(store, "finish", stumble)
    assert finished(dispatcher, submit(dispatcher, stage)).status is JobStatus.SUCCEEDED


def test_an_output_outside_the_job_folder_is_refused(
    dispatcher: Dispatcher, finished: Finished, stage: Path, tmp_path: Path, portal: MemoryPortal
) -> None:
    (stage / "stray").write_text("/etc/hostname")
    job = finished(dispatcher, submit(dispatcher, stage))
    assert job.status is JobStatus.FAILED
    assert any("not among the job's files" in message.text for message in job.messages)
    assert portal.published == []
