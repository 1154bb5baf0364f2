"""What a terminal shows of a running job: a progress bar and the messages that matter."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from raster_analysis.errors import Cancelled
from raster_analysis.seams import Level

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the signal's number."""
COLOURS: dict[Level, str] = {"info": "dim", "warning": "yellow", "error": "red"}


class TerminalReporter:
    """A reporter that draws on a terminal; Ctrl-C and SIGTERM cancel between batches of tiles."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self.interrupted = False

    def message(self, text: str, level: Level = "info") -> None:
        """Print a message above the bar."""
        self._bar.console.print(text, style=COLOURS[level], highlight=False, markup=False)

    def progress(self, fraction: float) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=fraction)

    def check_cancelled(self) -> None:
        """Raise Cancelled after such a signal."""
        if self.interrupted:
            raise Cancelled("interrupted; nothing was written")

    def interrupt(self, signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note the signal; the second one acts at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True


@contextmanager
def show_progress(title: str, *, quiet: bool) -> Iterator[TerminalReporter]:
    """Draw a bar on standard error while the block runs; on a pipe only messages, with `quiet` nothing."""
    console = Console(stderr=True, quiet=quiet, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console,
                  disable=not console.is_terminal) as bar:  # fmt: skip
        reporter = TerminalReporter(bar, bar.add_task(title, total=1.0))
        before = {number: signal.signal(number, reporter.interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield reporter
        finally:
            for number, action in before.items():
                signal.signal(number, action)
