from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raster_analysis.executors import slot_process
from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.task import Done, Failed, Task


def test_a_process_that_was_stopped_is_replaced(
    monkeypatch: pytest.MonkeyPatch, hearing: Any, make_task: Callable[..., Task]
) -> None:
    monkeypatch.setattr(slot_process, "STILL_CHECK_S", 0.05)
    executor = ProcessExecutor("odd_bench:open_bench", [{"PYTHONPATH": str(Path(__file__).parent)}])
    executor.start(hearing)
    executor.submit(1, make_task())
    hearing.last(1)
    os.kill(executor.pids[0], signal.SIGSTOP)
    executor.submit(2, make_task())
    last = hearing.last(2)
    executor.submit(3, make_task())
    replaced = hearing.last(3)
    executor.close()
    assert isinstance(last, Failed)
    assert "stopped by a signal" in last.message
    assert isinstance(replaced, Done)
