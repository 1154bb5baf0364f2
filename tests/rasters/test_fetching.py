"""Image services of other servers, over real HTTP on loopback."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from image_server import (
    SERVICE,
    Fault,
    ImageServer,
    cut,
    elsewhere,
    endless,
    html,
    other_size,
    partial,
    refusal,
    serving,
    short,
    silent,
    slow_headers,
    status,
    trickle,
)

from raster_analysis.errors import BudgetError, Cancelled, NoOverlap, RasterError
from raster_analysis.handle import Handle, RemoteImage
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.inputs import ProcessingContext
from raster_analysis.rasters import fetching
from raster_analysis.rasters.fetching import ImageServices
from raster_analysis.rasters.pinned_http import Patience
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rasters.service_hosts import ServiceHosts
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import Wanted

QUICK = Patience(connect_s=1, idle_s=0.3, total_s=0.6, tries=3, pause_s=0.01)
PLACE = Affine(2, 0, 500_000, 0, -2, 4_000_000)
WHOLE = Wanted("inputRaster", ProcessingContext())


@pytest.fixture
def pixels() -> np.ndarray:
    pixels = np.random.default_rng(8).integers(0, 60_000, (2, 75, 90)).astype(np.uint16)
    pixels[:, 10:20, 10:20] = 65_535
    return pixels


@pytest.fixture
def server(tmp_path: Path, pixels: np.ndarray) -> Iterator[ImageServer]:
    bands, height, width = pixels.shape
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", count=bands, height=height, width=width, dtype="uint16",
        crs="EPSG:32616", transform=PLACE, nodata=65_535,
    ) as sink:  # fmt: skip
        sink.write(pixels)
    with serving(tmp_path / "scene.tif") as server:
        yield server


@pytest.fixture
def services(server: ImageServer) -> ImageServices:
    return ImageServices(ServiceHosts.of((), (server.host,)), 10**9, QUICK)


Fetch = Callable[..., Handle]


@pytest.fixture
def fetch(services: ImageServices, server: ImageServer, tmp_path: Path) -> Fetch:
    def run(wanted: Wanted = WHOLE, token: str | None = None, services: ImageServices = services) -> Handle:
        handle = Handle("raster", "", server.url, remote=RemoteImage(server.url, token))
        return services.fetch(handle, wanted, tmp_path / "inputs", ListReporter())

    return run


def read(handle: Handle) -> tuple[np.ndarray, np.ndarray, Affine]:
    rasters = GdalRasters()
    view = rasters.view(handle, [0, 1], ProcessingContext())
    with rasters.open(view) as reader:
        found = reader.read(view.grid.window)
    return found.data, found.mask, view.grid.transform


def test_a_service_becomes_a_local_raster_pixel_by_pixel(fetch: Fetch, server: ImageServer, pixels: np.ndarray) -> None:
    data, mask, transform = read(fetch())
    assert transform == PLACE
    np.testing.assert_array_equal(mask, pixels[0] != 65_535)
    np.testing.assert_array_equal(data, np.where(mask, pixels, 0))
    exports = [query for query in server.seen if query["path"].endswith("exportImage")]
    assert len(exports) == 3 * 3
    assert all(int(query["size"].split(",")[0]) <= 40 and int(query["size"].split(",")[1]) <= 30 for query in exports)
    assert {query["format"] for query in exports} == {"tiff"}


def test_nodata_of_one_band_and_the_number_of_bands_are_those_of_the_file(
    fetch: Fetch, server: ImageServer, pixels: np.ndarray
) -> None:
    with rasterio.open(server.path, "r+") as scene:
        pixels[0, 40:45, 50:55] = 65_535
        scene.write(pixels)
    local, remote = resolve_raster(str(server.path)), fetch()
    for given, fetched in zip(read(local), read(remote), strict=True):
        np.testing.assert_array_equal(given, fetched)
    with rasterio.open(remote.path) as copy:
        assert (copy.count, copy.nodata) == (2, 65_535)


def test_only_the_extent_and_what_tiles_look_at_around_it_is_fetched(
    fetch: Fetch, server: ImageServer, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PADDING_PX", 4)
    extent = {"xmin": 500_040, "ymin": 3_999_920, "xmax": 500_060, "ymax": 3_999_940}
    data, mask, transform = read(fetch(Wanted("a", ProcessingContext.model_validate({"extent": extent}))))
    assert transform == Affine(2, 0, 500_032, 0, -2, 3_999_948)
    np.testing.assert_array_equal(data, np.where(mask, pixels[:, 26:44, 16:34], 0))
    far = ProcessingContext.model_validate({"extent": {"xmin": 0, "ymin": 0, "xmax": 9, "ymax": 9}})
    with pytest.raises(NoOverlap, match="lies outside image service"):
        fetch(Wanted("b", far))


def test_for_cell_sizes_and_snapping_only_the_description_is_read(fetch: Fetch, server: ImageServer) -> None:
    handle = fetch(Wanted("context.snapRaster", ProcessingContext(), pixels=False))
    assert GdalRasters().describe(handle).grid.transform == PLACE
    assert [query["path"] for query in server.seen] == [SERVICE]


def test_after_a_crash_only_what_is_missing_is_fetched(fetch: Fetch, server: ImageServer, tmp_path: Path) -> None:
    server.faults = [lambda handler, body: handler.answer(body, "image/tiff")] * 4 + [refusal]
    with pytest.raises(RasterError, match="Image size is too large"):
        fetch()
    kept = sorted(path.name for path in (tmp_path / "inputs" / "inputRaster-blocks").glob("*.tif"))
    assert len(kept) == 4
    server.seen.clear()
    handle = fetch()
    assert len([query for query in server.seen if query["path"].endswith("exportImage")]) == 5
    assert sorted(path.name for path in (tmp_path / "inputs").iterdir()) == ["inputRaster.tif"]
    server.seen.clear()
    assert fetch() == handle
    assert server.seen == []


@pytest.mark.parametrize(
    ("faults", "requests"),
    [([status(503), status(503)], 11), ([short], 10), ([silent], 10), ([trickle], 10), ([status(429), short], 11)],
    ids=["503 twice", "wrong length", "hangs", "1 byte at a time", "429 and short"],
)
def test_R13_a_moment_of_weakness_is_got_over(
    fetch: Fetch, server: ImageServer, faults: list[Fault], requests: int
) -> None:
    server.faults = list(faults)
    fetch()
    assert len([query for query in server.seen if query["path"].endswith("exportImage")]) == requests


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(503), r"answers with HTTP status 503 \(3 tries\)"),
        (status(404), "answers with HTTP status 404"),
        (partial, "answers with HTTP status 206"),
        (html, "answers with an HTML page instead of a TIFF"),
        (refusal, r"refuses: Image size is too large \(code 400\)"),
        (short, r"sent [\d,]+ of [\d,]+ bytes \(3 tries\)"),
        (cut, "cannot be read"),
        (endless, "sends more than the .* bytes that were asked for"),
        (silent, r"did not answer in time \(3 tries\)"),
        (trickle, r"sent .* bytes .*\(3 tries\)"),
        (slow_headers, r"sent 0 bytes in 0\.6 s and was given up \(3 tries\)"),
        (other_size, "answers with 30 x 41 pixels .* where 30 x 40 of 2 were asked for"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_R13_a_server_that_stays_broken_is_a_clear_failure_in_time(
    fetch: Fetch, server: ImageServer, tmp_path: Path, fault: Fault, words: str
) -> None:
    server.faults = [fault] * 3
    started = time.monotonic()
    with pytest.raises(RasterError, match=words) as refused:
        fetch()
    assert time.monotonic() - started < 4
    assert server.url in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    assert not (tmp_path / "inputs" / "inputRaster.tif").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixelType": "C64"}, "pixel type 'C64'"),
        ({"bandCount": 0}, "bandCount"),
        ({"pixelSizeX": 0}, "pixelSizeX"),
        ({"pixelSizeX": float("nan")}, "pixelSizeX"),
        ({"extent": {"xmin": 1, "ymin": 1, "xmax": 0, "ymax": 0}}, "extent"),
        ({"extent": {"xmin": 0, "ymin": 0, "xmax": 1e-9, "ymax": 1}, "spatialReference": {"wkid": 3857}}, "0 pixels"),
        ({"error": {"code": 499, "message": "no\nrights"}}, r"refuses: no rights \(code 499\)"),
        ({"pixelSizeX": 1e-4, "pixelSizeY": 1e-4}, "GB are allowed; give a smaller extent"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(
    fetch: Fetch, server: ImageServer, change: dict[str, object], words: str
) -> None:
    server.document = change
    with pytest.raises((RasterError, BudgetError), match=words):
        fetch()


def test_too_large_a_part_is_refused_with_figures(fetch: Fetch, services: ImageServices, server: ImageServer) -> None:
    with pytest.raises(BudgetError, match=r"75 x 90 pixels, 0\.00 GB, and 0\.00 GB are allowed"):
        fetch(services=replace(services, limit=26_999))
    assert [query["path"] for query in server.seen] == [SERVICE]


def test_a_token_goes_to_the_server_and_into_no_log_or_message(
    fetch: Fetch, server: ImageServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.token = "s3cret"
    caplog.set_level(logging.DEBUG)
    fetch(token="s3cret")
    assert {query["token"] for query in server.seen} == {"s3cret"}
    with pytest.raises(RasterError, match="Invalid Token") as refused:
        fetch(Wanted("b", ProcessingContext()), token="wr0ng")
    assert "wr0ng" not in str(refused.value) + caplog.text
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(RemoteImage("https://h/ImageServer", "s3cret"))


def test_R14_a_token_that_expires_on_the_way_is_a_clear_failure_and_nothing_is_fetched_twice(
    fetch: Fetch, server: ImageServer, pixels: np.ndarray
) -> None:
    def expire(handler: object, body: bytes) -> None:
        server.token = "second"
        handler.answer(body, "image/tiff")  # type: ignore[attr-defined]

    server.token = "first"
    server.faults = [expire]
    with pytest.raises(RasterError, match=r"refuses: Invalid Token\. \(code 498\)"):
        fetch(token="first")
    server.seen.clear()
    data, mask, _ = read(fetch(token="second"))
    assert len([query for query in server.seen if query["path"].endswith("exportImage")]) == 8
    np.testing.assert_array_equal(data, np.where(mask, pixels, 0))


def test_a_job_that_is_cancelled_stops_fetching(services: ImageServices, server: ImageServer, tmp_path: Path) -> None:
    handle = Handle("raster", "", server.url, remote=RemoteImage(server.url))
    with pytest.raises(Cancelled):
        services.fetch(handle, WHOLE, tmp_path / "inputs", ListReporter(cancel_after=12))
    assert len(server.seen) < 8


def test_redirects_are_followed_to_servers_on_the_list_and_no_further(
    fetch: Fetch, server: ImageServer, tmp_path: Path, pixels: np.ndarray
) -> None:
    def again(handler: object, _body: bytes) -> None:
        elsewhere(handler.path)(handler, b"")  # type: ignore[attr-defined]

    server.faults = [again] * 3
    assert read(fetch())[1].any()
    server.faults = [again] * 4
    with pytest.raises(RasterError, match="redirects more than 3 times"):
        fetch(Wanted("b", ProcessingContext()))
    with serving(tmp_path / "scene.tif") as internal:
        for location in (internal.url, "http://169.254.169.254/latest", "file:///etc/passwd", "gopher://127.0.0.1/x"):
            server.faults = [elsewhere(location)]
            with pytest.raises(RasterError, match="redirects to"):
                fetch(Wanted("c", ProcessingContext()))
        assert internal.seen == []
