"""A job: a value, and the one function that moves it from state to state."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import JsonValue

from raster_analysis.errors import JobError
from raster_analysis.seams import Level

MESSAGES_LIMIT = 1000
"""Lines that a job may have from its tasks; polls carry all of them (guess)."""
TEXT_LIMIT = 2000
"""Characters of one line (guess: two screens)."""

# ArcGIS clients sign in again, for ever, when an answer holds one of these.
_SIGN_IN_WORDS = re.compile(r"token required|invalid token", re.IGNORECASE)


class JobStatus(StrEnum):
    """Where a job stands."""

    NEW = "new"
    SUBMITTED = "submitted"
    WAITING = "waiting"
    EXECUTING = "executing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def is_final(self) -> bool:
        """Return whether a job in this state never changes again."""
        return not _NEXT[self]


# Who may follow whom. Anything that is not here cannot happen, whoever asks for it.
_ENDS = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.TIMED_OUT})
_QUEUED_NEXT = frozenset(
    {JobStatus.EXECUTING, JobStatus.FAILED, JobStatus.CANCELLING, JobStatus.CANCELLED, JobStatus.TIMED_OUT}
)
_NEXT: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.NEW: frozenset({JobStatus.SUBMITTED, JobStatus.FAILED}),
    JobStatus.SUBMITTED: _QUEUED_NEXT | {JobStatus.WAITING},
    JobStatus.WAITING: _QUEUED_NEXT,
    # To itself: a claim that takes over after the server that ran the job went away.
    JobStatus.EXECUTING: _ENDS | {JobStatus.CANCELLING, JobStatus.EXECUTING},
    # A cancel that comes while the results are being published is too late.
    JobStatus.CANCELLING: _ENDS,
    **{end: frozenset() for end in _ENDS},
}
_END_WORDS = {
    JobStatus.SUCCEEDED: "Succeeded",
    JobStatus.FAILED: "Failed",
    JobStatus.CANCELLED: "Cancelled",
    JobStatus.TIMED_OUT: "Timed out",
}


class JobMessage(NamedTuple):
    """A line that a job tells its user."""

    time: datetime
    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Job:
    """A tool's run on behalf of a user. Times are UTC."""

    id: str
    tool: str
    user: str
    form: dict[str, JsonValue]
    """The parameters as they were submitted."""
    status: JobStatus
    fence: int
    """Number of the claim that may write; 0 before the first."""
    submitted_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: float = 0.0
    """0 to 1; it never falls."""
    messages: tuple[JobMessage, ...] = ()
    """The list only grows."""
    outputs: dict[str, JsonValue] = field(default_factory=dict)
    """Wire values by name, of a job that succeeded."""


def new_job(tool: str, form: Mapping[str, JsonValue], user: str, now: datetime) -> Job:
    """Return a job that was just submitted."""
    job = Job(f"j{secrets.token_hex(16)}", tool, user, dict(form), JobStatus.NEW, 0, now)
    return transition(job, JobStatus.SUBMITTED, now)


def transition(job: Job, status: JobStatus, now: datetime) -> Job:
    """Return the job in another state, with its times and standard messages; the only way to change `status`.

    Raises JobError when the step is not allowed; final states allow none.
    """
    too_early = status is JobStatus.SUCCEEDED and job.started_at is None
    if status not in _NEXT[job.status] or too_early:
        raise JobError(f"job {job.id} is {job.status.value} and cannot become {status.value}")
    resumed = job.status is JobStatus.EXECUTING
    # Clocks can be set back; a job never ends before it begins.
    now = max(now, job.started_at or job.submitted_at)
    job = replace(job, status=status)
    if status is JobStatus.SUBMITTED:
        return note(job, "Submitted.", now=now)
    if status is JobStatus.EXECUTING and resumed:
        return note(job, "The server was restarted; the job goes on.", now=now)
    if status is JobStatus.EXECUTING:
        job = note(replace(job, started_at=now), "Executing...", now=now)
        return note(job, f"Start Time: {_spell(now)}", now=now)
    return _end(job, now) if status.is_final else job


def note(job: Job, text: str, level: Level = "info", *, now: datetime) -> Job:
    """Return the job with one more message."""
    # What no database and no client takes: halves of UTF-16 pairs and NUL.
    text = text.encode(errors="replace").decode().replace("\0", "")
    text = _SIGN_IN_WORDS.sub("sign-in problem", text)
    if len(text) > TEXT_LIMIT:
        text = f"{text[: TEXT_LIMIT - 3]}..."
    return replace(job, messages=(*job.messages, JobMessage(now, level, text)))


def _end(job: Job, now: datetime) -> Job:
    succeeded = job.status is JobStatus.SUCCEEDED
    elapsed_s = (now - (job.started_at or now)).total_seconds()
    text = f"{_END_WORDS[job.status]} at {_spell(now)} (Elapsed Time: {elapsed_s:.2f} seconds)"
    job = replace(
        job,
        finished_at=now,
        progress=1.0 if succeeded else job.progress,
        outputs=job.outputs if succeeded else {},
    )
    return note(job, text, "error" if job.status is JobStatus.FAILED else "info", now=now)


def _spell(moment: datetime) -> str:
    return f"{moment:%A, %B %d, %Y %H:%M:%S} UTC"
