"""The server as a process: what it imports, how fast it is there, TLS, and what it says about its health."""

from __future__ import annotations

import datetime as dt
import json
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography import x509
from starlette.testclient import TestClient

from raster_analysis.app import create_app, make_config, named_ids, serve
from raster_analysis.errors import StoreError
from raster_analysis.executors.inline import InlineExecutor
from raster_analysis.jobs.job import new_job
from raster_analysis.jobs.lock import FolderLock
from raster_analysis.rest.certificate import ensure_certificate
from raster_analysis.settings import Settings

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def test_the_server_process_imports_no_torch_and_no_gdal() -> None:
    heavy = ("torch", "torchvision", "rasterio", "pyogrio", "fiona", "osgeo", "onnxruntime", "openvino", "tensorrt")
    code = f"import raster_analysis.app, sys; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "[]"


def test_importing_the_server_takes_less_than_two_seconds_of_cpu() -> None:
    # CPU time of the child, not the clock: other tests may run beside this one.
    code = "import raster_analysis.app, time; print(time.process_time())"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert float(answer.stdout) < 2.0


def test_a_certificate_is_made_once_and_fits_localhost_and_the_host(tmp_path: Path) -> None:
    files = ensure_certificate(tmp_path, "gis.example.org", now=NOW)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "gis.example.org"}
    assert "127.0.0.1" in {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    before = files.certificate.read_bytes()
    ensure_certificate(tmp_path, "gis.example.org", now=NOW)
    assert files.certificate.read_bytes() == before


@pytest.mark.parametrize("change", ["other host", "nearly expired", "broken file", "key missing"])
def test_a_certificate_that_does_not_fit_is_replaced(tmp_path: Path, change: str) -> None:
    files = ensure_certificate(tmp_path, "localhost", now=NOW)
    before = files.certificate.read_bytes()
    if change == "broken file":
        files.certificate.write_text("nonsense")
    if change == "key missing":
        files.key.unlink()
    host = "other.example.org" if change == "other host" else "localhost"
    ensure_certificate(tmp_path, host, now=NOW + dt.timedelta(days=800 if change == "nearly expired" else 0))

    assert files.certificate.read_bytes() != before
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1", "localhost", "10.1.2.3"])
def test_any_address_to_listen_on_gives_a_certificate(tmp_path: Path, host: str) -> None:
    assert ensure_certificate(tmp_path, host, now=NOW).certificate.exists()


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[Settings]:
    """A real server on the loopback with its own certificate, in a thread."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(data=tmp_path / "data", port=port)
    app = create_app(settings, InlineExecutor(lambda *_: None))  # type: ignore[arg-type,return-value]
    server = uvicorn.Server(make_config(app, settings))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield settings
    server.should_exit = True
    thread.join(20)


def test_a_client_that_trusts_the_certificate_reaches_the_toolbox_over_tls(tls_server: Settings) -> None:
    context = ssl.create_default_context(cafile=tls_server.data / "tls" / "certificate.pem")
    for host in ("127.0.0.1", "localhost"):
        url = f"https://{host}:{tls_server.port}/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
        answer = httpx.get(url, params={"f": "json"}, verify=context)
        assert answer.json()["currentVersion"] == 11.5
        assert "server" not in answer.headers


def test_health_says_what_works(client: TestClient) -> None:
    assert client.get("/livez").text == "ok\n"
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert set(ready.text.split("\n")) == {"portal: ok", "jobs: ok", "items: ok", "disk: ok", ""}


def test_health_says_what_does_not_work(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    app = create_app(settings, InlineExecutor(lambda *_: None))  # type: ignore[arg-type,return-value]
    with TestClient(app) as client:
        app.state.rooms.portal.database.close()
        (tmp_path / "data" / "portal.sqlite").unlink()
        ready = client.get("/readyz")

    assert ready.status_code == 503
    assert "portal: failed" in ready.text


def test_metrics_are_lines_of_name_and_number(client: TestClient) -> None:
    client.get("/livez")
    lines = client.get("/metrics").text.splitlines()

    assert all(line.startswith("raster_analysis_") for line in lines)
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in lines)
    assert any(line.startswith('raster_analysis_http_answers_total{status="200"}') for line in lines)


def test_the_front_door_leads_to_the_directory(client: TestClient) -> None:
    answer = client.get("/")

    assert answer.status_code == 302
    assert answer.headers["location"] == "/arcgis/rest/services"


def test_the_directory_lists_folders_and_the_toolbox(client: TestClient) -> None:
    root = client.get("/arcgis/rest/services", params={"f": "json"}).json()
    system = client.get("/arcgis/rest/services/System", params={"f": "json"}).json()
    info = client.get("/arcgis/rest/info", params={"f": "json"}).json()

    assert root == {"currentVersion": 11.5, "folders": ["Hosted", "System"], "services": []}
    assert system["services"] == [{"name": "System/RasterAnalysisTools", "type": "GPServer"}]
    assert info["authInfo"]["tokenServicesUrl"].endswith("/portal/sharing/rest/generateToken")


def test_a_second_server_on_a_data_folder_is_refused_before_it_listens(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(StoreError, match=r"another server \(process \d+\) uses this data folder"):
        serve(Settings(data=tmp_path, http=True))
    first.release()


def test_the_ids_that_unfinished_jobs_name_are_found_wherever_they_stand() -> None:
    item, upload, service = "0a" * 16, "i" + "1b" * 16, "2c" * 16
    form = {
        "inputRaster": json.dumps({"itemIds": [upload], "itemsOnServer": True}),
        "model": item,
        "outputObjects": json.dumps({"itemProperties": {"itemId": service}}),
    }
    job = new_job("EchoText", form, "alice", dt.datetime.now(dt.UTC))
    assert named_ids([job]) == {item, upload, service}
