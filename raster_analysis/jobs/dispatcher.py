"""The dispatcher: what the rest of the server asks about jobs, from any thread. Its work is done by the conductor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import JsonValue

from raster_analysis.errors import InputError, JobError, RasterAnalysisError, StoreError
from raster_analysis.handle import Handle
from raster_analysis.jobs.board import Board
from raster_analysis.jobs.conductor import Conductor, Policy
from raster_analysis.jobs.job import Job, JobStatus, new_job, note, transition
from raster_analysis.jobs.lock import FolderLock
from raster_analysis.jobs.store import Store
from raster_analysis.redaction import without_tokens
from raster_analysis.task import Executor
from raster_analysis.tool import Portal, Tool

_LOG = logging.getLogger(__name__)
_FAULT_OF_OURS = "unexpected error in the server; its log says more"


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


@dataclass
class Dispatcher:
    """Runs jobs. Everything but `start` and `close` may be called from any thread."""

    tools: Mapping[str, Tool[Any]]
    store: Store
    executor: Executor
    portal: Portal
    folder: Path
    """The data folder; the jobs' files go into `jobs/` in it."""
    clock: Callable[[], datetime] = utc_now
    policy: Policy = field(default_factory=Policy)
    _board: Board = field(default_factory=Board, init=False)

    def __post_init__(self) -> None:
        self._lock = FolderLock(self.folder)
        self._admitting = Lock()
        self._conductor = Conductor(
            tools=self.tools,
            store=self.store,
            executor=self.executor,
            portal=self.portal,
            folder=self.folder / "jobs",
            board=self._board,
            clock=self.clock,
            policy=self.policy,
        )

    def take_folder(self) -> None:
        """Keep other servers off the data folder from now on; raises StoreError when one has it."""
        self._lock.acquire()

    def start(self) -> None:
        """Take over the data folder and its unfinished jobs; raises StoreError when another server has it."""
        self.take_folder()
        self._conductor.start()

    def close(self) -> None:
        """Stop at once and let go of the folder; unfinished jobs go on at the next start."""
        self._conductor.close()
        self._lock.release()

    def submit(self, tool: str, form: Mapping[str, JsonValue], user: str) -> Job:
        """Queue a job; it survives a crash from here on. Raises InputError for an unknown tool only.

        A job beyond the user's number of jobs, and one that could not be stored, has failed by the time that anybody
        looks at it: what submitJob itself would say is lost, and its output item would stay behind (contract 1.5).
        """
        if tool not in self.tools:
            raise InputError(f"there is no tool {tool!r}; the tools are {', '.join(sorted(self.tools))}")
        pinned = self._pin(tool, form, user)
        # Tokens have done their work by now: what they open is pinned, and they are not written down.
        job = new_job(tool, without_tokens(form), user, self.clock())
        if self._admit(job) and self._keep(job, pinned):
            self._conductor.hear_submitted(tool)
            _LOG.info("job %s: %s submitted", job.id, tool)
        return job

    def _admit(self, job: Job) -> bool:
        """Show a new job on the board; one too many for its user ends there at once, and no disk hears of it."""
        most = self.policy.jobs_per_user
        with self._admitting:
            # On the board first: once it is stored it may be claimed, and the board must not go back from that.
            if most is None or self._board.count_of(job.user) < most:
                self._board.put(job)
                return True
        text = f"{job.user} has {most} unfinished jobs, which is the most allowed; wait for some of them or cancel them"
        self._refuse(job, text)
        return False

    def _keep(self, job: Job, pinned: Mapping[str, Handle]) -> bool:
        """Store a new job; one that cannot be stored ends on the board."""
        try:
            self.store.add(job, pinned)
        except StoreError as error:
            self._refuse(job, str(error))
        except Exception:  # noqa: BLE001 - a fault of ours is no reason to lose the job's id
            _LOG.exception("job %s: unexpected error", job.id)
            self._refuse(job, _FAULT_OF_OURS)
        except BaseException:
            self._board.drop(job.id)
            raise
        else:
            return True
        return False

    def _refuse(self, job: Job, text: str) -> None:
        """Show that a job failed before it was stored."""
        now = self.clock()
        self._board.put(transition(note(job, text, "error", now=now), JobStatus.FAILED, now))
        _LOG.warning("job %s: refused: %s", job.id, text)

    def _pin(self, tool: str, form: Mapping[str, JsonValue], user: str) -> dict[str, Handle]:
        try:
            return self.portal.pin(self.tools[tool], self.tools[tool].parse(form), user)
        except RasterAnalysisError:
            # Told in the job's messages: clients lose what submitJob itself says.
            return {}
        except Exception:  # noqa: BLE001 - it is met again when the job is prepared, which ends it
            _LOG.exception("%s of %s: unexpected error in its parameters", tool, user)
            return {}

    def get(self, job_id: str) -> Job | None:
        """Return a job as it is now, from memory unless it finished long ago."""
        return self._board.get(job_id) or self.store.get(job_id)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; one that is over stays as it is. Raises JobError for an unknown id."""
        if self.store.request_cancel(job_id):
            now = self.clock()
            self._board.change(job_id, lambda job: transition(job, JobStatus.CANCELLING, now))
            self._conductor.hear_cancelled(job_id)
        job = self.get(job_id)
        if job is None:
            raise JobError(f"there is no job {job_id!r}")
        return job

    def jobs(self, user: str | None, *, limit: int = 100, before: str | None = None) -> list[Job]:
        """Return a user's jobs, or everybody's, newest first; `before` is the last id of the page before."""
        return [self._board.get(job.id) or job for job in self.store.of_user(user, limit=limit, before=before)]

    def wait(self, job_id: str, timeout_s: float) -> Job | None:
        """Return the job as soon as it is over, or as it is after `timeout_s`."""
        return self._board.wait(job_id, timeout_s) or self.store.get(job_id)
