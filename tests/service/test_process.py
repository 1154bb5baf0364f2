"""The processes themselves: what the server maps, how fast it is there, TLS, and each worker's share of the cores."""

from __future__ import annotations

import os
import ssl
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from live_server import LiveServer, until
from pydantic import JsonValue
from strips import write_strip
from tiny_models import write_folder, write_package

import dlpk
from raster_analysis.executors.attempt import Report
from raster_analysis.handle import Handle
from raster_analysis.inference.preparation import read_preparation
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rest_client import RestClient
from raster_analysis.task import Phase, Task
from raster_analysis.worker import make_bench

MAPS = Path("/proc/self/maps")
HEAVY = ("libtorch", "libgdal", "onnxruntime", "openvino")


@pytest.fixture(scope="module")
def secure(make_server: Callable[..., LiveServer]) -> Iterator[LiveServer]:
    """A server over TLS with two workers."""
    server = make_server("secure", http=False, environment={"RASTER_ANALYSIS_SLOTS": "2"})
    server.store.mkdir()
    write_package(server.store / "tiny.dlpk")
    server.start()
    yield server
    server.stop()


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux tells what a process has mapped")
def test_the_server_maps_neither_torch_nor_gdal_though_it_ran_jobs(server: LiveServer, client: RestClient) -> None:
    form = {"inputRaster": "/rasterStores/s/scene.tif", "model": "/fileShares/s/tiny.dlpk"}
    client.run("ClassifyPixelsUsingDeepLearning", form | {"outputClassifiedRaster": "mapped"})
    assert server.process is not None
    [worker] = server.slots()
    mapped = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in (server.process.pid, worker.pid)}

    assert not [name for name in HEAVY if name in mapped[server.process.pid]]
    assert "libgdal" in mapped[worker.pid]


def test_the_server_is_ready_after_three_seconds_of_processor_at_most(make_server: Callable[..., LiveServer]) -> None:
    server = make_server("quick")
    server.start()
    assert server.process is not None
    used = psutil.Process(server.process.pid).cpu_times()

    # Its own share of the processor, not the clock: other tests may run beside this one.
    assert used.user + used.system < 3


def test_a_model_is_published_over_tls(secure: LiveServer, tmp_path: Path) -> None:
    client = secure.client()
    form = {"modelLocation": "/fileShares/s/tiny.dlpk", "outputName": {"name": "Over TLS"}}
    item = client.run("PublishDeepLearningModel", form)["outItem"]["itemId"]

    assert client.url.startswith("https://")
    assert dlpk.check(client.download(item, tmp_path / "tiny.dlpk")).valid


def test_a_client_that_does_not_know_the_certificate_does_not_connect(secure: LiveServer) -> None:
    stranger = RestClient(secure.url, secure.tokens["ann"])

    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.get(stranger.toolbox)


def test_the_session_cookie_goes_over_tls_only(secure: LiveServer) -> None:
    context = ssl.create_default_context(cafile=secure.data / "tls" / "certificate.pem")
    with httpx.Client(base_url=secure.url, verify=context, timeout=60) as browser:
        form = {"username": "ann", "password": "correct horse battery"}
        cookie = browser.post("/arcgis/rest/login", data=form).headers["set-cookie"]

    assert "Secure" in cookie
    assert "HttpOnly" in cookie


def test_workers_share_the_cores(secure: LiveServer) -> None:
    until(lambda: len(secure.slots()) == 2)
    share = str(max(1, len(os.sched_getaffinity(0)) // 2))

    for worker in secure.slots():
        environment = worker.environ()
        assert environment["RASTER_ANALYSIS_THREADS"] == share
        assert environment["OMP_NUM_THREADS"] == share


def test_a_network_gets_the_threads_of_its_worker(tmp_path: Path) -> None:
    write_folder(tmp_path / "tiny")
    write_strip(tmp_path / "strip.tif", 1)
    handles = {
        "inputRaster": resolve_raster(str(tmp_path / "strip.tif")),
        "model": Handle("package", str(tmp_path / "tiny"), "tiny"),
    }
    form: dict[str, JsonValue] = {"inputRaster": "r", "model": "m", "outputClassifiedRaster": "o"}
    name = "ClassifyPixelsUsingDeepLearning"
    task = Task("j1", 1, name, Phase.PLAN, str(tmp_path), form, handles)
    plan = (
        make_bench(10**9, tmp_path / "unpacked", threads=3).run(task, Report(lambda _reply: None, lambda: False)).plan
    )

    assert plan is not None
    assert read_preparation(plan).engine.threads == 3


def test_the_first_start_tells_the_administrators_password_and_the_next_does_not(
    make_server: Callable[..., LiveServer],
) -> None:
    server = make_server("first", with_users=False)
    server.start()
    told = server.log
    server.stop()
    server.start()

    assert told.count("First start: user admin, password ") == 1
    assert server.log.removeprefix(told).count("password") == 0
