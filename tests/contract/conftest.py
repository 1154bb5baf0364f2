"""One server over TLS with its own certificate, as a user starts it, and the strict client in front of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
sys.path.insert(0, str(Path(__file__).parents[1] / "rest"))

from featured import publish, write_objects
from live_server import PASSWORD, LiveServer, add_users
from strict_analytics import Analytics
from strict_client import Gis
from strict_content import Content, Item
from strips import write_strip
from tiny_models import write_package

from raster_analysis.portal.portal import Portal, Settings

SAMPLES = Path(__file__).parents[2] / "samples"
MANY = 2450
"""Features of the layer `many`: more than one answer holds, and no multiple of a page."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("contract"), http=False)
    fill_store(server.store)
    server.tokens = add_users(server.data, server.url)
    publish_many(server)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def certificate(server: LiveServer) -> Path:
    assert server.certificate is not None
    return server.certificate


@pytest.fixture(scope="session")
def sign_in(server: LiveServer, certificate: Path) -> Iterator[Callable[..., Gis]]:
    """Make clients in each of the ways; the user is ann where nothing else is said."""
    made: list[Gis] = []

    def make(way: str = "token", *, context: str = "/portal", user: str = "ann", password: str = PASSWORD) -> Gis:
        url = server.url + context
        who: dict[str, Any] = {
            "anonymous": {},
            "token": {"token": server.tokens[user]},
        }.get(way, {"username": user, "password": password, "use_gen_token": way == "generateToken"})
        made.append(Gis(url, certificate, **who))
        return made[-1]

    yield make
    for gis in made:
        gis.connection.close()


@pytest.fixture(scope="session")
def gis(sign_in: Callable[..., Gis]) -> Gis:
    return sign_in("oauth")


@pytest.fixture(scope="session")
def content(gis: Gis) -> Content:
    return Content(gis)


@pytest.fixture(scope="session")
def analytics(gis: Gis) -> Iterator[Analytics]:
    analytics = Analytics(gis)
    yield analytics
    analytics.threads.shutdown()


@pytest.fixture(scope="session")
def add_package(content: Content) -> Callable[[str], Item]:
    def add(name: str) -> Item:
        return content.add({"title": name, "type": "Deep Learning Package"}, SAMPLES / "packages" / f"{name}.dlpk")

    return add


@pytest.fixture(scope="session")
def detector(add_package: Callable[[str], Item]) -> Item:
    return add_package("detector")


@pytest.fixture(scope="session")
def trees(analytics: Analytics, detector: Item) -> Item:
    """What the detector finds in the scene."""
    return analytics.detect_objects("/rasterStores/s/scene.tif", detector, "found trees")  # type: ignore[no-any-return]


def fill_store(store: Path) -> None:
    store.mkdir(parents=True)
    command = [sys.executable, str(SAMPLES / "make_scene.py"), str(store / "scene.tif"), "--size", "320"]
    subprocess.run([*command, "--seed", "2024"], check=True, stdout=subprocess.DEVNULL)
    for package in ("detector", "landcover"):
        shutil.copy2(SAMPLES / "packages" / f"{package}.dlpk", store)
    write_package(store / "tiny.dlpk", bands=4)
    write_package(store / "labels.dlpk", bands=1)
    write_package(store / "slow.dlpk", layers=2)
    write_package(store / "two_dates.dlpk", bands=4)
    write_strip(store / "strip.tif", 3)
    pixels = np.random.default_rng(6).integers(1, 250, (2, 100, 130)).astype(np.uint8)
    write_raster(store / "before.tif", pixels)
    write_raster(store / "after.tif", pixels[:, ::-1])


def write_raster(path: Path, pixels: np.ndarray[Any, Any]) -> Path:
    place = Affine(2, 0, 500_000, 0, -2, 4_000_000)
    profile = {"driver": "GTiff", "count": len(pixels), "dtype": "uint8", "crs": "EPSG:32616", "transform": place}
    with rasterio.open(path, "w", height=pixels.shape[1], width=pixels.shape[2], **profile) as sink:
        sink.write(pixels)
    return path


def publish_many(server: LiveServer) -> None:
    """Publish a layer that takes pages, while no server holds the folder."""
    portal = Portal(Settings(server.data, server.url))
    try:
        publish(portal, portal.users.get("ann"), "many", write_objects(server.folder / "many.gpkg", MANY))
    finally:
        portal.close()
