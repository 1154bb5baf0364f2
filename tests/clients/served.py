"""A server with the results of real jobs, for unmodified clients; and the clients' programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from live_server import LiveServer

SAMPLES = Path(__file__).parents[2] / "samples"
SCENE = "/rasterStores/s/scene.tif"


@dataclass(frozen=True)
class Results:
    """A server over plain HTTP with the results of a detection and of a classification, read with ann's rights."""

    server: LiveServer
    objects: dict[str, Any]
    """The value of `outObjects`: item and FeatureServer."""
    cover: dict[str, Any]
    """The value of `outRaster`: item and ImageServer."""

    @property
    def token(self) -> str:
        return self.server.tokens["ann"]

    def download(self, item_id: str, target: Path) -> Path:
        """Fetch an item's file: what the layers are compared with."""
        return self.server.client().download(item_id, target)


def run_jobs(server: LiveServer) -> Results:
    """Start a server with a scene and two models in its store, and let it detect and classify."""
    server.store.mkdir(parents=True)
    command = [sys.executable, str(SAMPLES / "make_scene.py"), str(server.store / "scene.tif"), "--size", "512"]
    subprocess.run([*command, "--seed", "2024"], check=True, stdout=subprocess.DEVNULL)
    for package in ("detector", "landcover"):
        shutil.copy2(SAMPLES / "packages" / f"{package}.dlpk", server.store)
    server.start()
    detector = {"model": "/fileShares/s/detector.dlpk", "modelArguments": {"threshold": "0.4"}}
    detection = {"inputRaster": SCENE, "outputObjects": "objects", **detector}
    landcover = {"inputRaster": SCENE, "outputClassifiedRaster": "cover", "model": "/fileShares/s/landcover.dlpk"}
    client = server.client()
    objects = client.run("DetectObjectsUsingDeepLearning", detection)["outObjects"]
    return Results(server, objects, client.run("ClassifyPixelsUsingDeepLearning", landcover)["outRaster"])


def clean_environment() -> dict[str, str]:
    """Return the environment of a program that knows nothing of ours: tests in this process may have pinned GDAL's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GDAL_", "CPL_", "OGR_"))}


def find_program(name: str) -> str:
    """Return a client's program; without it the test is skipped, and fails where everything is to be tested."""
    found = shutil.which(name)
    if found is None:
        missing(f"{name} is not installed")
    return str(found)


def missing(reason: str) -> None:
    """Skip, or fail where everything is to be tested."""
    if os.environ.get("RASTER_ANALYSIS_TEST_EVERYTHING"):
        pytest.fail(reason)
    pytest.skip(reason)
