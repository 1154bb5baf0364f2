"""The conductor: one thread that sees every claimed job through slots and the portal to its end.

What others tell it (a submit, a cancel, a slot's reply, a finished call) lands in its inbox; on every turn it brings
each run one step further. A store that fails for a while only delays the next turn.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

from raster_analysis.errors import JobError, OutputError, StaleFence, StoreError
from raster_analysis.jobs.board import Board
from raster_analysis.jobs.calls import Calls, explain
from raster_analysis.jobs.folders import JobFolders
from raster_analysis.jobs.job import MESSAGES_LIMIT, Job, JobStatus, note, transition
from raster_analysis.jobs.run import Call, Ending, Prepared, Run, name_handles
from raster_analysis.jobs.store import Store
from raster_analysis.seams import Level
from raster_analysis.task import Done, Executor, Failed, Phase, Reply
from raster_analysis.tool import Portal, Tool

TURN_S = 0.25
"""Longest time between two looks at the clock."""
NEWS_A_TURN = 1000
"""Most news taken in before the runs go on; a tool that never stops talking must not stop the others."""
WRITE_EVERY_S = 1.0
"""How often messages alone are written; those since then are lost when the server is killed."""
GRACE_S = 5.5
"""How long a stopped job waits for its slots and calls; executors end a process after 5 s (contract F6)."""
EXPIRE_EVERY_S = 3600.0
SERVER_CALLS = 4
"""Jobs for which the server itself works at once: resolving, answering, publishing (guess)."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """What an operator decides about jobs."""

    retention: timedelta = timedelta(days=30)
    """How long finished jobs and their files are kept."""
    time_limit_s: float | None = None
    """A job that runs longer ends as timed out."""
    jobs_per_user: int | None = None
    """Jobs that one user may have waiting and running; more end as failed when they are submitted."""
    publish_for_s: float = 600.0
    """How long a finished job tries to publish while a storage does not answer: its work took longer (guess)."""
    publish_every_s: float = 15.0


@dataclass
class Lane:
    """Jobs that wait for the same thing; those that need no slot do not stand behind those that do."""

    tools: frozenset[str]
    limit: int
    """How many jobs may be under way at once."""
    is_empty: bool = False
    """Whether the last claim found nothing; a submit resets it."""


@dataclass
class Conductor:
    """Claims jobs and runs them. The two `hear` methods may be called from any thread."""

    tools: Mapping[str, Tool[Any]]
    store: Store
    executor: Executor
    portal: Portal
    folder: Path
    board: Board
    clock: Callable[[], datetime]
    policy: Policy
    _inbox: SimpleQueue[Callable[[], None]] = field(default_factory=SimpleQueue, init=False)
    _runs: dict[str, Run] = field(default_factory=dict, init=False)
    _tickets: dict[int, Run] = field(default_factory=dict, init=False)
    _unclaimed: dict[str, Ending] = field(default_factory=dict, init=False)
    """Jobs that end without a run."""
    _closing: Event = field(default_factory=Event, init=False)

    def __post_init__(self) -> None:
        self._owner = secrets.token_hex(16)
        self._numbers = itertools.count(1)
        self._folders = JobFolders(self.folder)
        self._calls = Calls(self.store, self.portal, self._folders)
        self._pool = ThreadPoolExecutor(SERVER_CALLS, thread_name_prefix="job-call")
        self._thread = Thread(target=self._work, name="conductor", daemon=True)
        answering = frozenset(name for name, tool in self.tools.items() if tool.answer)
        # One job more than slots: its inputs are resolved by the time that a slot is free.
        slotted = Lane(frozenset(self.tools) - answering, self.executor.slots + 1)
        self._lanes = (Lane(answering, SERVER_CALLS), slotted)
        self._paused_until_s = 0.0
        self._expire_at_s = 0.0

    def start(self) -> None:
        """Show the unfinished jobs on the board and begin to work."""
        for job in self.store.unfinished():
            self.board.put(job)
            if job.status is JobStatus.CANCELLING:
                self._unclaimed[job.id] = Ending(JobStatus.CANCELLED)
            elif job.tool not in self.tools:
                self._unclaimed[job.id] = Ending(JobStatus.FAILED, (f"the tool {job.tool} is no longer offered",))
        self.executor.start(lambda ticket, reply: self._inbox.put(partial(self._replied, ticket, reply)))
        self._thread.start()

    def close(self) -> None:
        """Stop at once, slots too; calls of the server that have begun are waited for."""
        self._closing.set()
        self._inbox.put(lambda: None)
        if self._thread.ident is not None:
            self._thread.join()
        self.executor.close()
        self._pool.shutdown(cancel_futures=True)

    def hear_submitted(self, tool: str) -> None:
        """Take in that a job was stored."""
        for lane in self._lanes:
            if tool in lane.tools:
                self._inbox.put(partial(setattr, lane, "is_empty", False))

    def hear_cancelled(self, job_id: str) -> None:
        """Take in that a job was marked as cancelling."""
        self._inbox.put(partial(self._cancelled, job_id))

    def _work(self) -> None:
        while not self._closing.is_set():
            try:
                self._read_inbox()
                if time.monotonic() >= self._paused_until_s:
                    self._turn()
            except StoreError as error:
                _LOG.error("the next try is in a second: %s", error)
                self._paused_until_s = time.monotonic() + 1.0
            except Exception:  # noqa: BLE001 - without this thread the server would take jobs and never run one
                _LOG.exception("unexpected error; the next try is in a second")
                self._paused_until_s = time.monotonic() + 1.0

    def _read_inbox(self) -> None:
        try:
            self._inbox.get(timeout=TURN_S)()
            for _ in range(NEWS_A_TURN):
                self._inbox.get_nowait()()
        except Empty:
            return

    def _turn(self) -> None:
        # Free slots get work before the ledger is written: the disk's time is not the slots' time.
        self._fill_slots()
        self._end_unclaimed()
        for run in list(self._runs.values()):
            self._try_to_advance(run)
        self._claim()
        self._fill_slots()
        self._expire()

    def _end_unclaimed(self) -> None:
        while self._unclaimed:
            job_id, ending = next(iter(self._unclaimed.items()))
            try:
                self._finish(self._now(job_id), ending)
            except JobError:
                # Left here it would be met again at every turn, and no job would ever go on.
                _LOG.warning("job %s ended by itself", job_id)
            del self._unclaimed[job_id]

    def _claim(self) -> None:
        for lane in self._lanes:
            under_way = sum(run.tool.name in lane.tools for run in self._runs.values())
            while lane.tools and not lane.is_empty and under_way < lane.limit:
                job = self.store.claim(self._owner, lane.tools, self.clock())
                lane.is_empty = job is None
                if job is not None:
                    self._take_up(job)
                    under_way += 1

    def _take_up(self, job: Job) -> None:
        claimed = job
        shown = self.board.change(job.id, lambda old: _merge_claim(old, claimed, self.clock()))
        if shown is None:
            self.board.put(job)
        run = Run(job, self.tools[job.tool], self._folders.of(job.id, job.fence))
        self._runs[job.id] = run
        _LOG.info("job %s: claim %d", job.id, job.fence)
        self._begin_call(run)

    def _fill_slots(self) -> None:
        while len(self._tickets) < self.executor.slots:
            waiting = [run for run in self._runs.values() if run.has_step]
            if not waiting:
                return
            # Fewest running first, then the oldest: every job moves, and one slot serves one job to its end.
            run = min(waiting, key=lambda run: len(run.running))
            ticket = next(self._numbers)
            task = run.begin(ticket)
            if task.phase is Phase.FINISH:
                task = replace(task, results=self._folders.to_task(run.job_id, run.ledger))
            self._tickets[ticket] = run
            self.executor.submit(ticket, task)

    def _replied(self, ticket: int, reply: Reply) -> None:
        # A reply to a ticket that is settled comes from a process that was given up.
        run = self._tickets.get(ticket)
        if run is None:
            return
        run.hear(ticket, reply)
        if isinstance(reply, (Done, Failed)):
            del self._tickets[ticket]

    def _cancelled(self, job_id: str) -> None:
        run = self._runs.get(job_id)
        if run is not None:
            self._stop(run, JobStatus.CANCELLED)
            return
        # The job may have ended between its mark in the store and this news of it.
        job = self.board.get(job_id)
        if job is not None and not job.status.is_final:
            self._unclaimed[job_id] = Ending(JobStatus.CANCELLED)

    def _stop(self, run: Run, status: JobStatus, *faults: str) -> None:
        run.stop(status, *faults)
        for ticket in run.running:
            self.executor.cancel(ticket)

    # --- one run ------------------------------------------------------------------------------------------------

    def _try_to_advance(self, run: Run) -> None:
        try:
            self._advance(run)
        except StaleFence:
            _LOG.warning("job %s: claim %d was taken over; its work is dropped", run.job_id, run.fence)
            self._drop(run)
        except StoreError:
            raise
        except Exception:  # noqa: BLE001 - a fault of ours in one job must not keep the others waiting
            _LOG.exception("job %s: unexpected error", run.job_id)
            fault = "unexpected error in the server; its log says more"
            if run.ending is None:
                self._stop(run, JobStatus.FAILED, fault)
            else:
                # Ending it is what failed: it ends without what the run brought, so that nobody polls for ever.
                self._drop(run)
                self._unclaimed[run.job_id] = Ending(JobStatus.FAILED, (fault,))

    def _advance(self, run: Run) -> None:
        limit_s = self.policy.time_limit_s
        if run.ending is None and limit_s is not None and time.monotonic() - run.began_s > limit_s:
            self._stop(run, JobStatus.TIMED_OUT, f"the job ran longer than {limit_s:g} seconds")
        if run.ending is None:
            self._write(run)
        if run.ending is not None:
            self._end(run, run.ending)
        elif run.call is not None and time.monotonic() >= run.wait_until_s:
            self._begin_call(run)

    def _write(self, run: Run) -> None:
        job = self._show(run)
        if run.plan_is_new and run.plan is not None and run.prepared is not None:
            self.store.keep_plan(job, run.plan, run.prepared.handles)
            run.keep_plan()
        elif run.unrecorded:
            try:
                entries = [self._folders.to_ledger(run.job_id, run.folder, result) for result in run.unrecorded]
            except OutputError as error:
                self._stop(run, JobStatus.FAILED, str(error))
                return
            self.store.write(job, entries)
            run.record(entries)
        elif job.messages and time.monotonic() - run.written_s > WRITE_EVERY_S:
            self.store.write(job)
        else:
            return
        run.written_s = time.monotonic()

    def _show(self, run: Run) -> Job:
        news, run.news = run.news, []
        progress, now = run.progress, self.clock()

        def edit(job: Job) -> Job:
            for text, level in news:
                job = _note_within_limit(job, text, level, now)
            return replace(job, progress=max(job.progress, progress))

        return self.board.change(run.job_id, edit) or self._now(run.job_id)

    def _begin_call(self, run: Run) -> None:
        call, run.call = run.call, None
        if call is None:
            return
        run.calling = call
        work = {Call.PREPARE: self._calls.prepare, Call.ANSWER: self._calls.answer, Call.PUBLISH: self._calls.publish}
        future: Future[Any] = self._pool.submit(work[call], run)
        future.add_done_callback(lambda done: self._inbox.put(partial(self._called, run, call, done)))

    def _called(self, run: Run, call: Call, future: Future[Any]) -> None:
        run.calling = None
        if future.cancelled() or self._runs.get(run.job_id) is not run:
            return
        error = future.exception()
        if isinstance(error, StoreError) and call is Call.PUBLISH and self._publish_later(run, error):
            return
        if error is not None:
            self._stop(run, JobStatus.FAILED, *explain(error, run.job_id))
        elif call is Call.PUBLISH:
            run.succeed(future.result())
        elif run.ending is None and call is Call.PREPARE:
            self._prepared(run, future.result())
        elif run.ending is None:
            run.deliver(future.result())

    def _publish_later(self, run: Run, error: StoreError) -> bool:
        """Put off publishing; False when the run is stopped or was put off long enough."""
        now_s = time.monotonic()
        if run.refused_s is None:
            run.news.append((f"{error}; publishing is tried again", "warning"))
            run.refused_s = now_s
        if run.ending is not None or now_s - run.refused_s > self.policy.publish_for_s:
            return False
        run.publish_later(now_s + self.policy.publish_every_s)
        return True

    def _prepared(self, run: Run, prepared: Prepared) -> None:
        run.news.extend((line, "info") for line in name_handles(prepared.handles))
        run.prepare(prepared)

    def _end(self, run: Run, ending: Ending) -> None:
        for ticket in run.running:
            self.executor.cancel(ticket)
        # An item that appears after "cancelled" would be nobody's: what is being published decides the end.
        if run.calling is Call.PUBLISH:
            return
        # Its files may go only when nobody writes them any more, but nobody waits for that for ever.
        if run.is_busy and time.monotonic() - run.stopped_s < GRACE_S:
            return
        job = self._show(run)
        self._finish(replace(job, outputs=run.published), ending)
        self._drop(run)
        # What was published has a copy of its own; a second name here would keep the disk full after it is deleted.
        self._pool.submit(self._folders.remove, run.job_id)

    def _finish(self, job: Job, ending: Ending) -> None:
        now = self.clock()
        for fault in ending.faults:
            job = note(job, fault, "error", now=now)
        # Stored before it is shown: a client never sees an end that a crash could take back.
        job = transition(job, ending.status, now)
        self.store.finish(job)
        self.board.put(job)
        _LOG.info("job %s: %s", job.id, job.status.value)

    def _drop(self, run: Run) -> None:
        del self._runs[run.job_id]
        for ticket in run.running:
            self.executor.cancel(ticket)

    def _expire(self) -> None:
        if time.monotonic() < self._expire_at_s:
            return
        while expired := self.store.expire(self.clock() - self.policy.retention):
            for job_id in expired:
                self.board.drop(job_id)
        self._pool.submit(self._calls.sweep)
        self._expire_at_s = time.monotonic() + EXPIRE_EVERY_S

    def _now(self, job_id: str) -> Job:
        job = self.board.get(job_id)
        if job is None:
            raise StaleFence(f"job {job_id} is gone")
        return job


def _merge_claim(shown: Job, claimed: Job, now: datetime) -> Job:
    """Return the claimed job, still cancelling when a cancel came between the claim and now."""
    return transition(claimed, JobStatus.CANCELLING, now) if shown.status is JobStatus.CANCELLING else claimed


def _note_within_limit(job: Job, text: str, level: Level, now: datetime) -> Job:
    room = MESSAGES_LIMIT - len(job.messages)
    if room == 1:
        return note(job, "Further messages are left out.", "warning", now=now)
    return note(job, text, level, now=now) if room > 1 else job
