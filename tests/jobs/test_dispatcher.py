from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_portal import MemoryPortal

from raster_analysis.errors import InputError, JobError, StoreError
from raster_analysis.handle import Handle
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.jobs.store import Store

Finished = Callable[[Dispatcher, Job], Job]


def digest(count: int) -> str:
    return hashlib.sha256(b"".join(f"{i}:7\n".encode() * 100 for i in range(count))).hexdigest()


def texts(job: Job) -> list[str]:
    return [message.text for message in job.messages]


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_tool_with_blocks_is_planned_run_finished_and_published(
    dispatcher: Dispatcher, finished: Finished, stage: Path, count: int
) -> None:
    form = {"count": str(count), "stage": str(stage), "inputRaster": "roads"}
    job = finished(dispatcher, dispatcher.submit("Count", form, "ann"))
    assert job.status is JobStatus.SUCCEEDED
    assert job.outputs == {"result": {"sha256": digest(count)}}
    assert job.progress == 1.0
    assert texts(job)[:2] == ["Submitted.", "Executing..."]
    assert "inputRaster: raster 'roads'" in texts(job)
    assert f"{count} blocks" in texts(job)
    assert texts(job)[-1].startswith("Succeeded at ")


def test_a_tool_that_answers_needs_no_slot(dispatcher: Dispatcher, finished: Finished, stage: Path) -> None:
    (stage / "hold").touch()
    busy = dispatcher.submit("Count", {"count": "1", "stage": str(stage)}, "ann")
    job = finished(dispatcher, dispatcher.submit("List", {}, "ann"))
    assert job.outputs == {"models": [{"id": "m1", "owner": "ann"}]}
    (stage / "hold").unlink()
    assert finished(dispatcher, busy).status is JobStatus.SUCCEEDED


def test_a_tool_without_pixels_is_one_task(dispatcher: Dispatcher, finished: Finished) -> None:
    job = finished(dispatcher, dispatcher.submit("Echo", {"count": "5"}, "ann"))
    assert job.outputs == {"count": 5}


def test_a_finished_job_reads_the_same_from_the_store(
    dispatcher: Dispatcher, finished: Finished, store: Store, stage: Path
) -> None:
    job = finished(dispatcher, dispatcher.submit("Count", {"count": "2", "stage": str(stage)}, "ann"))
    assert store.get(job.id) == job


def test_bad_parameters_fail_the_job_with_every_fault(dispatcher: Dispatcher, finished: Finished) -> None:
    job = finished(dispatcher, dispatcher.submit("Count", {"count": "many"}, "ann"))
    assert job.status is JobStatus.FAILED
    assert any("count" in m.text and m.level == "error" for m in job.messages)


def test_an_input_that_cannot_be_resolved_fails_the_job(dispatcher: Dispatcher, finished: Finished) -> None:
    job = finished(dispatcher, dispatcher.submit("Count", {"count": "1", "inputRaster": "secret"}, "ann"))
    assert job.status is JobStatus.FAILED
    assert "raster 'secret' does not exist or is not shared with you" in texts(job)


def test_an_unknown_tool_is_refused_at_once(dispatcher: Dispatcher) -> None:
    with pytest.raises(InputError, match="there is no tool 'Conut'; the tools are Count, Echo, List"):
        dispatcher.submit("Conut", {}, "ann")


def test_cancelling_an_unknown_job_is_an_error(dispatcher: Dispatcher) -> None:
    with pytest.raises(JobError, match="there is no job"):
        dispatcher.cancel("j0")


def test_a_user_sees_only_own_jobs_newest_first_in_pages(dispatcher: Dispatcher, finished: Finished) -> None:
    mine = [finished(dispatcher, dispatcher.submit("Echo", {"count": str(i)}, "ann")) for i in range(5)]
    dispatcher.submit("Echo", {"count": "9"}, "bob")
    newest = dispatcher.jobs("ann", limit=3)
    assert newest == mine[:1:-1]
    assert dispatcher.jobs("ann", before=newest[-1].id) == mine[1::-1]


def test_a_job_keeps_the_model_that_it_was_submitted_with(
    dispatcher: Dispatcher, finished: Finished, stage: Path, portal: MemoryPortal
) -> None:
    (stage / "hold").touch()
    portal.models["model"] = Handle("package", "/kept/first", "first", digest="1" * 64)
    form = {"count": "2", "stage": str(stage)}
    jobs = [dispatcher.submit("Count", form, "ann") for _ in range(4)]
    portal.models["model"] = Handle("package", "/kept/second", "second", digest="2" * 64)
    jobs.append(dispatcher.submit("Count", form, "ann"))
    (stage / "hold").unlink()
    lines = [[message.text for message in finished(dispatcher, job).messages] for job in jobs]
    assert ["model: package 'first'" in each for each in lines] == [True] * 4 + [False]
    assert "model: package 'second'" in lines[-1]


@pytest.mark.parametrize(
    ("error", "said"),
    [(StoreError("the disk is full"), "the disk is full"), (RuntimeError("secret"), "its log says more")],
)
def test_a_job_that_cannot_be_stored_has_failed_and_says_why(
    dispatcher: Dispatcher, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(store), "add", fail)
    job = dispatcher.submit("Echo", {"count": "1"}, "ann")
    assert job.status is JobStatus.SUBMITTED, "submitJob answers as always"
    seen = dispatcher.wait(job.id, 0)
    assert seen is not None
    assert seen.status is JobStatus.FAILED
    told = " ".join(texts(seen))
    assert said in told
    assert "secret" not in told


def test_a_fault_of_ours_in_binding_ends_the_job_and_not_the_request(
    dispatcher: Dispatcher, finished: Finished, portal: MemoryPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, Handle]:
        raise RuntimeError("secret")

    monkeypatch.setattr(portal, "pin", fail)
    monkeypatch.setattr(portal, "bind", fail)
    job = finished(dispatcher, dispatcher.submit("Count", {"count": "1", "inputRaster": "roads"}, "ann"))
    assert job.status is JobStatus.FAILED
    assert "secret" not in "".join(texts(job))
