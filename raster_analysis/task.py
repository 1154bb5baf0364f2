"""A task: what the dispatcher asks of a slot, and what comes back. Plain JSON both ways, never pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from pydantic import JsonValue, TypeAdapter

from raster_analysis.handle import Handle
from raster_analysis.seams import Level, Reporter
from raster_analysis.tool import Block, BlockResult, Output, Plan


class Phase(StrEnum):
    """Which of a tool's functions is asked for."""

    PLAN = "plan"
    BLOCK = "block"
    FINISH = "finish"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a tool's function for one claim of a job."""

    job_id: str
    fence: int
    tool: str
    phase: Phase
    folder: str
    parameters: dict[str, JsonValue]
    """The form as it was submitted; the slot parses it again with the tool's declaration."""
    handles: dict[str, Handle]
    block: Block | None = None
    plan: Plan | None = None
    results: tuple[BlockResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A line for the job's messages, sent while a task runs."""

    text: str
    level: Level = "info"
    kind: Literal["message"] = "message"


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of the present task is done, 0 to 1."""

    fraction: float
    kind: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class Done:
    """A task's result; which field is filled depends on the phase."""

    plan: Plan | None = None
    result: BlockResult | None = None
    outputs: tuple[Output, ...] = ()
    kind: Literal["done"] = "done"


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that ended with an error. `retry` says whether another slot may do better."""

    error: str
    """Class name of the error."""
    message: str
    retry: bool
    details: tuple[str, ...] = field(default=())
    kind: Literal["failed"] = "failed"


Reply = Message | Progress | Done | Failed

Bench = Callable[[Task, Reporter], Done]
"""What runs one task after the other in a slot and keeps models warm in between."""

Listener = Callable[[int, Reply], None]
"""Takes the replies to a ticket; called from the executor's threads, so it must be quick."""


class Executor(Protocol):
    """Runs tasks somewhere, at most `slots` of them at once."""

    slots: int

    def start(self, listener: Listener) -> None:
        """Get the slots ready; `listener` hears every reply, and `Done` or `Failed` once and last for each ticket.

        A process that dies under a task is a `Failed` with the error `SlotLost`, a task that was
        cancelled one with `Cancelled`.
        """

    def submit(self, ticket: int, task: Task) -> None:
        """Run a task on the next free slot; the caller keeps to the number of slots."""

    def cancel(self, ticket: int) -> None:
        """Ask a task to stop, and end its process when it does not; nothing happens when it is over."""

    def close(self) -> None:
        """End every slot, busy or not; no reply comes after this."""


TASK: TypeAdapter[Task] = TypeAdapter(Task)
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)
PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
BLOCK_RESULT: TypeAdapter[BlockResult] = TypeAdapter(BlockResult)
OUTPUTS: TypeAdapter[tuple[Output, ...]] = TypeAdapter(tuple[Output, ...])
HANDLES: TypeAdapter[dict[str, Handle]] = TypeAdapter(dict[str, Handle])
