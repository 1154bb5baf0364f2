"""A server in a process of its own, the way operators start it, for tests to speak to and to kill."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.users import Role
from raster_analysis.rest_client import RestClient

PASSWORD = "correct horse battery"
USERS = {"ann": Role.PUBLISHER, "bob": Role.PUBLISHER}
_SLOT = "raster_analysis.executors.slot"
"""What tells workers from readers, which are children of the server too."""
START_LIMIT_S = 60.0
"""Far above what it takes; other work may hold the processor."""


@dataclass
class LiveServer:
    """One data folder and the process that serves it, if any does; `store/` is known to it as the store `s`."""

    folder: Path
    http: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    with_users: bool = True
    port: int = field(default_factory=lambda: free_port())
    process: subprocess.Popen[bytes] | None = None
    ready_s: float = 0.0
    """What the last start took."""
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"{'http' if self.http else 'https'}://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def certificate(self) -> Path | None:
        return None if self.http else self.data / "tls" / "certificate.pem"

    def client(self, user: str = "ann") -> RestClient:
        """Return a client that trusts the server's own certificate."""
        return RestClient(self.url, self.tokens[user], self.certificate)

    def start(self) -> None:
        """Start a process and wait until it says that it is ready."""
        self.store.mkdir(parents=True, exist_ok=True)
        if self.with_users and not self.tokens:
            self.tokens = add_users(self.data, self.url)
        began = time.monotonic()
        command = [sys.executable, "-m", "raster_analysis", "serve", "--port", str(self.port)]
        command += ["--data", str(self.data), "--store", f"s={self.store}", *(["--http"] if self.http else [])]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.environment})
        until(self._is_ready, START_LIMIT_S)
        self.ready_s = time.monotonic() - began

    def kill(self) -> None:
        """End the process as a power cut would."""
        self._running.kill()
        self._running.wait()

    def stop(self) -> None:
        """Ask the process to end, as an operator does."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()

    def slots(self) -> list[psutil.Process]:
        """Return the worker processes."""
        children = psutil.Process(self._running.pid).children()
        return [child for child in children if runs(child) and _SLOT in child.cmdline()]

    def files(self, job: str) -> dict[str, int]:
        """Return the block files of a job that are there, and when each was written, in nanoseconds."""
        found = {}
        for path in (self.data / "jobs" / job_id(job)).glob("*/block-*"):
            try:
                found[f"{path.parent.name}/{path.name}"] = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
        return found

    def ledger(self, job: str) -> dict[int, str]:
        """Return the file of each block that the server has recorded, by block."""
        with closing(sqlite3.connect(f"file:{self.data / 'jobs.sqlite'}?mode=ro", uri=True)) as connection, connection:
            rows = connection.execute("SELECT position, file FROM blocks WHERE job_id = ?", (job_id(job),)).fetchall()
        connection.close()
        return dict(rows)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the server was not started"
        return self.process

    def _is_ready(self) -> bool:
        assert self._running.poll() is None, f"the server ended:\n{self.log[-3000:]}"
        try:
            # The description of the toolbox is for everybody; the token says nothing yet.
            client = RestClient(self.url, self.tokens.get("ann", ""), self.certificate)
            client.get(client.toolbox)
        except OSError:
            return False
        return True


def add_users(data: Path, url: str) -> dict[str, str]:
    """Add the users while no server holds the folder, and return a token of each."""
    portal = Portal(Settings(data, url))
    try:
        for name, role in USERS.items():
            portal.users.add(name, PASSWORD, role)
        return {name: portal.tokens.issue(name, 3600).value for name in USERS}
    finally:
        portal.close()


def job_id(job: str) -> str:
    """Return the id in a job's URL."""
    return job.rpartition("/")[2]


def runs(process: psutil.Process) -> bool:
    """Tell whether a process is alive."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(fact: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait until a fact is true."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, "the fact did not come true in time"
        time.sleep(0.01)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
