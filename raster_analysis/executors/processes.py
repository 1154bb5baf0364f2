"""The process executor: slots are processes of this machine, started fresh and never forked."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import wait

from raster_analysis.errors import Cancelled, SlotLost
from raster_analysis.executors.slot_process import SlotProcess
from raster_analysis.task import Failed, Listener, Task

GIVE_UP_AFTER = 3
"""Starts in a row that fail before waiting tasks are failed too."""
TURN_LIMIT_S = 60.0
"""Longest sleep between two looks at the slots, even if nothing happens."""
ERROR_PAUSE_S = 1.0
"""Pause after an error that nobody foresaw, so that it does not fill the log."""

_LOG = logging.getLogger(__name__)


class ProcessExecutor:
    """Runs tasks in slot processes, which keep what they loaded between tasks.

    `entry` names, as `module:function`, what opens a slot's bench; it is imported in the slot only.
    `environments` holds the variables to add for each slot, so its length is the number of slots: one with
    `CUDA_VISIBLE_DEVICES` for each GPU, say.
    """

    def __init__(self, entry: str, environments: Sequence[Mapping[str, str]] = ({},)) -> None:
        self.slots = len(environments)
        self._entry, self._environments = entry, environments
        self._slots: list[SlotProcess] = []
        self._waiting: deque[tuple[int, Task]] = deque()
        self._orders: deque[Callable[[], None]] = deque()
        self._listener: Listener
        self._closing = False
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        # One thread starts, feeds and watches every slot. The kernel's parent-death signal follows it, not the
        # process: it has to live as long as the slots.
        self._thread = threading.Thread(target=self._work, name="slots", daemon=True)

    @property
    def pids(self) -> list[int]:
        """Return the process ids of the slots that are up or starting."""
        return [slot.pid for slot in self._slots if slot.pid is not None]

    def start(self, listener: Listener) -> None:
        """Start every slot, side by side; tasks may be submitted at once."""
        self._listener = listener
        self._slots = [SlotProcess(self._entry, environment, listener) for environment in self._environments]
        self._thread.start()

    def submit(self, ticket: int, task: Task) -> None:
        """Run a task on the next slot that is ready."""
        self._order(lambda: self._waiting.append((ticket, task)))

    def cancel(self, ticket: int) -> None:
        """Ask a task to stop; its process is killed when it has not after five seconds."""
        self._order(partial(self._cancel, ticket))

    def close(self) -> None:
        """Kill every slot; closing twice does no harm."""
        if self._closing:
            return
        self._closing = True
        self._ring()
        if self._thread.ident is not None:
            self._thread.join()
        self._bell.close()
        self._button.close()

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._ring()

    def _ring(self) -> None:
        try:
            self._button.send(b"!")
        except BlockingIOError:
            return  # it rings already

    def _work(self) -> None:
        while not self._closing:
            try:
                self._turn()
            except Exception:  # noqa: BLE001 - with this thread every slot would end, and no job would ever go on
                _LOG.exception("unexpected error; the next try is in a second")
                time.sleep(ERROR_PAUSE_S)
        for slot in self._slots:
            slot.end()

    def _turn(self) -> None:
        for slot in self._slots:
            slot.attend()
        while self._orders:
            self._orders.popleft()()
        self._hand_out()
        self._sleep()

    def _sleep(self) -> None:
        """Wait until a slot says something or ends, an order comes, or something is due."""
        due_s = min(slot.act_at_s for slot in self._slots) - time.monotonic()
        sources = [source for slot in self._slots for source in slot.sources]
        if self._bell in wait([self._bell, *sources], min(max(due_s, 0.0), TURN_LIMIT_S)):
            self._bell.recv(4096)

    def _hand_out(self) -> None:
        # In the order of slots: a machine that is half idle keeps the same half warm.
        for slot in self._slots:
            if self._waiting and slot.is_idle:
                slot.give(*self._waiting.popleft())
        if self._waiting and all(slot.losses >= GIVE_UP_AFTER and not slot.is_ready for slot in self._slots):
            reason = "no worker process can be started; the server's log says why"
            _LOG.error("%s", reason)
            for ticket, _task in self._waiting:
                self._listener(ticket, Failed(SlotLost.__name__, reason, retry=False))
            self._waiting.clear()

    def _cancel(self, ticket: int) -> None:
        for waiting in self._waiting:
            if waiting[0] == ticket:
                self._waiting.remove(waiting)
                self._listener(ticket, Failed(Cancelled.__name__, "the job was cancelled", retry=False))
                return
        for slot in self._slots:
            if slot.ticket == ticket:
                slot.cancel()
