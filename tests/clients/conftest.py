"""Real clients, unmodified, against a server that ran real jobs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "service")]

from live_server import LiveServer  # noqa: E402
from served import Results, run_jobs  # noqa: E402


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    server = LiveServer(tmp_path_factory.mktemp("clients"))
    try:
        yield run_jobs(server)
    finally:
        server.stop()
