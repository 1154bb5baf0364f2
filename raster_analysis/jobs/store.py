"""The job store: every change of a job that must outlive the server, each in one transaction.

What is written after a claim carries the claim's fence and is refused when a later claim has taken over. A job that
was submitted, a cancel and an end are on the disk when their call returns; a claim, a plan and a finished block survive
any crash of the server, but not for sure a power cut: then they are done again.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from raster_analysis.errors import StaleFence, StoreError
from raster_analysis.handle import Handle
from raster_analysis.jobs.job import Job, JobMessage, JobStatus, transition
from raster_analysis.jobs.tables import blocks, jobs, messages, open_engine
from raster_analysis.task import HANDLES, PLAN
from raster_analysis.tool import BlockResult, Plan

_FINAL = tuple(status.value for status in JobStatus if status.is_final)
_IDS_A_QUERY = 500
"""SQLite takes 32,766 values in a statement; this keeps a statement short."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What earlier claims of a job left behind."""

    plan: Plan
    handles: dict[str, Handle]
    results: tuple[BlockResult, ...]
    """The block ledger, in block order; files are relative to the job's folder."""


class Store:
    """Jobs, messages and the block ledger in one database; safe to use from many threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # SQLite has one writer; waiting here is fair and quick, its own busy loop sleeps up to 100 ms.
        self._writer = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the SQLite file at `path`, made when missing; raises StoreError when it cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(open_engine(path))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def add(self, job: Job) -> None:
        """Store a new job; it is on the disk when this returns."""
        row = {
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
        with self._write(lasting=True) as connection:
            connection.execute(jobs.insert().values(row))
            _add_messages(connection, job)

    def claim(self, owner: str, tools: Collection[str], now: datetime) -> Job | None:
        """Take the oldest job of these tools that is queued, or that another owner was executing; raises its fence."""
        abandoned = _oldest(tools, (jobs.c.status == JobStatus.EXECUTING.value) & (jobs.c.owner != owner))
        queued = _oldest(tools, jobs.c.status == JobStatus.SUBMITTED.value)
        taken = (
            sa.update(jobs)
            .where(jobs.c.seq == sa.func.coalesce(abandoned, queued))
            .values(fence=jobs.c.fence + 1, owner=owner)
            .returning(*jobs.c)
        )
        with self._write() as connection:
            row = connection.execute(taken).one_or_none()
            if row is None:
                return None
            job = transition(_job(row, _messages(connection, [row.id])), JobStatus.EXECUTING, now)
            _put(connection, job, status=job.status.value)
        return job

    def request_cancel(self, job_id: str) -> bool:
        """Mark a job as cancelling, on the disk when this returns; False when it is over or was marked before."""
        live = (JobStatus.SUBMITTED.value, JobStatus.WAITING.value, JobStatus.EXECUTING.value)
        marked = sa.update(jobs).where(jobs.c.id == job_id, jobs.c.status.in_(live))
        with self._write(lasting=True) as connection:
            return connection.execute(marked.values(status=JobStatus.CANCELLING.value)).rowcount == 1

    def write(self, job: Job, results: Sequence[BlockResult] = ()) -> None:
        """Store progress, new messages and finished blocks of a running job; its status is left as it is.

        Raises StaleFence when another claim has taken over.
        """
        with self._write() as connection:
            _put(connection, job)
            for result in results:
                _record(connection, job, result)

    def keep_plan(self, job: Job, plan: Plan, handles: dict[str, Handle]) -> None:
        """Store what the rest of the job follows, and later claims too."""
        texts = {"plan": PLAN.dump_json(plan).decode(), "handles": HANDLES.dump_json(handles).decode()}
        with self._write() as connection:
            _put(connection, job, **texts)

    def finish(self, job: Job) -> None:
        """Store a job in its final state; the block ledger is no longer needed and goes."""
        finished_at = job.finished_at.timestamp() if job.finished_at else None
        with self._write(lasting=True) as connection:
            _put(
                connection, job, status=job.status.value, finished_at=finished_at, outputs=job.outputs, plan=None,
                handles=None,
            )  # fmt: skip
            connection.execute(sa.delete(blocks).where(blocks.c.job_id == job.id))

    def kept(self, job_id: str) -> Kept | None:
        """Return the stored plan and ledger, or None before there is a plan."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(jobs.c.plan, jobs.c.handles).where(jobs.c.id == job_id)).one_or_none()
            if row is None or row.plan is None:
                return None
            found = connection.execute(
                sa.select(blocks).where(blocks.c.job_id == job_id).order_by(blocks.c.position)
            ).all()
        results = tuple(BlockResult(b.position, b.file, b.sha256, b.statistics) for b in found)
        return Kept(PLAN.validate_json(row.plan), HANDLES.validate_json(row.handles), results)

    def get(self, job_id: str) -> Job | None:
        """Return a job with its messages."""
        found = self._select(sa.select(jobs).where(jobs.c.id == job_id))
        return found[0] if found else None

    def unfinished(self) -> list[Job]:
        """Return every job that is not in a final state, oldest first."""
        return self._select(sa.select(jobs).where(jobs.c.status.not_in(_FINAL)).order_by(jobs.c.seq))

    def of_user(self, user: str, *, limit: int = 100, before: str | None = None) -> list[Job]:
        """Return a user's jobs, newest first; `before` is the id of the last job of the page before."""
        query = sa.select(jobs).where(jobs.c.user == user).order_by(jobs.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.seq < sa.select(jobs.c.seq).where(jobs.c.id == before).scalar_subquery())
        return self._select(query)

    def unknown(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of these ids that no job has."""
        known: set[str] = set()
        with self._transaction() as connection:
            for start in range(0, len(job_ids), _IDS_A_QUERY):
                some = job_ids[start : start + _IDS_A_QUERY]
                known.update(connection.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(some))))
        return set(job_ids) - known

    def expire(self, before: datetime, *, limit: int = 1000) -> list[str]:
        """Delete jobs that finished before a time, oldest first; return their ids."""
        old = (
            sa.select(jobs.c.id)
            .where(jobs.c.status.in_(_FINAL), jobs.c.finished_at < before.timestamp())
            .order_by(jobs.c.seq)
            .limit(limit)
        )
        with self._write() as connection:
            ids = list(connection.scalars(old))
            connection.execute(sa.delete(jobs).where(jobs.c.id.in_(ids)))
            if ids and connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA incremental_vacuum")
        return ids

    def _select(self, query: sa.Select[Any]) -> list[Job]:
        with self._transaction() as connection:
            rows = connection.execute(query).all()
            lines = _messages(connection, [row.id for row in rows])
        return [_job(row, lines) for row in rows]

    @contextmanager
    def _write(self, *, lasting: bool = False) -> Iterator[sa.Connection]:
        with self._writer, self._transaction(write="lasting" if lasting else "plain") as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, write: Literal["lasting", "plain"] | None = None) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect().execution_options(write=write) as connection, connection.begin():
                yield connection
        except sa.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or type(error).__name__
            raise StoreError(f"the job store cannot be used at the moment ({cause}); try again later") from error


def _oldest(tools: Collection[str], which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    # One state a query: then the index gives them in order, and a long queue costs nothing.
    query = sa.select(jobs.c.seq).where(which, jobs.c.tool.in_(tools)).order_by(jobs.c.seq).limit(1)
    return query.with_for_update(skip_locked=True).scalar_subquery()


def _put(connection: sa.Connection, job: Job, **columns: Any) -> None:
    """Update a live job's row under its fence and add its new messages."""
    started_at = job.started_at.timestamp() if job.started_at else None
    mine = (jobs.c.id == job.id) & (jobs.c.fence == job.fence) & jobs.c.status.not_in(_FINAL)
    values = {"progress": job.progress, "started_at": started_at, **columns}
    if connection.execute(sa.update(jobs).where(mine).values(values)).rowcount != 1:
        raise StaleFence(f"claim {job.fence} of job {job.id} is over: another took its place, or the job has ended")
    _add_messages(connection, job)


def _add_messages(connection: sa.Connection, job: Job) -> None:
    there = connection.scalar(sa.select(sa.func.count()).where(messages.c.job_id == job.id)) or 0
    lines = [
        {"job_id": job.id, "position": position, "time": line.time.timestamp(), "level": line.level, "text": line.text}
        for position, line in enumerate(job.messages[there:], start=there)
    ]
    if lines:
        connection.execute(messages.insert(), lines)


def _record(connection: sa.Connection, job: Job, result: BlockResult) -> None:
    # A block whose file was lost is run again and takes the place of its former row.
    connection.execute(sa.delete(blocks).where(blocks.c.job_id == job.id, blocks.c.position == result.index))
    connection.execute(
        blocks.insert().values(
            job_id=job.id,
            position=result.index,
            fence=job.fence,
            file=result.file,
            sha256=result.sha256,
            statistics=result.statistics,
        )
    )


def _messages(connection: sa.Connection, job_ids: Collection[str]) -> dict[str, list[JobMessage]]:
    lines: dict[str, list[JobMessage]] = {job_id: [] for job_id in job_ids}
    query = sa.select(messages).where(messages.c.job_id.in_(job_ids)).order_by(messages.c.job_id, messages.c.position)
    for row in connection.execute(query):
        lines[row.job_id].append(JobMessage(_moment(row.time), row.level, row.text))
    return lines


def _job(row: Any, lines: dict[str, list[JobMessage]]) -> Job:
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


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
