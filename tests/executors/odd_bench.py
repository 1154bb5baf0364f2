"""A bench that does what the test's form says; imported by slots."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from raster_analysis.errors import ParameterError, RasterError
from raster_analysis.seams import Reporter
from raster_analysis.task import Bench, Done, Task
from raster_analysis.tool import Output


def open_bench() -> Bench:
    return work


def open_nothing() -> Bench:
    raise RuntimeError("there is no device")


def say_hello(task: Task, report: Reporter) -> None:
    report.message("hello", "warning")
    report.progress(0.5)


def hold(task: Task, report: Reporter) -> None:
    Path(str(task.parameters["started"])).touch()
    while not Path(str(task.parameters["go"])).exists():
        report.check_cancelled()
        time.sleep(0.002)


def be_deaf(task: Task, report: Reporter) -> None:
    Path(str(task.parameters["started"])).touch()
    # PyDLL keeps the interpreter's lock while it sleeps, as bad native code does.
    ctypes.PyDLL(None).sleep(60)


def leave_a_child(task: Task, report: Reporter) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(str(task.parameters["started"])).write_text(str(child.pid))
    be_deaf(task, report)


def kill_itself(task: Task, report: Reporter) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def segfault(task: Task, report: Reporter) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_well(task: Task, report: Reporter) -> None:
    os._exit(0)


def refuse(task: Task, report: Reporter) -> None:
    raise RasterError("raster 'roads' has 0 bands")


def refuse_twice(task: Task, report: Reporter) -> None:
    raise ParameterError(["count is not a number", "tile_size is not a number"])


def stumble(task: Task, report: Reporter) -> None:
    raise ZeroDivisionError("/a/path/of/the/server")


def write_garbage(task: Task, report: Reporter) -> None:
    _pipe().send_bytes(b"\x80\x04garbage")
    time.sleep(60)


def write_a_gigabyte(task: Task, report: Reporter) -> None:
    os.write(_pipe().fileno(), (1 << 30).to_bytes(4, "big") + b"x" * 1000)
    time.sleep(60)


def say_nan(task: Task, report: Reporter) -> None:
    report.progress(math.nan)


ACTS: dict[str, Callable[[Task, Reporter], None]] = {
    act.__name__: act
    for act in (
        say_hello, hold, be_deaf, leave_a_child, kill_itself, segfault, exit_well, refuse, refuse_twice, stumble,
        write_garbage, write_a_gigabyte, say_nan,
    )
}  # fmt: skip


def work(task: Task, report: Reporter) -> Done:
    for name in str(task.parameters.get("acts", "")).split():
        ACTS[name](task, report)
    value = {"pid": os.getpid(), "blocks": len(task.plan.blocks) if task.plan else 0, "torch": "torch" in sys.modules}
    return Done(outputs=(Output("answer", "value", value=value),))


def _pipe() -> Connection:
    return next(thing for thing in gc.get_objects() if isinstance(thing, Connection))
