"""A run: one claim of a job on its way, as a machine without I/O. It says what to do next and hears how it went."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never

from pydantic import JsonValue

from raster_analysis.errors import SlotLost
from raster_analysis.handle import Handle
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.seams import Level
from raster_analysis.task import Done, Failed, Message, Phase, Progress, Reply, Task
from raster_analysis.tool import Block, BlockResult, Output, Parameters, Plan, Tool

TRIES_LIMIT = 3
"""Errors of one step before its job fails (contract J04)."""
DEATHS_LIMIT = 2
"""Worker processes that one step may cost (contract J04)."""

# How far the job is when a phase begins and when it ends (guess: blocks take nearly all the time).
_SHARES = {Phase.RUN: (0.02, 0.95), Phase.PLAN: (0.0, 0.02), Phase.BLOCK: (0.02, 0.9), Phase.FINISH: (0.9, 0.95)}


class Call(StrEnum):
    """What the server itself does for a job, on a thread of its own."""

    PREPARE = "prepare"
    ANSWER = "answer"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing for a slot to do."""

    phase: Phase
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the server found out before the first step."""

    parameters: Parameters
    handles: dict[str, Handle]
    plan: Plan | None = None
    results: tuple[BlockResult, ...] = ()
    """Finished blocks of earlier claims, checked; files relative to the job's folder."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The state in which a run is to end, and what its user is told."""

    status: JobStatus
    faults: tuple[str, ...] = ()


