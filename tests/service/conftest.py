from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from filled_store import fill_store
from live_server import LiveServer

from raster_analysis.rest_client import RestClient


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server over plain HTTP with one worker; in its store a scene, models and broken packages."""
    server = LiveServer(tmp_path_factory.mktemp("server"))
    fill_store(server.store)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: LiveServer) -> RestClient:
    return server.client("ann")


@pytest.fixture
def browser(server: LiveServer) -> Iterator[httpx.Client]:
    """A client that keeps cookies and is not signed in."""
    with httpx.Client(base_url=server.url, timeout=60) as browser:
        yield browser


@pytest.fixture(scope="session")
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LiveServer]]:
    """Make servers that a test may kill; what is left of them is ended."""
    made: list[LiveServer] = []

    def make(name: str, **changes: object) -> LiveServer:
        made.append(LiveServer(tmp_path_factory.mktemp(name), **changes))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for server in made:
        server.stop()
