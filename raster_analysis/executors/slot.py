"""The slot process: `python -m raster_analysis.executors.slot FD PARENT ENTRY`, started by `processes.py` only.

`ENTRY` names what opens the bench, `module:function`; it is imported here, so that the server never loads what it
needs. The slot ends with its server, whatever ends that.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue

from raster_analysis.executors.attempt import Report, attempt
from raster_analysis.executors.frames import READY, Order, PlanMemory, read_order, write_reply
from raster_analysis.task import Bench, Reply, Task

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOG = logging.getLogger(__name__)


class Slot:
    """Takes orders from a pipe and runs their tasks, one after the other, on the main thread."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._sending = threading.Lock()
        self._tasks: SimpleQueue[tuple[int, Task]] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._plans = PlanMemory()

    def work(self, open_bench: Callable[[], Bench]) -> None:
        """Open the bench and run tasks for ever."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        bench = open_bench()
        self._send(READY)
        while True:
            ticket, task = self._tasks.get()
            self._reply(attempt(bench, task, self._report(ticket)))

    def _report(self, ticket: int) -> Report:
        return Report(self._reply, lambda: ticket in self._cancelled)

    def _listen(self) -> None:
        try:
            while True:
                self._take(read_order(self._pipe.recv_bytes()))
        except (EOFError, OSError):
            _LOG.info("the server is gone")
        except Exception:  # noqa: BLE001 - a slot that hears nothing any more would keep its job waiting for ever
            _LOG.exception("an order cannot be read")
        # What the main thread is at can no longer be told to anybody.
        os._exit(1)

    def _take(self, order: Order) -> None:
        if order.task is None:
            self._cancelled.add(order.ticket)
        else:
            self._tasks.put((order.ticket, self._plans.restore(order.task)))

    def _reply(self, reply: Reply) -> None:
        self._send(write_reply(reply))

    def _send(self, frame: bytes) -> None:
        # Tools may report from threads of their own.
        with self._sending:
            self._pipe.send_bytes(frame)


def main(arguments: list[str]) -> None:
    """Run a slot on an inherited socket."""
    descriptor, parent, entry = int(arguments[0]), int(arguments[1]), arguments[2]
    _die_with(parent)
    os.set_inheritable(descriptor, False)
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s slot {os.getpid()} %(name)s: %(message)s")
    module, _, name = entry.partition(":")
    Slot(Connection(descriptor)).work(getattr(importlib.import_module(module), name))


def _die_with(parent: int) -> None:
    # The end of the pipe tells it too, but not while native code holds the interpreter's lock.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
