"""The board: jobs as they are now, in memory, so that polls never touch the database."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from raster_analysis.jobs.job import Job

FINISHED_LIMIT = 1000
"""Finished jobs kept in memory; older ones are read from the store (guess: a day's work)."""


class Board:
    """A thread-safe picture of jobs by id. Every live job is on it, and the last ones that ended."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._live: dict[str, Job] = {}
        self._finished: OrderedDict[str, Job] = OrderedDict()

    def get(self, job_id: str) -> Job | None:
        """Return a job as it is now, or None when it is not on the board."""
        with self._changed:
            return self._live.get(job_id) or self._finished.get(job_id)

    def put(self, job: Job) -> None:
        """Show a job; the picture of a finished job never changes."""
        with self._changed:
            self._put(job)

    def count_of(self, user: str) -> int:
        """Return how many live jobs a user has."""
        with self._changed:
            return sum(job.user == user for job in self._live.values())

    def change(self, job_id: str, edit: Callable[[Job], Job]) -> Job | None:
        """Replace a live job by what `edit` makes of it, in one step; None when it is not live."""
        with self._changed:
            job = self._live.get(job_id)
            if job is None:
                return None
            job = edit(job)
            self._put(job)
            return job

    def drop(self, job_id: str) -> None:
        """Take a job off the board."""
        with self._changed:
            self._live.pop(job_id, None)
            self._finished.pop(job_id, None)

    def wait(self, job_id: str, timeout_s: float) -> Job | None:
        """Return the job as soon as it is finished, or as it is after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while job_id in self._live and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return self._live.get(job_id) or self._finished.get(job_id)

    def _put(self, job: Job) -> None:
        # A late message or a late claim must not bring a finished job back to life.
        if job.id in self._finished:
            return
        if not job.status.is_final:
            self._live[job.id] = job
            return
        self._live.pop(job.id, None)
        self._finished[job.id] = job
        if len(self._finished) > FINISHED_LIMIT:
            self._finished.popitem(last=False)
        self._changed.notify_all()
