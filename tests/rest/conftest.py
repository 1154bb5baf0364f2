from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from echo import TOOLS, open_bench
from portal_client import BASE_URL, PASSWORD, TOOLBOX, Asker, Toolbox

from raster_analysis.app import Rooms, create_app
from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.portal.users import Role
from raster_analysis.settings import Settings

__all__ = ["BASE_URL", "PASSWORD", "TOOLBOX", "Toolbox"]


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A whole server with an inline slot, without TLS; alice and carol are publishers, bob is a viewer."""
    data = tmp_path_factory.mktemp("data")
    store = tmp_path_factory.mktemp("store")
    settings = Settings(data=data, base_url=BASE_URL, stores={"s": store})
    app = create_app(settings, InlineExecutor(open_bench()), tools=TOOLS)
    users = app.state.rooms.portal.users
    for name, role in (
        ("admin", Role.ADMINISTRATOR),
        ("alice", Role.PUBLISHER),
        ("carol", Role.PUBLISHER),
        ("bob", Role.VIEWER),
    ):
        users.add(name, PASSWORD, role)
    with TestClient(app, base_url=BASE_URL, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="session")
def rooms(client: TestClient) -> Rooms:
    rooms: Rooms = client.app.state.rooms  # type: ignore[attr-defined]
    return rooms


@pytest.fixture(scope="session")
def token(rooms: Rooms) -> dict[str, str]:
    """A token of each user by name."""
    return {name: rooms.portal.tokens.issue(name, 3600).value for name in ("admin", "alice", "bob", "carol")}


@pytest.fixture(scope="session")
def alice(token: dict[str, str]) -> dict[str, str]:
    """Headers as ArcGIS clients send them."""
    return {"X-Esri-Authorization": f"Bearer {token['alice']}"}


@pytest.fixture(scope="session")
def carol(token: dict[str, str]) -> dict[str, str]:
    return {"X-Esri-Authorization": f"Bearer {token['carol']}"}


@pytest.fixture(scope="session")
def admin(token: dict[str, str]) -> dict[str, str]:
    return {"X-Esri-Authorization": f"Bearer {token['admin']}"}


@pytest.fixture
def nobody(client: TestClient) -> Asker:
    return Asker(client)


@pytest.fixture
def as_alice(client: TestClient, alice: dict[str, str]) -> Asker:
    return Asker(client, alice)


@pytest.fixture
def as_carol(client: TestClient, carol: dict[str, str]) -> Asker:
    return Asker(client, carol)


@pytest.fixture
def as_bob(client: TestClient, token: dict[str, str]) -> Asker:
    return Asker(client, {"X-Esri-Authorization": f"Bearer {token['bob']}"})


@pytest.fixture
def as_admin(client: TestClient, admin: dict[str, str]) -> Asker:
    return Asker(client, admin)


@pytest.fixture
def toolbox(client: TestClient, rooms: Rooms, alice: dict[str, str]) -> Toolbox:
    return Toolbox(client, rooms, alice)