class Run:
    """The state of one claim; used by the dispatcher's thread only."""

    def __init__(self, job: Job, tool: Tool[Any], folder: Path) -> None:
        self.job_id, self.fence, self.user, self.form = job.id, job.fence, job.user, job.form
        self.tool, self.folder = tool, folder
        self.began_s = time.monotonic()
        self.call: Call | None = Call.PREPARE
        """What the server should begin now."""
        self.calling: Call | None = None
        """What the server is at."""
        self.running: dict[int, Step] = {}
        """Steps in slots, by ticket."""
        self.prepared: Prepared | None = None
        self.plan: Plan | None = None
        self.plan_is_new = False
        """Whether the plan must be stored before its blocks may run."""
        self.unrecorded: list[BlockResult] = []
        """Blocks that are finished but not in the ledger yet; files as the slot named them."""
        self.results: dict[int, BlockResult] = {}
        """The ledger: files relative to the job's folder."""
        self.outputs: tuple[Output, ...] = ()
        self.published: dict[str, JsonValue] = {}
        self.news: list[tuple[str, Level]] = []
        """Messages that nobody has taken up yet."""
        self.ending: Ending | None = None
        self.written_s = 0.0
        """When the store was last written for this run, by the monotonic clock."""
        self.wait_until_s = 0.0
        """When the next call may begin, by the monotonic clock."""
        self.refused_s: float | None = None
        """When publishing was first refused by a storage, by the monotonic clock."""
        self.stopped_s = 0.0
        """When the ending was settled, by the monotonic clock."""
        self._ready: deque[Step] = deque()
        self._fractions: dict[int, float] = {}
        self._progress = job.progress
        self._errors: Counter[Step] = Counter()
        self._deaths: Counter[Step] = Counter()

    @property
    def is_busy(self) -> bool:
        """Return whether a slot or the server is at work for this run."""
        return bool(self.running) or self.calling is not None

    @property
    def has_step(self) -> bool:
        """Return whether a slot could take up a step now."""
        return bool(self._ready) and self.ending is None

    @property
    def progress(self) -> float:
        """Return how much is done, 0 to 1; it never falls, whatever is repeated."""
        self._progress = max(self._progress, self._measure())
        return self._progress

    @property
    def ledger(self) -> list[BlockResult]:
        """Return the finished blocks in block order, which is the order of the result."""
        return [self.results[index] for index in sorted(self.results)]

    def begin(self, ticket: int) -> Task:
        """Take up the next step under a ticket; what the ledger says of files is left to the caller."""
        step = self._ready.popleft()
        self.running[ticket] = step
        self._fractions[ticket] = 0.0
        return Task(
            job_id=self.job_id,
            fence=self.fence,
            tool=self.tool.name,
            phase=step.phase,
            folder=str(self.folder),
            parameters=self.form,
            handles=self.prepared.handles if self.prepared else {},
            block=step.block,
            plan=self.plan,
        )

    def hear(self, ticket: int, reply: Reply) -> None:
        """Take in what a slot says about a step."""
        if isinstance(reply, Message):
            self.news.append((reply.text, reply.level))
        elif isinstance(reply, Progress):
            self._fractions[ticket] = min(max(reply.fraction, 0.0), 1.0)
        else:
            step = self.running.pop(ticket)
            self._fractions.pop(ticket)
            # What a stopped job's slots still bring is not wanted; the files go with the job.
            if self.ending is None:
                self._close_step(step, reply)

    def prepare(self, prepared: Prepared) -> None:
        """Go on from what the server found out: answer, run, plan, or the blocks that are left."""
        self.prepared, self.plan = prepared, prepared.plan
        self.results = {result.index: result for result in prepared.results}
        if self.tool.answer:
            self.call = Call.ANSWER
        elif self.plan is not None:
            self._line_up_blocks(self.plan)
        else:
            self._ready.append(Step(Phase.RUN if self.tool.run else Phase.PLAN))

    def deliver(self, outputs: tuple[Output, ...]) -> None:
        """Take the tool's outputs; publishing comes next."""
        self.outputs = outputs
        self.call = Call.PUBLISH

    def publish_later(self, at_s: float) -> None:
        """Try again to publish, not before a time by the monotonic clock."""
        self.call, self.wait_until_s = Call.PUBLISH, at_s

    def succeed(self, published: dict[str, JsonValue]) -> None:
        """End well; a cancel that came during the publishing was too late."""
        self.published = published
        self.ending = Ending(JobStatus.SUCCEEDED)

    def keep_plan(self) -> None:
        """Hear that the plan was stored."""
        self.plan_is_new = False
        if self.plan is not None:
            self._line_up_blocks(self.plan)

    def record(self, entries: Sequence[BlockResult]) -> None:
        """Hear that all unrecorded blocks are in the ledger, as these entries."""
        self.unrecorded.clear()
        self.results.update((entry.index, entry) for entry in entries)
        if self.plan is not None and len(self.results) == len(self.plan.blocks):
            self._ready.append(Step(Phase.FINISH))

    def stop(self, status: JobStatus, *faults: str) -> None:
        """Settle how this run ends, unless that is settled; what is running has to end first."""
        if self.ending is None:
            self.ending = Ending(status, faults)
            self.stopped_s = time.monotonic()
            self.call = None
            self._ready.clear()

    def _close_step(self, step: Step, reply: Done | Failed) -> None:
        if isinstance(reply, Failed):
            self._fail_step(step, reply)
        elif step.phase is Phase.PLAN:
            self._take_plan(step, reply.plan)
        elif step.phase is Phase.BLOCK:
            self._take_block(step, reply.result)
        elif step.phase is Phase.RUN or step.phase is Phase.FINISH:
            self.deliver(reply.outputs)
        else:
            assert_never(step.phase)

    def _take_plan(self, step: Step, plan: Plan | None) -> None:
        if plan is None or len({block.index for block in plan.blocks}) != len(plan.blocks):
            self._fail_step(step, _garbled("the plan has blocks with equal numbers" if plan else "there is no plan"))
            return
        self.plan, self.plan_is_new = plan, True

    def _take_block(self, step: Step, result: BlockResult | None) -> None:
        if result is None or step.block is None or result.index != step.block.index:
            self._fail_step(step, _garbled("it is not about the block that was asked for"))
            return
        self.unrecorded.append(result)

    def _fail_step(self, step: Step, failed: Failed) -> None:
        counts = self._deaths if failed.error == SlotLost.__name__ else self._errors
        counts[step] += 1
        name = self._name(step)
        if not failed.retry:
            self.stop(JobStatus.FAILED, failed.message, *failed.details)
        elif self._deaths[step] >= DEATHS_LIMIT:
            self.stop(JobStatus.FAILED, f"{name} ended its worker process twice and is given up: {failed.message}")
        elif self._errors[step] >= TRIES_LIMIT:
            self.stop(JobStatus.FAILED, f"{name} failed {TRIES_LIMIT} times: {failed.message}", *failed.details)
        else:
            self.news.append((f"{name} is tried again: {failed.message}", "warning"))
            # First in line: a block that cannot be done should end the job early, not after all others.
            self._ready.appendleft(step)

    def _line_up_blocks(self, plan: Plan) -> None:
        self._ready.extend(Step(Phase.BLOCK, block) for block in plan.blocks if block.index not in self.results)
        if not self._ready:
            self._ready.append(Step(Phase.FINISH))

    def _name(self, step: Step) -> str:
        if step.block is not None and self.plan is not None:
            return f"Block {step.block.index + 1} of {len(self.plan.blocks)}"
        return {Phase.PLAN: "Planning", Phase.FINISH: "Putting the result together"}.get(step.phase, "The tool")

    def _measure(self) -> float:
        if self.calling is Call.PUBLISH or self.call is Call.PUBLISH:
            return _SHARES[Phase.FINISH][1]
        reached = [_scale(step.phase, self._fractions[ticket]) for ticket, step in self.running.items()]
        if (
            self.plan is not None
            and self.plan.blocks
            and not any(s.phase is Phase.FINISH for s in self.running.values())
        ):
            done = len(self.results) + len(self.unrecorded) + sum(self._fractions.values())
            reached = [_scale(Phase.BLOCK, done / len(self.plan.blocks))]
        return max(reached, default=0.0)


def _scale(phase: Phase, fraction: float) -> float:
    start, end = _SHARES[phase]
    return start + (end - start) * min(fraction, 1.0)


def _garbled(why: str) -> Failed:
    return Failed("JobError", f"the worker's answer cannot be used: {why}", retry=True)


def name_handles(handles: Mapping[str, Handle]) -> list[str]:
    """Return a line for each resolved parameter, for the job's messages."""
    return [f"{name}: {handle.kind} {handle.title!r}" for name, handle in handles.items()]
