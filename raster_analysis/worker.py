"""Composition root of a slot: the process that reads pixels and runs models.

The server's is `app.py`, which imports neither torch nor GDAL; it knows this one by name only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raster_analysis.layers.features import OgrFeatures
from raster_analysis.models.load import PackageModels
from raster_analysis.perform import perform
from raster_analysis.rasters.fetching import ImageServices
from raster_analysis.rasters.gdal_log import quiet_gdal
from raster_analysis.rasters.service_hosts import ServiceHosts
from raster_analysis.rasters.source import GdalRasters
from raster_analysis.seams import Features, Images, Models, Rasters, Reporter
from raster_analysis.settings import Settings
from raster_analysis.task import Done, Task
from raster_analysis.tool import Context
from raster_analysis.tools import TOOLS


@dataclass(frozen=True, slots=True)
class Bench:
    """What a slot keeps between tasks."""

    rasters: Rasters
    models: Models
    features: Features
    memory_limit: int
    threads: int = 0
    """CPU threads of a network; 0: all cores."""
    images: Images | None = None

    def run(self, task: Task, report: Reporter) -> Done:
        """Run one task in the job's folder."""
        context = Context(
            folder=Path(task.folder),
            handles=task.handles,
            report=report,
            rasters=self.rasters,
            models=self.models,
            features=self.features,
            memory_limit=self.memory_limit,
            threads=self.threads,
            images=self.images,
        )
        return perform(task, TOOLS, context)


def open_bench() -> Callable[[Task, Reporter], Done]:
    """Return what runs a slot's tasks; settings come from the environment, as in the server."""
    quiet_gdal()
    settings = Settings()
    # The portal's own copies: a package that is described before it is published is unpacked once for both.
    hosts = ServiceHosts.of(settings.image_hosts, settings.private_image_hosts)
    images = ImageServices(hosts, settings.image_limit)
    return make_bench(settings.memory_limit, settings.data / "packages", threads=settings.threads, images=images).run


def make_bench(memory_limit: int, packages: Path, *, threads: int = 0, images: Images | None = None) -> Bench:
    """Put the real implementations together; `packages` is where archives are unpacked."""
    return Bench(GdalRasters(), PackageModels(packages), OgrFeatures(), memory_limit, threads, images)
