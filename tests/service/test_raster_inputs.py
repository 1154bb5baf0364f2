"""Two dates, folders, copies and image services of other servers, over REST with a worker of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from live_server import LiveServer
from rio_cogeo.cogeo import cog_validate
from tiny_models import write_package

from raster_analysis.rest_client import RestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "rasters"))

from image_server import ImageServer, serving

CLASSIFY, CHANGE, COPY = "ClassifyPixelsUsingDeepLearning", "DetectChangeUsingDeepLearning", "CopyRaster"
PLACE = Affine(2, 0, 500_000, 0, -2, 4_000_000)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(6).integers(1, 250, (2, 100, 130)).astype(np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Iterator[ImageServer]:
    path = tmp_path_factory.mktemp("images") / "scene.tif"
    write(path, pixels)
    with serving(path, maxImageWidth=64, maxImageHeight=64) as images:
        images.token = "t0ken"
        yield images


@pytest.fixture(scope="module")
def client(make_server: Callable[..., LiveServer], images: ImageServer, pixels: np.ndarray) -> RestClient:
    """A client of a server that may read the image server; in its store two dates, a folder, two models."""
    server = make_server("inputs", environment={"RASTER_ANALYSIS_PRIVATE_IMAGE_HOSTS": json.dumps([images.host])})
    (server.store / "tiles").mkdir(parents=True)
    write(server.store / "before.tif", pixels)
    write(server.store / "after.tif", pixels[:, ::-1], Affine(2, 0, 500_020, 0, -2, 4_000_000))
    write(server.store / "tiles" / "a.tif", pixels[:, :, :70])
    write(server.store / "tiles" / "b.tif", pixels[:, :, 60:], Affine(2, 0, 500_120, 0, -2, 4_000_000))
    write_package(server.store / "two.dlpk", bands=2)
    write_package(server.store / "change.dlpk", bands=4)
    server.start()
    return server.client()


def write(path: Path, pixels: np.ndarray, place: Affine = PLACE) -> None:
    profile = {"driver": "GTiff", "count": len(pixels), "dtype": "uint8", "crs": "EPSG:32616", "transform": place}
    with rasterio.open(path, "w", height=pixels.shape[1], width=pixels.shape[2], **profile) as sink:
        sink.write(pixels)


def result(client: RestClient, path: Path, task: str, **form: Any) -> tuple[np.ndarray, Affine]:
    (value,) = client.run(task, form).values()
    assert client.item(value["itemId"])["type"] == "Image Service"
    assert value["url"].endswith("/ImageServer")
    file = client.download(value["itemId"], path / f"{value['itemId']}.tif")
    assert cog_validate(file)[0]
    with rasterio.open(file) as dataset:
        return dataset.read(), dataset.transform


def test_changes_between_two_dates_become_an_image_service(client: RestClient, tmp_path: Path) -> None:
    found, transform = result(
        client, tmp_path, CHANGE, fromRaster="/fileShares/s/before.tif", toRaster={"uri": "/fileShares/s/after.tif"},
        modelDefinition="/fileShares/s/change.dlpk", outputClassifiedRasterName="Changes",
    )  # fmt: skip
    assert transform == Affine(2, 0, 500_020, 0, -2, 4_000_000)
    assert found.shape == (1, 100, 120)
    assert set(np.unique(found)) <= {1, 2, 3}


def test_a_service_of_another_server_gives_what_a_file_and_a_folder_give(
    client: RestClient, images: ImageServer, tmp_path: Path
) -> None:
    form = {"model": "/fileShares/s/two.dlpk"}
    file, _ = result(
        client, tmp_path, CLASSIFY, inputRaster="/fileShares/s/before.tif", outputClassifiedRaster="F", **form
    )
    remote, _ = result(
        client, tmp_path, CLASSIFY, inputRaster={"url": f"{images.url}?token=t0ken"}, outputClassifiedRaster="R", **form
    )
    np.testing.assert_array_equal(remote, file)
    for each in ("true", "false"):
        folder, _ = result(
            client, tmp_path, CLASSIFY, inputRaster="/fileShares/s/tiles", outputClassifiedRaster=f"T_{each}",
            processAllRasterItems=each, **form,
        )  # fmt: skip
        np.testing.assert_array_equal(folder, file)


def test_a_copy_of_a_service_is_a_service_here(
    client: RestClient, images: ImageServer, pixels: np.ndarray, tmp_path: Path
) -> None:
    extent = {"xmin": 500_040, "ymin": 3_999_900, "xmax": 500_100, "ymax": 3_999_980}
    found, transform = result(
        client, tmp_path, COPY, inputRaster={"url": images.url, "serviceToken": "t0ken"},
        outputName={"serviceProperties": {"name": "Copy"}}, clipSetting=extent,
    )  # fmt: skip
    assert transform == Affine(2, 0, 500_040, 0, -2, 3_999_980)
    np.testing.assert_array_equal(found, pixels[:, 10:50, 20:50])


def test_a_wrong_token_is_told_and_shown_to_nobody(client: RestClient, images: ImageServer) -> None:
    form = {"inputRaster": {"url": f"{images.url}?token=wr0ng"}, "outputName": "Never"}
    document = client.wait(client.submit(COPY, form))
    said = json.dumps(document["messages"])
    assert document["jobStatus"] == "esriJobFailed"
    assert "refuses" in said
    assert "wr0ng" not in said
