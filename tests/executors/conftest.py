from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# Slots import the bench by its name, the inline executor gets it from here.
sys.path.insert(0, str(Path(__file__).parent))

import odd_bench

from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.task import Done, Executor, Failed, Phase, Reply, Task

ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parent)}


@dataclass
class Hearing:
    """Collects replies, and when the last one for a ticket came."""

    replies: dict[int, list[Reply]] = field(default_factory=dict)
    ended_s: dict[int, float] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, ticket: int, reply: Reply) -> None:
        with self.changed:
            self.replies.setdefault(ticket, []).append(reply)
            if isinstance(reply, (Done, Failed)):
                self.ended_s[ticket] = time.monotonic()
            self.changed.notify_all()

    def last(self, ticket: int, timeout_s: float = 20.0) -> Done | Failed:
        with self.changed:
            assert self.changed.wait_for(lambda: ticket in self.ended_s, timeout_s)
            last = self.replies[ticket][-1]
        assert isinstance(last, (Done, Failed))
        return last


@pytest.fixture
def hearing() -> Hearing:
    return Hearing()


@pytest.fixture
def make_task(tmp_path: Path) -> Callable[..., Task]:
    def make(acts: str = "", **changes: object) -> Task:
        form = {"acts": acts, "started": str(tmp_path / "started"), "go": str(tmp_path / "go")}
        arguments = {"phase": Phase.RUN, "parameters": form, "handles": {}, **changes}
        return Task("j" + "0" * 32, 1, "Odd", folder=str(tmp_path), **arguments)

    return make


@pytest.fixture
def processes(hearing: Hearing) -> Iterator[ProcessExecutor]:
    """Two slot processes."""
    executor = ProcessExecutor("odd_bench:open_bench", [ENVIRONMENT, ENVIRONMENT])
    executor.start(hearing)
    yield executor
    executor.close()


@pytest.fixture(params=["inline", "processes"])
def executor(request: pytest.FixtureRequest, hearing: Hearing) -> Iterator[Executor]:
    """Each implementation in turn, with one slot."""
    if request.param == "inline":
        made: Executor = InlineExecutor(odd_bench.open_bench())
    else:
        made = ProcessExecutor("odd_bench:open_bench", [ENVIRONMENT])
    made.start(hearing)
    yield made
    made.close()
