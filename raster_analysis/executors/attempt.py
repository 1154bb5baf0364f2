"""One attempt at a task: run it, and turn whatever happens into a last reply."""

from __future__ import annotations

import errno
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from raster_analysis.errors import BudgetError, Cancelled, InputError, OutputExists, ParameterError, RasterAnalysisError
from raster_analysis.seams import Level
from raster_analysis.task import Bench, Done, Failed, Message, Progress, Reply, Task

PROGRESS_EVERY_S = 0.05
"""Progress more often than this is dropped (guess: nobody polls faster)."""

_NOT_AGAIN = (InputError, OutputExists, BudgetError, Cancelled)
_LOG = logging.getLogger(__name__)


@dataclass
class Report:
    """A reporter that sends replies and asks a flag whether to stop."""

    send: Callable[[Reply], None]
    is_cancelled: Callable[[], bool]
    _sent_s: float = field(default=0.0, init=False)

    def message(self, text: str, level: Level = "info") -> None:
        """Send a line for the job's messages."""
        self.send(Message(text, level))

    def progress(self, fraction: float) -> None:
        """Send how much is done, unless that was said a moment ago."""
        now = time.monotonic()
        if math.isfinite(fraction) and now - self._sent_s >= PROGRESS_EVERY_S:
            self._sent_s = now
            self.send(Progress(fraction))

    def check_cancelled(self) -> None:
        """Raise Cancelled when the job was asked to stop."""
        if self.is_cancelled():
            raise Cancelled("the job was cancelled")


def attempt(bench: Bench, task: Task, report: Report) -> Done | Failed:
    """Run a task; errors become a `Failed` whose text is fit for users, the trace goes to the log."""
    try:
        return bench(task, report)
    except Exception as error:  # noqa: BLE001 - whatever a tool raises belongs to its job
        retry = not isinstance(error, _NOT_AGAIN)
        # A user's mistake is no news for the operator's log.
        if retry:
            _LOG.exception("job %s: %s of %s failed", task.job_id, task.phase.value, task.tool)
        return Failed(type(error).__name__, _explain(error), retry, _details(error))


def _explain(error: Exception) -> str:
    if isinstance(error, ParameterError):
        return error.faults[0]
    if isinstance(error, RasterAnalysisError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the worker ran out of memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "there is no space left on the server's disk"
    return f"unexpected {type(error).__name__} in the worker; its log says more"


def _details(error: Exception) -> tuple[str, ...]:
    return error.faults[1:] if isinstance(error, ParameterError) else ()
