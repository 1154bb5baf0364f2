from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from echo import TOOLS, open_bench
from portal_client import Asker

from raster_analysis.app import Rooms, create_app
from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.portal.users import Role
from raster_analysis.settings import Settings

BASE_URL = "https://gis.example.org:8443"
PASSWORD = "correct horse battery"
TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"


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


class Toolbox:
    """Submits jobs over HTTP and waits for their end."""

    def __init__(self, client: TestClient, rooms: Rooms, headers: dict[str, str]) -> None:
        self.client = client
        self.rooms = rooms
        self.headers = headers

    def submit(self, task: str, **form: object) -> str:
        answer = self.client.post(f"{TOOLBOX}/{task}/submitJob", data={"f": "json", **form}, headers=self.headers)
        return str(answer.json()["jobId"])

    def finish(self, task: str, job_id: str) -> dict[str, object]:
        self.rooms.dispatcher.wait(job_id, 20)
        return self.get(f"{task}/jobs/{job_id}").json()  # type: ignore[no-any-return]

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"{TOOLBOX}/{path}", params={"f": "json"}, headers=self.headers)


@pytest.fixture
def toolbox(client: TestClient, rooms: Rooms, alice: dict[str, str]) -> Toolbox:
    return Toolbox(client, rooms, alice)
