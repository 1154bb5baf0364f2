"""The server's end of one slot: starts its process, feeds it, and notices how it ends."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from raster_analysis.errors import Cancelled, JobError, SlotLost
from raster_analysis.executors.frames import READY, REPLY_LIMIT_BYTES, Order, PlanMemory, read_reply, write_order
from raster_analysis.task import Done, Failed, Listener, Task

START_LIMIT_S = 120.0
"""Longest start; importing torch from a cold disk takes tens of seconds."""
KILL_AFTER_S = 5.0
"""How long a cancelled task may take to stop by itself (contract F6)."""
PIPE_LIMIT_S = 5
"""How long one read or write may hang on a process that stands still in the middle of a frame."""
STILL_CHECK_S = 5.0
"""How often a busy process is checked for having been stopped by a signal (contract J03)."""
FRAMES_A_TURN = 1000
"""Frames taken from one slot before the others have their turn."""

_LOG = logging.getLogger(__name__)


@dataclass
class Current:
    """The task a slot is at."""

    ticket: int
    cancelled: bool = False
    kill_at_s: float = math.inf


class SlotProcess:
    """One slot. Used by one thread, which must outlive the process: its death would end the process as well."""

    def __init__(self, entry: str, environment: Mapping[str, str], listener: Listener) -> None:
        self._entry, self._environment, self._listener = entry, environment, listener
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._exit_fd: int | None = None
        self._current: Current | None = None
        self._plans = PlanMemory()
        self._oom_kills = 0
        self._check_at_s = math.inf
        """When to look whether the busy process was stopped by a signal."""
        self._was_still = False
        self.is_ready = False
        self.losses = 0
        """Processes lost since the last finished task."""
        self.act_at_s = 0.0
        """When to look after this slot even if nothing happens, by the monotonic clock."""

    @property
    def is_idle(self) -> bool:
        """Return whether a task can be given."""
        return self.is_ready and self._current is None

    @property
    def ticket(self) -> int | None:
        """Return the ticket of the task that runs here."""
        return self._current.ticket if self._current else None

    @property
    def pid(self) -> int | None:
        """Return the process id, or None between two processes."""
        return self._process.pid if self._process else None

    @property
    def sources(self) -> list[Connection | int]:
        """Return what becomes readable when the process says something or ends."""
        return [source for source in (self._pipe, self._exit_fd) if source is not None]

    def give(self, ticket: int, task: Task) -> None:
        """Send a task to the idle process."""
        self._current = Current(ticket)
        self._oom_kills = _count_oom_kills()
        self._check_at_s = time.monotonic() + STILL_CHECK_S
        self._send(Order(ticket, self._plans.strip(task)))
        self._plan_next_act()

    def cancel(self) -> None:
        """Ask the running task to stop, and have its process killed when it does not."""
        if self._current is None or self._current.cancelled:
            return
        self._current.cancelled = True
        self._current.kill_at_s = time.monotonic() + KILL_AFTER_S
        self._send(Order(self._current.ticket))
        self._plan_next_act()

    def attend(self) -> None:
        """Read what the process said, notice its end, and do what is due."""
        now = time.monotonic()
        if self._process is None:
            if now >= self.act_at_s:
                self._try_to_spawn()
            return
        # Read before the end is looked at: a last reply counts although its process is gone.
        self._read()
        if self._process is not None and self._has_ended():
            self._lose()
        elif self._current is not None and now >= self._current.kill_at_s:
            self._lose("the worker process did not stop when asked and was ended")
        elif not self.is_ready and now >= self.act_at_s:
            self._lose(f"the worker process did not start within {START_LIMIT_S:g} seconds")
        elif now >= self._check_at_s:
            self._check_still(now)
        self._plan_next_act()

    def end(self) -> None:
        """Kill the process and forget its task; nobody is told."""
        self._current = None
        self._reap()

    def _try_to_spawn(self) -> None:
        try:
            self._spawn()
        except OSError as error:
            _LOG.warning("a slot cannot be started: %s", error)
            self._lose("the worker process cannot be started")

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            limit = struct.pack("ll", PIPE_LIMIT_S, 0)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._pipe = Connection(ours.detach())
            # -P: the folder the server happens to run in is no place to import from.
            command = [sys.executable, "-P", "-m", "raster_analysis.executors.slot"]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, str(theirs.fileno()), str(os.getpid()), self._entry],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # A group of its own: Ctrl-C is for the server, and what a slot starts ends with it.
                start_new_session=True,
            )
        # Where the system has it, for a process whose children keep the pipe open.
        self._exit_fd = os.pidfd_open(self._process.pid) if sys.platform == "linux" else None
        self._plans = PlanMemory()
        self.act_at_s = time.monotonic() + START_LIMIT_S

    def _read(self) -> None:
        try:
            for _ in range(FRAMES_A_TURN):
                if self._pipe is None or not self._pipe.poll():
                    return
                self._take(self._pipe.recv_bytes(REPLY_LIMIT_BYTES))
        except EOFError:
            self._lose()
        except ConnectionError:
            self._lose()
        except OSError:
            # Longer than the limit, or stuck in the middle: the rest of the stream cannot be understood.
            self._lose("the worker process sent an answer that is too long or stops in the middle")
        except JobError as error:
            self._lose(f"the worker process sent an answer that cannot be read: {error}")

    def _take(self, frame: bytes) -> None:
        if not self.is_ready:
            if frame != READY:
                raise JobError("it spoke before it was ready")
            self.is_ready = True
            return
        reply = read_reply(frame)
        if self._current is None:
            raise JobError("nothing was asked")
        ticket = self._current.ticket
        if isinstance(reply, (Done, Failed)):
            self._current, self.losses = None, 0
            self._check_at_s = math.inf
        self._listener(ticket, reply)

    def _send(self, order: Order) -> None:
        if self._pipe is None:
            return
        try:
            self._pipe.send_bytes(write_order(order))
        except OSError:
            self._lose()

    def _has_ended(self) -> bool:
        # Not `select`: it takes no descriptor above 1023, and a server with many clients has those.
        return self._exit_fd is not None and bool(wait([self._exit_fd], 0))

    def _lose(self, reason: str | None = None) -> None:
        """Bury the process, tell who waits for its task, and have another one started."""
        current, self._current = self._current, None
        code = self._reap()
        reason = reason or _describe_exit(code, out_of_memory=_count_oom_kills() > self._oom_kills)
        cancelled = current is not None and current.cancelled
        self.losses += not cancelled
        # The first loss may be bad luck; a process that keeps dying must not keep the machine busy.
        pause_s = 0.0 if self.losses <= 1 else min(30.0, 0.25 * 2**self.losses)
        self.act_at_s = time.monotonic() + pause_s
        _LOG.warning("slot lost: %s; the next process starts in %g s", reason, pause_s)
        if current is None:
            return
        error = Cancelled.__name__ if cancelled else SlotLost.__name__
        self._listener(current.ticket, Failed(error, reason, retry=not cancelled))

    def _reap(self) -> int:
        process, self._process = self._process, None
        self.is_ready = False
        self._check_at_s = math.inf
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        if self._exit_fd is not None:
            os.close(self._exit_fd)
            self._exit_fd = None
        return _end_group(process) if process is not None else 0

    def _check_still(self, now: float) -> None:
        """Kill a process that two checks in a row found stopped by a signal."""
        still = self._process is not None and _is_stopped(self._process.pid)
        if still and self._was_still:
            self._lose("the worker process was stopped by a signal and did not go on")
        self._was_still = still
        self._check_at_s = now + STILL_CHECK_S

    def _plan_next_act(self) -> None:
        if self.is_ready:
            kill_at_s = self._current.kill_at_s if self._current else math.inf
            self.act_at_s = min(kill_at_s, self._check_at_s)


def _end_group(process: subprocess.Popen[bytes]) -> int:
    """Kill a process and what it started; return its own exit code, not ours when it was dead before."""
    code = _peek_exit(process.pid)
    try:
        # Before it is waited for: until then nobody else can have its number.
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    own = process.wait()
    return own if code is None else code


def _peek_exit(pid: int) -> int | None:
    """Return the exit code of a child that has ended already, leaving it to be waited for."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _describe_exit(code: int, *, out_of_memory: bool) -> str:
    if code == -signal.SIGKILL and out_of_memory:
        return "the worker process was killed because the machine ran out of memory"
    if code == -signal.SIGKILL:
        return "the worker process was killed (SIGKILL); the machine may have run out of memory"
    if code < 0:
        return f"the worker process crashed ({signal.Signals(-code).name})"
    return f"the worker process ended with exit code {code} before it answered"


def _count_oom_kills() -> int:
    """Return how many processes the kernel killed for want of memory since it started; 0 where it does not tell."""
    try:
        found = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _is_stopped(pid: int) -> bool:
    try:
        # The name, in brackets, may hold anything; the state is the first letter after it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:
        return False
