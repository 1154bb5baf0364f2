"""The main job in front of your eyes: publish two models, detect objects and classify pixels through REST."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from raster_analysis.errors import InputError, JobError
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.portal import Settings as PortalSettings
from raster_analysis.portal.users import Role
from raster_analysis.rasters.picture import draw_classified, draw_features
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rest_client import RestClient

SAMPLES = Path(__file__).parents[1] / "samples"
START_TIMEOUT_S = 60
SCENE_SIZE_PX = 2048
SCENE_SEED = 555
"""Not among the seeds that the models were trained with."""
CLASS_COLORS = {"Tree": (255, 210, 0), "Building": (255, 0, 90)}


@dataclass(frozen=True, slots=True)
class Demo:
    """The folders of a demonstration."""

    out: Path
    console: Console

    @property
    def store(self) -> Path:
        """Return the folder that the server knows as the data store `demo`."""
        return self.out / "store"

    def run(self) -> list[Path]:
        """Do everything and return the results and pictures."""
        self._prepare()
        with self._serve() as client:
            trees = self._job(client, "PublishDeepLearningModel", _publish("detector.dlpk", "Demo detector"))
            cover = self._job(client, "PublishDeepLearningModel", _publish("landcover.dlpk", "Demo land cover"))
            found = self._job(client, "DetectObjectsUsingDeepLearning", _infer(trees, "outputObjects", "demo_objects"))
            classified = self._job(
                client, "ClassifyPixelsUsingDeepLearning", _infer(cover, "outputClassifiedRaster", "demo_land_cover")
            )
            objects = client.download(found["outObjects"]["itemId"], self.out / "objects.gpkg")
            labels = client.download(classified["outRaster"]["itemId"], self.out / "land_cover.tif")
        return [objects, self._draw_objects(objects), labels, self._draw_labels(labels)]

    def _prepare(self) -> None:
        if not SAMPLES.is_dir():
            raise InputError("the demo needs the folder samples/ of a source checkout, and it is not there")
        shutil.rmtree(self.out, ignore_errors=True)
        self.store.mkdir(parents=True)
        for package in (SAMPLES / "packages").glob("*.dlpk"):
            shutil.copy2(package, self.store)
        self._say(f"Making a synthetic scene of {SCENE_SIZE_PX} x {SCENE_SIZE_PX} pixels ...")
        command = [sys.executable, str(SAMPLES / "make_scene.py"), str(self.store / "scene.tif")]
        command += ["--size", str(SCENE_SIZE_PX), "--seed", str(SCENE_SEED)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603

    @contextlib.contextmanager
    def _serve(self) -> Iterator[RestClient]:
        """Run a server of our own on a free port, with a user of our own, for as long as the block lasts."""
        port, data = _free_port(), self.out / "data"
        url = f"https://127.0.0.1:{port}"
        # Before the server starts: from then on it alone writes the portal.
        token = _make_token(data, url)
        command = [sys.executable, "-m", "raster_analysis", "serve", "--port", str(port), "--data", str(data)]
        command += ["--store", f"demo={self.store}"]
        log = (self.out / "server.log").open("wb")
        with log, subprocess.Popen(command, stdout=log, stderr=log) as server:  # noqa: S603
            try:
                client = RestClient(url, token, data / "tls" / "certificate.pem")
                _wait_until_ready(client, server, self.out / "server.log")
                self._say(f"Serving at {client.toolbox}")
                yield client
            finally:
                server.terminate()

    def _job(self, client: RestClient, tool: str, parameters: Mapping[str, object]) -> dict[str, Any]:
        columns = (TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as bar:
            task = bar.add_task(tool, total=100)
            messages: list[str] = []

            def watch(document: Mapping[str, Any]) -> None:
                bar.update(task, completed=document["progress"]["percent"])
                messages[:] = [message["description"] for message in document["messages"]]

            outputs = client.run(tool, parameters, watch)
        # The last line is the same for every job; the one before is what the tool has to say.
        self._say(f"  {messages[-2]}")
        for value in outputs.values():
            self._say(f"  item {value['itemId']}")
            if "url" in value:
                self._say(f"  {value['url']}")
        return outputs

    def _say(self, text: str) -> None:
        # As it is: an address that is broken over two lines cannot be copied.
        self.console.out(text, highlight=False)

    def _draw_objects(self, objects: Path) -> Path:
        picture = self.out / "objects.png"
        draw_features(resolve_raster(str(self.store / "scene.tif")), objects, CLASS_COLORS, picture)
        return picture

    def _draw_labels(self, labels: Path) -> Path:
        picture = self.out / "land_cover.png"
        draw_classified(resolve_raster(str(labels)), picture)
        return picture


def run_demo(out: Path, *, quiet: bool = False) -> list[Path]:
    """Run the demonstration into a folder, which is emptied first when an earlier one made it."""
    if out.exists() and any(out.iterdir()) and not (out / "server.log").exists():
        raise InputError(f"folder {str(out)!r} holds other things; name a new one for the demo")
    return Demo(out.resolve(), Console(quiet=quiet)).run()


def _publish(package: str, name: str) -> dict[str, object]:
    return {"modelLocation": f"/fileShares/demo/{package}", "outputName": {"name": name}}


def _infer(model: Mapping[str, Any], output: str, name: str) -> dict[str, object]:
    return {
        "inputRaster": {"uri": "/rasterStores/demo/scene.tif"},
        "model": {"itemId": model["outItem"]["itemId"]},
        output: {"serviceProperties": {"name": name}},
    }


def _make_token(data: Path, url: str) -> str:
    """Add a user while no server holds the folder, and return a token for an hour."""
    portal = Portal(PortalSettings(data, url))
    try:
        portal.users.add("demo", os.urandom(16).hex(), Role.PUBLISHER)
        return portal.tokens.issue("demo", 3600).value
    finally:
        portal.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(client: RestClient, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and server.poll() is None:
        try:
            client.get(client.toolbox)
        except (urllib.error.URLError, FileNotFoundError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise JobError(f"the server did not start; its log is {log.name}:\n{log.read_text()[-2000:]}")
