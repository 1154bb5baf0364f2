"""The job store: every change of a job that must outlive the server, each in one transaction.

What is written after a claim carries the claim's fence and is refused when a later claim has taken over. A job that
was submitted, a cancel and an end are on the disk when their call returns; a claim, a plan and a finished block survive
any crash of the server, but not for sure a power cut: then they are done again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import sqlalchemy as sa

from raster_analysis.errors import StaleFence, StoreError
from raster_analysis.handle import Handle
from raster_analysis.jobs.folders import JobFolders
from raster_analysis.jobs.job import Job, JobStatus, transition
from raster_analysis.jobs.rows import add_messages, read_messages, to_job, to_row
from raster_analysis.jobs.tables import blocks, jobs, open_engine
from raster_analysis.task import HANDLES, PLAN
from raster_analysis.tool import BlockResult, Plan

_FINAL = tuple(status.value for status in JobStatus if status.is_final)
_IDS_A_QUERY = 500
"""SQLite takes 32,766 values in a statement; this keeps a statement short."""


def _oldest(which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    # One state a query: then the index gives them in order, and a long queue costs nothing.
    tools: sa.BindParameter[str] = sa.bindparam("tools", expanding=True)
    query = sa.select(jobs.c.seq).where(which, jobs.c.tool.in_(tools)).order_by(jobs.c.seq).limit(1)
    return query.with_for_update(skip_locked=True).scalar_subquery()


_ABANDONED = (jobs.c.status == JobStatus.EXECUTING.value) & (jobs.c.owner != sa.bindparam("claimant"))
_CLAIM = (
    sa.update(jobs)
    .where(jobs.c.seq == sa.func.coalesce(_oldest(_ABANDONED), _oldest(jobs.c.status == JobStatus.SUBMITTED.value)))
    .values(fence=jobs.c.fence + 1, owner=sa.bindparam("claimant"))
    .returning(*jobs.c)
)


@dataclass(slots=True)
class _Adding:
    """A job on its way into the store."""

    job: Job
    handles: str
    is_settled: bool = False
    error: Exception | None = None


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
        self._adding: deque[_Adding] = deque()

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the SQLite file at `path`, made in a new data folder; raises StoreError when it cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made anew, it would know none of these jobs, and their files would be swept away as nobody's.
        if (not path.exists() or not path.stat().st_size) and JobFolders(path.parent / "jobs").jobs():
            raise StoreError(
                f"the job file {path.name} is missing or empty, but there are files of unfinished jobs; "
                "restore it from a backup, or move the folder jobs away"
            )
        return cls(open_engine(path))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def add(self, job: Job, pinned: Mapping[str, Handle] = MappingProxyType({})) -> None:
        """Store a new job and what it pinned; it is on the disk when this returns."""
        adding = _Adding(job, HANDLES.dump_json(dict(pinned)).decode())
        self._adding.append(adding)
        with self._writer:
            # Whoever waited for the lock before may have taken this job along: one fsync serves many submits.
            if not adding.is_settled:
                self._add_all()
        if adding.error is not None:
            raise adding.error

    def claim(self, owner: str, tools: Collection[str], now: datetime) -> Job | None:
        """Take the oldest job of these tools that is queued, or that another owner was executing; raises its fence."""
        with self._write() as connection:
            row = connection.execute(_CLAIM, {"claimant": owner, "tools": list(tools)}).one_or_none()
            if row is None:
                return None
            job = transition(to_job(row, read_messages(connection, [row.id])), JobStatus.EXECUTING, now)
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
        # One transaction: the ledger never knows a block whose claim was refused.
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

    def pinned(self, job_id: str) -> dict[str, Handle]:
        """Return the handles that were stored with a job before it had a plan."""
        with self._transaction() as connection:
            text = connection.scalar(sa.select(jobs.c.handles).where(jobs.c.id == job_id))
        return HANDLES.validate_json(text) if text else {}

    def pinned_digests(self) -> set[str]:
        """Return the digests of the packages that unfinished jobs run from."""
        query = sa.select(jobs.c.handles).where(jobs.c.status.not_in(_FINAL), jobs.c.handles.is_not(None))
        with self._transaction() as connection:
            texts = connection.scalars(query).all()
        handles = (handle for text in texts for handle in HANDLES.validate_json(text).values())
        return {handle.digest for handle in handles if handle.digest}

    def get(self, job_id: str) -> Job | None:
        """Return a job with its messages."""
        found = self._select(sa.select(jobs).where(jobs.c.id == job_id))
        return found[0] if found else None

    def unfinished(self) -> list[Job]:
        """Return every job that is not in a final state, oldest first."""
        return self._select(sa.select(jobs).where(jobs.c.status.not_in(_FINAL)).order_by(jobs.c.seq))

    def count_unfinished(self) -> dict[str, int]:
        """Return how many jobs are in each state but the final ones."""
        counted = sa.select(jobs.c.status, sa.func.count().label("jobs"))
        query = counted.where(jobs.c.status.not_in(_FINAL)).group_by(jobs.c.status)
        with self._transaction() as connection:
            return {row.status: row.jobs for row in connection.execute(query)}

    def of_user(self, user: str | None, *, limit: int = 100, before: str | None = None) -> list[Job]:
        """Return a user's jobs, or everybody's, newest first; `before` is the id of the last job of the page before."""
        query = sa.select(jobs).order_by(jobs.c.seq.desc()).limit(limit)
        if user is not None:
            query = query.where(jobs.c.user == user)
        if before is not None:
            query = query.where(jobs.c.seq < sa.select(jobs.c.seq).where(jobs.c.id == before).scalar_subquery())
        return self._select(query)

    def without_use(self, job_ids: Sequence[str]) -> set[str]:
        """Return those of these ids that no unfinished job has."""
        used: set[str] = set()
        with self._transaction() as connection:
            for start in range(0, len(job_ids), _IDS_A_QUERY):
                some = job_ids[start : start + _IDS_A_QUERY]
                unfinished = jobs.c.status.not_in(_FINAL)
                used.update(connection.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(some), unfinished)))
        return set(job_ids) - used

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

    def _add_all(self) -> None:
        """Store the new jobs in one transaction, or each in its own when one spoils it; the lock is held."""
        some = [self._adding.popleft() for _ in range(len(self._adding))]
        self._try_to_add(some)
        if len(some) > 1 and some[0].error is not None:
            for adding in some:
                self._try_to_add([adding])

    def _try_to_add(self, some: Sequence[_Adding]) -> None:
        error = None
        try:
            rows = [{**to_row(adding.job), "handles": adding.handles} for adding in some]
            with self._transaction(write="lasting") as connection:
                connection.execute(jobs.insert(), rows)
                for adding in some:
                    add_messages(connection, adding.job)
        except Exception as failure:  # noqa: BLE001 - raised again in the thread whose job it is
            error = failure
        for adding in some:
            adding.is_settled, adding.error = True, error

    def _select(self, query: sa.Select[Any]) -> list[Job]:
        with self._transaction() as connection:
            rows = connection.execute(query).all()
            lines = read_messages(connection, query.with_only_columns(jobs.c.id))
        return [to_job(row, lines) for row in rows]

    @contextmanager
    def _write(self, *, lasting: bool = False) -> Iterator[sa.Connection]:
        with self._writer, self._transaction(write="lasting" if lasting else "plain") as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, write: Literal["lasting", "plain"] | None = None) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect().execution_options(write=write) as connection, connection.begin():
                yield connection
        except sa.exc.StatementError as error:
            # A value that no column takes is a fault of ours: trying again later would never help.
            if not isinstance(error, sa.exc.DBAPIError):
                raise
            raise StoreError(f"the job store cannot be used at the moment ({error.orig}); try again later") from error
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(
                f"the job store cannot be used at the moment ({type(error).__name__}); try again later"
            ) from error


def _put(connection: sa.Connection, job: Job, **columns: Any) -> None:
    """Update a live job's row under its fence and add its new messages."""
    started_at = job.started_at.timestamp() if job.started_at else None
    mine = (jobs.c.id == job.id) & (jobs.c.fence == job.fence) & jobs.c.status.not_in(_FINAL)
    values = {"progress": job.progress, "started_at": started_at, **columns}
    if connection.execute(sa.update(jobs).where(mine).values(values)).rowcount != 1:
        raise StaleFence(f"claim {job.fence} of job {job.id} is over: another took its place, or the job has ended")
    add_messages(connection, job)


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
