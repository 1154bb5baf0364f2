"""Workers and servers killed in the middle of a real classification: same bytes, no block twice, no orphan."""

from __future__ import annotations

import hashlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_server import LiveServer, job_id, runs, until
from strips import write_strip
from tiny_models import write_package

BLOCKS = 4
FORM = {
    "inputRaster": "/rasterStores/s/strip.tif",
    "outputClassifiedRaster": "strip",
    "model": {"uri": "/fileShares/s/slow.dlpk"},
    # One tile at a time in full precision: blocks that take a second or two.
    "modelArguments": {"batch_size": "1"},
    "context": {"precision": "fp32"},
}
TASK = "ClassifyPixelsUsingDeepLearning"


@pytest.fixture(scope="module")
def killable(make_server: Callable[..., LiveServer]) -> Iterator[LiveServer]:
    server = make_server("killable")
    server.store.mkdir()
    write_package(server.store / "slow.dlpk", layers=2)
    write_strip(server.store / "strip.tif", BLOCKS)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def undisturbed(killable: LiveServer) -> str:
    """The digest of the result when nothing happens."""
    job = killable.client().submit(TASK, FORM)
    killable.client().wait(job)
    return digest(killable, job)


def digest(server: LiveServer, job: str) -> str:
    item = server.client().get(f"{job}/results/outRaster")["value"]["itemId"]
    path = server.client().download(item, server.folder / f"{job_id(job)}.tif")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def follow(server: LiveServer, job: str) -> tuple[dict[str, Any], dict[str, set[int]]]:
    """Return a job at its end, and all moments of writing that were seen of each block file."""
    seen: dict[str, set[int]] = {}

    def ended() -> bool:
        for name, moment in server.files(job).items():
            seen.setdefault(name, set()).add(moment)
        return server.client().get(job)["jobStatus"] not in ("esriJobSubmitted", "esriJobExecuting")

    until(ended)
    return server.client().get(job), seen


def texts(document: dict[str, Any]) -> list[str]:
    return [message["description"] for message in document["messages"]]


def test_a_killed_worker_costs_one_block_and_no_byte(killable: LiveServer, undisturbed: str) -> None:
    job = killable.client().submit(TASK, FORM)
    until(lambda: len(killable.ledger(job)) >= 2)
    [worker] = killable.slots()
    worker.kill()
    recorded, before = killable.ledger(job), killable.files(job)
    document, seen = follow(killable, job)

    assert document["jobStatus"] == "esriJobSucceeded", texts(document)
    assert 2 <= len(recorded) < BLOCKS
    assert digest(killable, job) == undisturbed
    retried = [text for text in texts(document) if "is tried again" in text]
    assert len(retried) == 1
    assert re.match(rf"Block \d of {BLOCKS} is tried again: .*was killed \(SIGKILL\)", retried[0])
    assert all(seen[file] == {before[file]} for file in recorded.values())
    assert worker.pid not in [slot.pid for slot in killable.slots()]


def test_a_killed_server_goes_on_where_it_was(killable: LiveServer, undisturbed: str) -> None:
    job = killable.client().submit(TASK, FORM)
    until(lambda: len(killable.ledger(job)) >= 2)
    workers = killable.slots()
    killable.kill()
    until(lambda: not any(map(runs, workers)), timeout_s=1.0)
    recorded, before = killable.ledger(job), killable.files(job)
    killable.start()
    document, seen = follow(killable, job)

    assert document["jobStatus"] == "esriJobSucceeded", texts(document)
    assert 2 <= len(recorded) < BLOCKS
    assert digest(killable, job) == undisturbed
    assert "The server was restarted; the job goes on." in texts(document)
    # Written once, before the server died, and never again under either claim.
    assert all(seen[file] == {before[file]} for file in recorded.values())
    repeated = {Path(file).name for file in seen if file.startswith("2/")}
    assert repeated
    assert not repeated & {Path(file).name for file in recorded.values()}


def test_a_server_that_is_told_to_stop_leaves_no_process(make_server: Callable[..., LiveServer]) -> None:
    server = make_server("stopped")
    server.start()
    until(server.slots)
    workers = server.slots()
    server.stop()

    assert not any(map(runs, workers))
    assert "Application shutdown complete" in server.log
    assert server.process is not None
    # The signal is passed on when all is closed, so that a service manager sees what it asked for.
    assert server.process.returncode in (0, -signal.SIGTERM)
