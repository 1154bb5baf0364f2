"""The inline executor: one slot that is a thread of this process. For tests, scripts and single runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from raster_analysis.executors.attempt import Report, attempt
from raster_analysis.task import Bench, Listener, Task


class InlineExecutor:
    """Runs one task at a time. A task that never asks whether it was cancelled runs to its end."""

    slots = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inline-slot")
        self._live: set[int] = set()
        self._listener: Listener = _ignore

    def start(self, listener: Listener) -> None:
        """Say who hears the replies."""
        self._listener = listener

    def submit(self, ticket: int, task: Task) -> None:
        """Run a task after those that were submitted before."""
        self._live.add(ticket)
        self._thread.submit(self._run, ticket, task)

    def cancel(self, ticket: int) -> None:
        """Ask a task to stop."""
        self._live.discard(ticket)

    def close(self) -> None:
        """Ask the running task to stop and wait for it; no reply comes after this."""
        self._listener = _ignore
        self._live.clear()
        self._thread.shutdown(cancel_futures=True)

    def _run(self, ticket: int, task: Task) -> None:
        report = Report(partial(self._listener, ticket), lambda: ticket not in self._live)
        reply = attempt(self._bench, task, report)
        self._live.discard(ticket)
        self._listener(ticket, reply)


def _ignore(_ticket: int, _reply: object) -> None:
    pass
