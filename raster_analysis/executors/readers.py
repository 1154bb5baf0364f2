"""Reader processes: they look into layers for the server, which itself loads no GDAL and waits for no disk."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from queue import Empty, LifoQueue

from raster_analysis import errors
from raster_analysis.errors import BudgetError, JobError, RasterAnalysisError
from raster_analysis.executors.reader import READY
from raster_analysis.question import QUESTION, Answerer, Content, Question

START_LIMIT_S = 60.0
"""Longest start; importing GDAL from a cold disk takes seconds."""
ANSWER_LIMIT_S = 30.0
"""Longest answer; then the process is ended and another one started (guess: people have gone by then)."""
QUEUE_LIMIT_S = 30.0
"""Longest wait for a free reader."""
LARGEST_ANSWER_BYTES = 256 * 1024**2

_LOG = logging.getLogger(__name__)


class ReaderPool:
    """A fixed number of reader processes; each answers one question at a time.

    `entry` names, as `module:function`, what opens the answerer; it is imported in the processes only.
    `environment` is added to theirs. A process that crashes or takes too long costs its own question, no other.
    """

    def __init__(self, entry: str, environment: Mapping[str, str], *, count: int = 2) -> None:
        self._readers = [ReaderProcess(entry, environment) for _ in range(count)]
        # Last in, first out: a server that is half idle keeps the same half warm.
        self._free: LifoQueue[ReaderProcess] = LifoQueue()
        for reader in self._readers:
            self._free.put(reader)

    def start(self) -> None:
        """Start every process without waiting for it, so that the first question finds it warm."""
        for reader in self._readers:
            reader.start()

    def ask(self, question: Question) -> Content:
        """Return the content of an answer; raises what the reader raised."""
        try:
            reader = self._free.get(timeout=QUEUE_LIMIT_S)
        except Empty:
            raise BudgetError(
                f"the server was too busy to read the layer within {QUEUE_LIMIT_S:g} s; ask again"
            ) from None
        try:
            return reader.ask(question)
        finally:
            self._free.put(reader)

    def close(self) -> None:
        """End every process."""
        for reader in self._readers:
            reader.end()


class ReaderProcess:
    """One process; used by one thread at a time."""

    def __init__(self, entry: str, environment: Mapping[str, str]) -> None:
        self._entry, self._environment = entry, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._is_ready = False

    def start(self) -> None:
        """Start the process unless there is one."""
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        ours, theirs = socket.socketpair()
        with theirs:
            self._pipe = Connection(ours.detach())
            # -P: the folder the server happens to run in is no place to import from.
            command = [sys.executable, "-P", "-m", "raster_analysis.executors.reader"]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, str(theirs.fileno()), str(os.getpid()), self._entry],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def ask(self, question: Question) -> Content:
        """Return the content of an answer, from a fresh process when there is none."""
        self.start()
        try:
            return self._ask(question)
        except (EOFError, OSError):
            self.end()
            raise JobError("the layer cannot be read: the reader process ended before it answered") from None

    def end(self) -> None:
        """Kill the process, if there is one."""
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        self._is_ready = False
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.kill()
            process.wait()

    def _ask(self, question: Question) -> Content:
        pipe = self._pipe
        if pipe is None:
            raise EOFError
        if not self._is_ready:
            self._receive(pipe, time.monotonic() + START_LIMIT_S, expected=READY)
            self._is_ready = True
        deadline_s = time.monotonic() + ANSWER_LIMIT_S
        pipe.send_bytes(QUESTION.dump_json(question))
        head = json.loads(self._receive(pipe, deadline_s))
        data = self._receive(pipe, deadline_s)
        if "error" in head:
            raise _error(head["error"], head["message"])
        return Content(data, head["media_type"])

    def _receive(self, pipe: Connection, deadline_s: float, *, expected: bytes | None = None) -> bytes:
        if not pipe.poll(max(0.0, deadline_s - time.monotonic())):
            _LOG.warning("a reader did not answer in time and is ended")
            self.end()
            raise BudgetError(f"reading the layer took more than {ANSWER_LIMIT_S:g} s; ask for less")
        frame = pipe.recv_bytes(LARGEST_ANSWER_BYTES)
        if expected is not None and frame != expected:
            raise EOFError
        return frame


class InlineReaders:
    """Answers in the caller's thread. For tests and scripts: it loads into this process whatever the answerer needs."""

    def __init__(self, answer: Answerer) -> None:
        self._answer = answer

    def start(self) -> None:
        """Do nothing: there is no process."""

    def ask(self, question: Question) -> Content:
        """Return the content of an answer."""
        return self._answer(question)

    def close(self) -> None:
        """Do nothing: there is no process."""


def _error(name: str, message: str) -> RasterAnalysisError:
    """Return the error that a reader raised; what is no error of ours alone is a JobError."""
    kind = getattr(errors, name, JobError)
    return kind([message]) if kind is errors.ParameterError else kind(message)
