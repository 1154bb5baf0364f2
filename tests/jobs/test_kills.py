"""Real processes, really killed: nothing is lost, nothing that was finished is repeated, and the bytes are the same."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from counting import marks
from memory_portal import MemoryPortal
from waiting import until

from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.jobs.store import Store

HERE = str(Path(__file__).parent)
Finished = Callable[[Dispatcher, Job], Job]
Make = Callable[..., Dispatcher]


def digest(count: int) -> str:
    return hashlib.sha256(b"".join(f"{i}:7\n".encode() * 100 for i in range(count))).hexdigest()


def processes(slots: int = 2) -> ProcessExecutor:
    return ProcessExecutor("counting:open_bench", [{"PYTHONPATH": HERE}] * slots)


@pytest.fixture
def kill_server(tmp_path: Path, stage: Path) -> Iterator[Callable[[int, Callable[[], object]], list[str]]]:
    """Start a server with one job, kill it once a fact is true; returns the ids of its job."""
    servers: list[subprocess.Popen[str]] = []

    def run(count: int, fact: Callable[[], object]) -> list[str]:
        command = [sys.executable, f"{HERE}/serve_jobs.py", str(tmp_path / "data"), str(stage)]
        command += [str(count)] if count else []
        environment = {**os.environ, "PYTHONPATH": HERE}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        servers.append(server)
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        jobs = [server.stdout.readline().strip()] if count else []
        until(fact)
        server.kill()
        server.wait()
        until(lambda: not any(map(runs, pids)), timeout_s=1.0)
        return jobs

    yield run
    for server in servers:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def count_recorded(store: Store) -> int:
    kept = next((store.kept(job.id) for job in store.unfinished()), None)
    return len(kept.results) if kept else 0


def runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_slot_killed_in_the_middle_of_a_block_costs_that_block_only(
    make_dispatcher: Make, finished: Finished, stage: Path
) -> None:
    (stage / "hold-3").touch()
    dispatcher = make_dispatcher(processes())
    job = dispatcher.submit("Count", {"count": "8", "stage": str(stage)}, "ann")
    until(lambda: marks(stage, "start-3") and all(marks(stage, f"end-{i}") for i in (0, 1, 2, 4, 5, 6, 7)))
    os.kill(int(marks(stage, "start-3")[0].split(".")[1]), signal.SIGKILL)
    (stage / "hold-3").unlink()
    job = finished(dispatcher, job)
    assert job.outputs == {"result": {"sha256": digest(8)}}
    assert [len(marks(stage, f"start-{i}")) for i in range(8)] == [1, 1, 1, 2, 1, 1, 1, 1]
    assert any("Block 4 of 8 is tried again" in m.text and m.level == "warning" for m in job.messages)


def test_a_block_that_kills_two_processes_fails_its_job_and_no_other(
    make_dispatcher: Make, finished: Finished, stage: Path, tmp_path: Path
) -> None:
    (stage / "kill-2").touch()
    other = tmp_path / "other"
    other.mkdir()
    dispatcher = make_dispatcher(processes())
    poisoned = dispatcher.submit("Count", {"count": "5", "stage": str(stage)}, "ann")
    healthy = dispatcher.submit("Count", {"count": "5", "stage": str(other)}, "ann")
    assert finished(dispatcher, healthy).status is JobStatus.SUCCEEDED
    job = finished(dispatcher, poisoned)
    assert job.status is JobStatus.FAILED
    assert any("Block 3 of 5 ended its worker process twice" in m.text for m in job.messages if m.level == "error")
    assert len(marks(stage, "start-2")) == 2
    until(lambda: not (tmp_path / "data" / "jobs" / job.id).exists())


def test_a_job_goes_on_after_the_server_was_closed(
    make_dispatcher: Make, finished: Finished, stage: Path, store: Store
) -> None:
    (stage / "hold-4").touch()
    first = make_dispatcher(processes())
    job = first.submit("Count", {"count": "6", "stage": str(stage)}, "ann")
    until(lambda: count_recorded(store) == 5)
    first.close()
    (stage / "hold-4").unlink()
    job = finished(make_dispatcher(processes()), job)
    assert job.outputs == {"result": {"sha256": digest(6)}}
    assert [len(marks(stage, f"start-{i}")) for i in range(6)] == [1, 1, 1, 1, 2, 1]


def test_two_jobs_share_two_slots(make_dispatcher: Make, finished: Finished, stage: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    (stage / "hold").touch()
    dispatcher = make_dispatcher(processes())
    large = dispatcher.submit("Count", {"count": "9", "stage": str(stage)}, "ann")
    until(lambda: marks(stage, "start-1"))
    job = dispatcher.submit("Count", {"count": "3", "stage": str(small)}, "bob")
    (stage / "hold").unlink()
    (stage / "hold-8").touch()
    assert finished(dispatcher, job).status is JobStatus.SUCCEEDED
    (stage / "hold-8").unlink()
    assert finished(dispatcher, large).status is JobStatus.SUCCEEDED


def test_a_job_goes_on_after_the_server_was_killed(
    make_dispatcher: Make,
    finished: Finished,
    stage: Path,
    portal: MemoryPortal,
    store: Store,
    kill_server: Callable[..., list[str]],
) -> None:
    count = 12
    (stage / "hold-9").touch()
    (stage / "hold-10").touch()
    [job_id] = kill_server(count, lambda: count_recorded(store) == 9 and marks(stage, "start-10"))
    (stage / "hold-9").unlink()
    (stage / "hold-10").unlink()
    dispatcher = make_dispatcher(processes())
    resumed = dispatcher.get(job_id)
    assert resumed is not None
    job = finished(dispatcher, resumed)
    assert job.outputs == {"result": {"sha256": digest(count)}}
    assert job.fence == 2
    assert any("The server was restarted" in m.text for m in job.messages)
    assert [len(marks(stage, f"start-{i}")) for i in range(count)] == [1] * 9 + [2, 2, 1]
    assert portal.binds == 0, "the handles of the first claim are kept"


def test_a_server_killed_again_and_again_repeats_no_recorded_block(
    make_dispatcher: Make, finished: Finished, stage: Path, store: Store, kill_server: Callable[..., list[str]]
) -> None:
    count = 6
    for index in range(1, count):
        (stage / f"hold-{index}").touch()
    jobs: list[str] = []
    for round_ in range(3):
        (stage / f"hold-{round_}").unlink(missing_ok=True)

        jobs += kill_server(count if not jobs else 0, lambda least=round_ + 1: count_recorded(store) >= least)
    for index in range(1, count):
        (stage / f"hold-{index}").unlink(missing_ok=True)
    dispatcher = make_dispatcher(processes())
    resumed = dispatcher.get(jobs[0])
    assert resumed is not None
    job = finished(dispatcher, resumed)
    assert job.outputs == {"result": {"sha256": digest(count)}}
    assert job.fence == 4
    assert [len(marks(stage, f"end-{i}")) for i in range(count)] == [1] * count


def test_a_finished_block_whose_file_was_damaged_is_run_again(
    make_dispatcher: Make, finished: Finished, stage: Path, tmp_path: Path, kill_server: Callable[..., list[str]]
) -> None:
    (stage / "hold-finish").touch()
    [job_id] = kill_server(4, lambda: marks(stage, "start-finish"))
    files = tmp_path / "data" / "jobs" / job_id / "1"
    (files / "block-1.txt").write_bytes(b"damaged")
    (files / "block-2.txt").unlink()
    (stage / "hold-finish").unlink()
    dispatcher = make_dispatcher(processes())
    resumed = dispatcher.get(job_id)
    assert resumed is not None
    assert finished(dispatcher, resumed).outputs == {"result": {"sha256": digest(4)}}
    assert [len(marks(stage, f"end-{i}")) for i in range(4)] == [1, 2, 2, 1]


def test_a_cancel_that_the_killed_server_took_is_kept(
    make_dispatcher: Make, finished: Finished, stage: Path, store: Store, kill_server: Callable[..., list[str]]
) -> None:
    (stage / "hold").touch()
    [job_id] = kill_server(3, lambda: marks(stage, "start-0"))
    store.request_cancel(job_id)
    dispatcher = make_dispatcher(processes())
    job = dispatcher.get(job_id)
    assert job is not None
    assert finished(dispatcher, job).status is JobStatus.CANCELLED


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", ["add", "claim", "keep_plan", "write", "publish", "finish"])
def test_a_job_ends_once_wherever_its_server_dies(
    make_dispatcher: Make, finished: Finished, stage: Path, store: Store, tmp_path: Path, call: str, moment: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": HERE, "KILL_AT": f"{call}:{moment}"}
    command = [sys.executable, f"{HERE}/serve_jobs.py", str(tmp_path / "data"), str(stage), "3"]
    assert subprocess.call(command, env=environment, stdout=subprocess.DEVNULL, timeout=30) == -9
    dispatcher = make_dispatcher(processes(1))
    jobs = dispatcher.jobs("ann")
    if (call, moment) == ("add", "before"):
        assert jobs == []
        return
    assert len(jobs) == 1
    assert finished(dispatcher, jobs[0]).outputs == {"result": {"sha256": digest(3)}}
    assert len(marks(stage, "end-0")) <= 2
