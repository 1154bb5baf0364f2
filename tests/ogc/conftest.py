from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parent))

from caller import Caller
from echo_process import TOOLS, open_bench
from published import publish_results

from raster_analysis import reader
from raster_analysis.app import Rooms, create_app
from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.executors.readers import InlineReaders
from raster_analysis.portal.users import Role
from raster_analysis.settings import Settings

BASE_URL = "https://gis.example.org:8443"


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A whole server with an inline slot; ann and carl are publishers, bob is a viewer, root administers."""
    store = tmp_path_factory.mktemp("store")
    with rasterio.open(
        store / "scene.tif", "w", driver="GTiff", width=8, height=8, count=1, dtype="uint8",
        crs="EPSG:32633", transform=Affine(1, 0, 500000, 0, -1, 5000000),
    ) as raster:  # fmt: skip
        raster.write(np.ones((1, 8, 8), np.uint8))
    settings = Settings(data=tmp_path_factory.mktemp("data"), base_url=BASE_URL, stores={"s": store})
    app = create_app(settings, InlineExecutor(open_bench()), tools=TOOLS, readers=InlineReaders(reader.answer))
    roles = {"root": Role.ADMINISTRATOR, "ann": Role.PUBLISHER, "carl": Role.PUBLISHER, "bob": Role.VIEWER}
    for name, role in roles.items():
        app.state.rooms.portal.users.add(name, "correct horse battery", role)
    publish_results(app.state.rooms.portal, tmp_path_factory.mktemp("files"))
    with TestClient(app, base_url=BASE_URL, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="session")
def rooms(client: TestClient) -> Rooms:
    rooms: Rooms = client.app.state.rooms  # type: ignore[attr-defined]
    return rooms


@pytest.fixture(scope="session")
def token(rooms: Rooms) -> dict[str, str]:
    return {name: rooms.portal.tokens.issue(name, 3600).value for name in ("root", "ann", "bob", "carl")}


@pytest.fixture(scope="session")
def api(client: TestClient) -> dict[str, Any]:
    """The API's own definition."""
    document: dict[str, Any] = client.get("/ogc/api").json()
    return document


@pytest.fixture(scope="session")
def nobody(client: TestClient, api: dict[str, Any]) -> Caller:
    return Caller(client, api, None)


@pytest.fixture(scope="session")
def ann(client: TestClient, api: dict[str, Any], token: dict[str, str]) -> Caller:
    return Caller(client, api, token["ann"])


@pytest.fixture(scope="session")
def bob(client: TestClient, api: dict[str, Any], token: dict[str, str]) -> Caller:
    return Caller(client, api, token["bob"])


@pytest.fixture(scope="session")
def carl(client: TestClient, api: dict[str, Any], token: dict[str, str]) -> Caller:
    return Caller(client, api, token["carl"])


@pytest.fixture(scope="session")
def root(client: TestClient, api: dict[str, Any], token: dict[str, str]) -> Caller:
    return Caller(client, api, token["root"])
