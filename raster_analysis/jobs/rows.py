"""Jobs as rows of the tables, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from raster_analysis.jobs.job import Job, JobMessage, JobStatus
from raster_analysis.jobs.tables import messages


def to_row(job: Job) -> dict[str, Any]:
    """Return the row of a new job."""
    return {
        "id": job.id,
        "tool": job.tool,
        "user": job.user,
        "form": job.form,
        "status": job.status.value,
        "fence": job.fence,
        "submitted_at": job.submitted_at.timestamp(),
        "progress": job.progress,
        "outputs": job.outputs,
    }


def to_job(row: Any, lines: dict[str, list[JobMessage]]) -> Job:
    """Return the job in a row."""
    return Job(
        id=row.id,
        tool=row.tool,
        user=row.user,
        form=row.form,
        status=JobStatus(row.status),
        fence=row.fence,
        submitted_at=_moment(row.submitted_at),
        started_at=_moment(row.started_at) if row.started_at is not None else None,
        finished_at=_moment(row.finished_at) if row.finished_at is not None else None,
        progress=row.progress,
        messages=tuple(lines[row.id]),
        outputs=row.outputs,
    )


def add_messages(connection: sa.Connection, job: Job) -> None:
    """Store those messages of a job that are not stored yet."""
    there = connection.scalar(sa.select(sa.func.count()).where(messages.c.job_id == job.id)) or 0
    lines = [
        {"job_id": job.id, "position": position, "time": line.time.timestamp(), "level": line.level, "text": line.text}
        for position, line in enumerate(job.messages[there:], start=there)
    ]
    if lines:
        connection.execute(messages.insert(), lines)


def read_messages(connection: sa.Connection, ids: Sequence[str] | sa.Select[Any]) -> dict[str, list[JobMessage]]:
    """Return the stored messages of each of these jobs; a query for ids may find any number."""
    lines: dict[str, list[JobMessage]] = defaultdict(list)
    query = sa.select(messages).where(messages.c.job_id.in_(ids)).order_by(messages.c.job_id, messages.c.position)
    for row in connection.execute(query):
        lines[row.job_id].append(JobMessage(_moment(row.time), row.level, row.text))
    return lines


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
