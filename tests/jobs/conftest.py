from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The tool for these tests is imported by slots as well, so it is a plain module and no fixture.
sys.path.insert(0, str(Path(__file__).parent))

from counting import TOOLS, open_bench
from memory_portal import MemoryPortal

from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.job import Job
from raster_analysis.jobs.store import Store
from raster_analysis.task import Executor


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The folder that tells the counting tool what to do."""
    folder = tmp_path / "stage"
    folder.mkdir()
    return folder


@pytest.fixture
def portal() -> MemoryPortal:
    return MemoryPortal()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "data" / "jobs.db")
    yield store
    store.close()


@pytest.fixture
def make_dispatcher(tmp_path: Path, store: Store, portal: MemoryPortal) -> Iterator[Callable[..., Dispatcher]]:
    """Make started dispatchers on the test's data folder; they are closed in the end."""
    made: list[Dispatcher] = []

    def make(executor: Executor | None = None, **changes: object) -> Dispatcher:
        arguments = {"tools": TOOLS, "store": store, "portal": portal, "folder": tmp_path / "data", **changes}
        dispatcher = Dispatcher(executor=executor or InlineExecutor(open_bench()), **arguments)
        made.append(dispatcher)
        dispatcher.start()
        return dispatcher

    yield make
    for dispatcher in made:
        dispatcher.close()


@pytest.fixture
def dispatcher(make_dispatcher: Callable[..., Dispatcher]) -> Dispatcher:
    """A dispatcher with one inline slot."""
    return make_dispatcher()


@pytest.fixture
def finished() -> Callable[[Dispatcher, Job], Job]:
    """Wait for the end of a job."""

    def wait(dispatcher: Dispatcher, job: Job) -> Job:
        ended = dispatcher.wait(job.id, 20)
        assert ended is not None
        assert ended.status.is_final, ended
        return ended

    return wait
