"""What goes over the pipe between the server and a slot: short frames of JSON, never pixels and never pickles."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from raster_analysis.errors import JobError
from raster_analysis.task import REPLY, TASK, Failed, Phase, Reply, Task
from raster_analysis.tool import Plan

REPLY_LIMIT_BYTES = 64 * 1024**2
"""Longest reply; a plan of half a million blocks fits."""
READY = b"ready"
"""A slot's first frame."""

_TASK, _CANCEL = b"T", b"C"


@dataclass(frozen=True, slots=True)
class Order:
    """What the server tells a slot: to run a task, or (without one) to stop the task of this ticket."""

    ticket: int
    task: Task | None = None


@dataclass
class PlanMemory:
    """Each end's memory of the last plan that was sent, so that a plan crosses once and not with every block."""

    _key: tuple[str, int] | None = field(default=None, init=False)
    _plan: Plan | None = field(default=None, init=False)

    def strip(self, task: Task) -> Task:
        """Return the task without its plan when the slot has that already."""
        if task.plan is None:
            return task
        key = (task.job_id, task.fence)
        if key == self._key:
            return replace(task, plan=None)
        self._key = key
        return task

    def restore(self, task: Task) -> Task:
        """Return the task with the plan that `strip` took away."""
        key = (task.job_id, task.fence)
        if task.plan is not None:
            self._key, self._plan = key, task.plan
        elif task.phase in (Phase.BLOCK, Phase.FINISH) and key == self._key:
            return replace(task, plan=self._plan)
        return task


def write_order(order: Order) -> bytes:
    """Return the frame of an order."""
    if order.task is None:
        return _CANCEL + str(order.ticket).encode()
    return _TASK + str(order.ticket).encode() + b"\n" + TASK.dump_json(order.task)


def read_order(frame: bytes) -> Order:
    """Return the order in a frame."""
    head, _, body = frame[1:].partition(b"\n")
    return Order(int(head), TASK.validate_json(body) if frame[:1] == _TASK else None)


def write_reply(reply: Reply) -> bytes:
    """Return the frame of a reply; one that the server would refuse becomes a `Failed` that says why."""
    frame = REPLY.dump_json(reply)
    if len(frame) > REPLY_LIMIT_BYTES:
        return _refuse(f"the tool's answer has {len(frame)} bytes, the limit is {REPLY_LIMIT_BYTES}")
    try:
        read_reply(frame)
    except JobError as error:
        return _refuse(str(error))
    return frame


def read_reply(frame: bytes) -> Reply:
    """Return the reply in a frame; raises JobError when it is none."""
    try:
        return REPLY.validate_json(frame)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise JobError(f"the tool's answer is not valid at {where or 'its start'}: {first['msg']}") from None


def _refuse(why: str) -> bytes:
    return REPLY.dump_json(Failed(JobError.__name__, why, retry=False))
