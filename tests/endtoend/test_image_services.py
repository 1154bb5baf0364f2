"""A job whose raster is an image service of another server."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from raster_analysis.tools import TOOLS

from raster_analysis.errors import RasterError
from raster_analysis.handle import Handle, RemoteImage
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.perform import perform_all
from raster_analysis.rasters.fetching import ImageServices
from raster_analysis.rasters.resolver import resolve_package, resolve_raster
from raster_analysis.rasters.service_hosts import ServiceHosts
from raster_analysis.tool import Context
from raster_analysis.worker import make_bench

sys.path.insert(0, str(Path(__file__).parents[1] / "rasters"))

from image_server import serving

EXTENT = {"xmin": 500_100, "ymin": 3_999_600, "xmax": 500_300, "ymax": 3_999_900}


@pytest.mark.parametrize("place", [{}, {"extent": EXTENT}, {"extent": EXTENT, "cellSize": 4}], ids=str)
def test_a_job_on_a_service_gives_what_the_file_behind_it_gives(raster, classifier, tmp_path, place):

    with serving(raster, maxImageWidth=128, maxImageHeight=100) as server:
        images = ImageServices(ServiceHosts.of((), (server.host,)), 10**9)
        bench = make_bench(2**30, tmp_path / "unpacked", threads=1, images=images)
        remote = Handle("raster", "", server.url, remote=RemoteImage(server.url))
        outputs = [
            run(bench, handle, classifier, tmp_path / name / "1", place)
            for name, handle in (("local", resolve_raster(str(raster))), ("remote", remote))
        ]
    with rasterio.open(outputs[0]) as local, rasterio.open(outputs[1]) as fetched:
        assert local.transform == fetched.transform
        np.testing.assert_array_equal(local.read(1), fetched.read(1))


def test_without_a_list_of_servers_none_is_asked(raster, classifier, tmp_path):
    with serving(raster) as server:
        remote = Handle("raster", "", server.url, remote=RemoteImage(server.url))
        with pytest.raises(RasterError, match="inputRaster: image services of other servers cannot be read here"):
            run(make_bench(2**30, tmp_path / "unpacked"), remote, classifier, tmp_path / "job" / "1", {})
        assert server.seen == []


def run(bench, handle, package, folder, place):
    folder.mkdir(parents=True)
    context = Context(
        folder=folder, handles={"inputRaster": handle, "model": resolve_package(str(package))}, report=ListReporter(),
        rasters=bench.rasters, models=bench.models, features=bench.features, memory_limit=2**30, threads=1,
        images=bench.images,
    )  # fmt: skip
    names = {"inputRaster": "a", "model": "b", "outputClassifiedRaster": "Out", "context": place}
    (output,) = perform_all(TOOLS["ClassifyPixelsUsingDeepLearning"], names, context)
    return output.path
