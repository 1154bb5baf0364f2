"""Debian's GDAL, unmodified, reads an image service with its WMS driver; its own warp is the oracle for ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
from live_server import LiveServer, add_users
from served import find_program

sys.path.insert(0, str(Path(__file__).parents[1] / "rest"))

from imagery import CLASSES, HEIGHT, PLACE, WIDTH, land_cover, publish, write_cover

from raster_analysis.portal.portal import Portal, Settings

BOUNDS = (500_000.0, 4_000_000.0 - 2 * HEIGHT, 500_000.0 + 2 * WIDTH, 4_000_000.0)
AGS = """<GDAL_WMS>
  <Service name="AGS">
    <ServerUrl>{server}</ServerUrl>
    <BBoxOrder>xyXY</BBoxOrder>
    <SRS>{srs}</SRS>
    <ImageFormat>{format}</ImageFormat>
    <Transparent>true</Transparent>
  </Service>
  <DataWindow>
    <UpperLeftX>{bounds[0]}</UpperLeftX><UpperLeftY>{bounds[3]}</UpperLeftY>
    <LowerRightX>{bounds[2]}</LowerRightX><LowerRightY>{bounds[1]}</LowerRightY>
    <SizeX>{size[0]}</SizeX><SizeY>{size[1]}</SizeY>
  </DataWindow>
  <Projection>EPSG:{srs}</Projection>
  <BandsCount>{bands}</BandsCount>
  <BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>
</GDAL_WMS>"""


@dataclass(frozen=True)
class Served:
    """A running server with an image service `cover`, and the file behind it."""

    server: LiveServer
    file: Path
    folder: Path

    @property
    def token(self) -> str:
        return self.server.tokens["ann"]

    @property
    def service(self) -> str:
        return f"{self.server.url}/arcgis/rest/services/Hosted/cover/ImageServer"

    def export(self, **fields: Any) -> bytes:
        answer = httpx.get(f"{self.service}/exportImage", params={"f": "image", "token": self.token, **fields})
        assert answer.headers["content-type"].startswith("image/"), answer.text
        return answer.content

    def describe(self, **values: Any) -> Path:
        """Write the XML with which GDAL reads the service."""
        path = self.folder / "cover.xml"
        path.write_text(AGS.format(server=f"{self.service}/exportImage?token={self.token}", **values))
        return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    find_program("gdal_translate")
    folder = tmp_path_factory.mktemp("image")
    server = LiveServer(folder)
    file = write_cover(folder / "cover.tif")
    server.tokens = add_users(server.data, server.url)
    portal = Portal(Settings(server.data, server.url))
    try:
        publish(portal, portal.users.get("ann"), "cover", file)
    finally:
        portal.close()
    try:
        server.start()
        yield Served(server, file, folder)
    finally:
        server.stop()


def run(program: str, *arguments: object, folder: Path) -> str:
    """Return what a GDAL program prints; it keeps its cache of tiles in a folder of the test."""
    done = subprocess.run(
        [find_program(program), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120, cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "GDAL_DEFAULT_WMS_CACHE_PATH": str(folder / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    return done.stdout


def test_gdal_reads_every_pixel_of_the_raster_through_the_service(served: Served, tmp_path: Path) -> None:
    xml = served.describe(format="tiff", bounds=BOUNDS, size=(WIDTH, HEIGHT), bands=1, srs=32616)
    run("gdal_translate", "-q", xml, tmp_path / "read.tif", folder=tmp_path)
    with rasterio.open(tmp_path / "read.tif") as read:
        assert np.array_equal(read.read(1), land_cover())
        assert read.transform == PLACE


def test_gdal_reads_the_colours_and_what_is_transparent(served: Served, tmp_path: Path) -> None:
    xml = served.describe(format="png32", bounds=BOUNDS, size=(WIDTH, HEIGHT), bands=4, srs=32616)
    run("gdal_translate", "-q", xml, tmp_path / "read.tif", folder=tmp_path)
    with rasterio.open(tmp_path / "read.tif") as read:
        shown = np.moveaxis(read.read(), 0, -1)
    cover = land_cover()
    for entry in CLASSES:
        assert (shown[cover == entry.value] == (*entry.color, 255)).all()
    assert (shown[cover == 0][:, 3] == 0).all()


def test_gdal_identifies_a_pixel(served: Served, tmp_path: Path) -> None:
    xml = served.describe(format="tiff", bounds=BOUNDS, size=(WIDTH, HEIGHT), bands=1, srs=32616)
    assert land_cover()[10, 200] == 7
    told = run("gdallocationinfo", "-valonly", xml, 200, 10, folder=tmp_path)
    assert "7" in told.splitlines()


def test_an_exported_tiff_is_a_geotiff_to_gdal(served: Served, tmp_path: Path) -> None:
    (tmp_path / "part.tif").write_bytes(
        served.export(bbox="500200,3999400,500400,3999800", bboxSR=32616, size="100,200", format="tiff")
    )
    told = run("gdalinfo", "part.tif", folder=tmp_path)
    for fact in ("Size is 100, 200", "(500200.0", "Pixel Size = (2.0", 'ID["EPSG",32616]', "NoData Value=0"):
        assert fact in told
    with rasterio.open(tmp_path / "part.tif") as part, rasterio.open(served.file) as file:
        assert np.array_equal(part.read(1), file.read(1)[100:300, 100:200])


def test_a_picture_in_web_mercator_is_what_gdalwarp_makes(served: Served, tmp_path: Path) -> None:
    bounds = rasterio.warp.transform_bounds("EPSG:32616", "EPSG:3857", *BOUNDS)
    corners = [str(value) for value in bounds]
    (tmp_path / "ours.tif").write_bytes(
        served.export(bbox=",".join(corners), bboxSR=102100, imageSR=102100, size="800,600", format="tiff")
    )
    warp = ["-q", "-t_srs", "EPSG:3857", "-r", "near", "-et", "0", "-te", *corners, "-ts", "800", "600", "-ovr", "NONE"]
    run("gdalwarp", *warp, served.file, "theirs.tif", folder=tmp_path)
    with rasterio.open(tmp_path / "ours.tif") as ours, rasterio.open(tmp_path / "theirs.tif") as theirs:
        same = ours.read(1) == theirs.read(1)
    # The rest lies on edges of classes: coordinates are approximated to an eighth of a pixel, as GDAL does itself.
    assert same.mean() > 0.995


def test_gdal_finds_the_tiles_by_itself(served: Served, tmp_path: Path) -> None:
    url = f"{served.service}?f=json&token={served.token}"
    told = run("gdalinfo", url, folder=tmp_path)
    assert "Driver: WMS" in told
    assert 'ID["EPSG",3857]' in told
