from __future__ import annotations

import math
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.grid import Window
from raster_analysis.task import Done, Failed, Phase, Task
from raster_analysis.tool import Block, BlockResult, Plan

MakeTask = Callable[..., Task]


def until(fact: Callable[[], object], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come true in time"
        time.sleep(0.002)


def value(reply: Done | Failed) -> Any:
    assert isinstance(reply, Done), reply
    return reply.outputs[0].value


def test_a_slot_is_a_process_that_stays_warm(processes: ProcessExecutor, hearing: Any, make_task: MakeTask) -> None:
    pids = set()
    for ticket in range(4):
        processes.submit(ticket, make_task())
        pids.add(value(hearing.last(ticket))["pid"])
    assert pids <= set(processes.pids)
    assert os.getpid() not in pids


def test_slots_work_side_by_side(processes: ProcessExecutor, hearing: Any, make_task: MakeTask, tmp_path: Path) -> None:
    processes.submit(1, make_task("hold"))
    until((tmp_path / "started").exists)
    processes.submit(2, make_task())
    assert value(hearing.last(2))
    assert 1 not in hearing.ended_s
    (tmp_path / "go").touch()
    assert value(hearing.last(1))


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("kill_itself", "was killed (SIGKILL)"),
        ("segfault", "crashed (SIGSEGV)"),
        ("exit_well", "ended with exit code 0 before it answered"),
        ("write_garbage", "sent an answer that cannot be read"),
        ("write_a_gigabyte", "sent an answer that is too long"),
    ],
)
def test_a_lost_process_is_named_and_replaced(
    processes: ProcessExecutor, hearing: Any, make_task: MakeTask, act: str, said: str
) -> None:
    processes.submit(1, make_task(act))
    last = hearing.last(1)
    assert isinstance(last, Failed)
    assert (last.error, last.retry) == ("SlotLost", True)
    assert said in last.message
    processes.submit(2, make_task())
    assert value(hearing.last(2))
    until(lambda: len(processes.pids) == 2)


def test_the_death_of_a_busy_slot_is_noticed_within_a_tenth_of_a_second(
    processes: ProcessExecutor, hearing: Any, make_task: MakeTask, tmp_path: Path
) -> None:
    processes.submit(1, make_task("hold"))
    until((tmp_path / "started").exists)
    for pid in processes.pids:
        os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    assert hearing.last(1).error == "SlotLost"
    assert hearing.ended_s[1] - killed_s < 0.1


def test_an_idle_slot_that_dies_is_replaced_at_once(
    processes: ProcessExecutor, hearing: Any, make_task: MakeTask
) -> None:
    processes.submit(1, make_task())
    hearing.last(1)
    before = set(processes.pids)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(processes.pids) - before) == 2)
    processes.submit(2, make_task())
    assert value(hearing.last(2))["pid"] not in before


def test_slots_work_in_a_server_with_a_thousand_open_connections(hearing: Any, make_task: MakeTask) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    executor = ProcessExecutor("odd_bench:open_bench", [{"PYTHONPATH": str(Path(__file__).parent)}])
    try:
        executor.start(hearing)
        executor.submit(1, make_task())
        assert value(hearing.last(1))
    finally:
        executor.close()
        for descriptor in many:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_order_that_cannot_be_read_costs_the_slot_and_not_the_job(
    processes: ProcessExecutor, hearing: Any, make_task: MakeTask
) -> None:
    # NaN becomes null on the way, which is no figure.
    processes.submit(1, make_task(results=(BlockResult(0, "block.npz", "0" * 64, {"mean": math.nan}),)))
    last = hearing.last(1)
    assert isinstance(last, Failed)
    assert last.error == "SlotLost"
    processes.submit(2, make_task())
    assert value(hearing.last(2))


def test_a_deaf_task_is_killed_after_its_grace_with_all_it_started(
    processes: ProcessExecutor, hearing: Any, make_task: MakeTask, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    processes.submit(1, make_task("leave_a_child"))
    until(lambda: started.exists() and started.read_text())
    asked_s = time.monotonic()
    processes.cancel(1)
    assert hearing.last(1).error == "Cancelled"
    assert 4.5 < hearing.ended_s[1] - asked_s < 6.0
    child = int(started.read_text())
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_bench_that_cannot_be_opened_fails_the_waiting_tasks(hearing: Any, make_task: MakeTask) -> None:
    executor = ProcessExecutor("odd_bench:open_nothing", [{"PYTHONPATH": str(Path(__file__).parent)}])
    executor.start(hearing)
    executor.submit(1, make_task())
    last = hearing.last(1)
    executor.close()
    assert isinstance(last, Failed)
    assert not last.retry
    assert "no worker process can be started" in last.message


def test_a_plan_reaches_every_block_though_it_is_sent_once(
    processes: ProcessExecutor, hearing: Any, make_task: MakeTask
) -> None:
    plan = Plan(tuple(Block(i, Window(i, 0, 1, 1)) for i in range(500)), {}, 0)
    for ticket in range(6):
        task = make_task(phase=Phase.BLOCK, plan=plan, block=plan.blocks[ticket])
        processes.submit(ticket, task)
    assert [value(hearing.last(ticket))["blocks"] for ticket in range(6)] == [500] * 6


def test_closing_leaves_no_process(hearing: Any, make_task: MakeTask, tmp_path: Path) -> None:
    executor = ProcessExecutor("odd_bench:open_bench", [{"PYTHONPATH": str(Path(__file__).parent)}])
    executor.start(hearing)
    executor.submit(1, make_task("hold"))
    until((tmp_path / "started").exists)
    pids = executor.pids
    executor.close()
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert 1 not in hearing.ended_s


def test_slots_die_with_a_server_that_is_killed(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    pids = [int(pid) for pid in server.stdout.readline().split()]
    until((tmp_path / "started").exists)
    server.kill()
    server.wait()
    server.stdout.close()
    assert len(pids) == 2
    until(lambda: not any(map(_runs, pids)), timeout_s=1.0)


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


SERVER = textwrap.dedent("""
    import sys, time
    from raster_analysis.executors.processes import ProcessExecutor
    from raster_analysis.task import Phase, Task

    # One slot is busy in native code that holds the interpreter's lock, the other one is idle.
    executor = ProcessExecutor("odd_bench:open_bench", [{}, {}])
    executor.start(print)
    while len(executor.pids) < 2:
        time.sleep(0.01)
    print(*executor.pids, flush=True)
    form = {"acts": "be_deaf", "started": sys.argv[1] + "/started"}
    executor.submit(1, Task("j1", 1, "Odd", Phase.RUN, sys.argv[1], form, {}))
    time.sleep(60)
""")


def test_the_server_side_loads_neither_torch_nor_gdal() -> None:
    code = "import raster_analysis.jobs.dispatcher, raster_analysis.executors.processes, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "rasterio", "pyogrio"} & set(loaded)
