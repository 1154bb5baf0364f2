from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from memory_portal import MemoryPortal

from raster_analysis.errors import StoreError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.jobs.conductor import Policy
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.folders import JobFolders
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.jobs.store import Store

Finished = Callable[[Dispatcher, Job], Job]
FORM = {"raster": "roads"}


def texts(job: Job) -> list[str]:
    return [message.text for message in job.messages]


def test_a_job_too_many_is_taken_and_has_failed_with_a_reason(
    make_dispatcher: Callable[..., Dispatcher], portal: MemoryPortal, store: Store, finished: Finished, stage: Path
) -> None:
    portal.may_publish.clear()
    dispatcher = make_dispatcher(policy=Policy(jobs_per_user=2))
    form = {"stage": str(stage), "count": "1"}
    first, second = (dispatcher.submit("Count", form, "ann") for _ in range(2))
    refused = dispatcher.submit("Count", form, "ann")
    assert refused.status is JobStatus.SUBMITTED, "submitJob answers as always"
    seen = dispatcher.get(refused.id)
    assert seen is not None
    assert seen.status is JobStatus.FAILED
    assert any("ann has 2 unfinished jobs" in text for text in texts(seen))
    assert store.get(refused.id) is None, "a flood of them fills no disk"
    other = dispatcher.submit("Count", form, "bob")
    assert store.get(other.id) is not None
    portal.may_publish.set()
    for job in (first, second, other):
        finished(dispatcher, job)
    again = dispatcher.submit("Count", form, "ann")
    assert store.get(again.id) is not None


def test_a_result_is_published_once_its_storage_answers_again(
    make_dispatcher: Callable[..., Dispatcher], portal: MemoryPortal, finished: Finished, stage: Path
) -> None:
    failures = [StoreError("item storage s3://x cannot take a file"), StoreError("still not")]
    publish = portal.publish
    portal.publish = lambda publication: _raise(failures.pop()) if failures else publish(publication)  # type: ignore[method-assign]
    dispatcher = make_dispatcher(policy=Policy(publish_every_s=0.01))
    job = finished(dispatcher, dispatcher.submit("Count", {"stage": str(stage), "count": "1"}, "ann"))
    assert job.status is JobStatus.SUCCEEDED, texts(job)
    assert [text for text in texts(job) if "tried again" in text] == ["still not; publishing is tried again"]


def test_publishing_is_given_up_after_its_time(
    make_dispatcher: Callable[..., Dispatcher], portal: MemoryPortal, finished: Finished, stage: Path
) -> None:
    portal.failure = StoreError("item storage s3://x cannot take a file")
    dispatcher = make_dispatcher(policy=Policy(publish_for_s=0.0, publish_every_s=0.01))
    job = finished(dispatcher, dispatcher.submit("Count", {"stage": str(stage), "count": "1"}, "ann"))
    assert job.status is JobStatus.FAILED
    assert "item storage s3://x cannot take a file" in texts(job)


def test_files_of_the_cache_are_linked_into_the_jobs_folder(tmp_path: Path) -> None:
    folders = JobFolders(tmp_path / "jobs")
    copies = [tmp_path / "cache" / name for name in ("a.tif", "b.tif")]
    elsewhere = tmp_path / "items" / "c.tif"
    for path in (*copies, elsewhere):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.name.encode())
    one, two, three = (Handle("raster", str(path), path.name, stamp=Stamp.of(path)) for path in (*copies, elsewhere))
    both = Handle("raster", "", "both", members=(two, three))
    held = folders.hold("j1", {"one": one, "both": both})
    for path in copies:
        path.unlink()  # evicted
    for handle in held.values():
        handle.verify_unchanged()
    assert Path(held["one"].path).read_bytes() == b"a.tif"
    assert Path(held["one"].path).is_relative_to(tmp_path / "jobs" / "j1")
    assert held["both"].members[1] == three
    assert folders.hold("j1", {"three": three}) == {"three": three}
    folders.remove("j1")
    assert not Path(held["one"].path).exists()


def _raise(error: Exception) -> dict[str, object]:  # a lambda cannot
    raise error
