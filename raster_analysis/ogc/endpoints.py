"""Every route of the OGC dialect."""

from __future__ import annotations

from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.ogc.collections import Collections
from raster_analysis.ogc.jobs import Jobs
from raster_analysis.ogc.landing import Landing
from raster_analysis.ogc.links import Links
from raster_analysis.ogc.processes import Processes
from raster_analysis.portal.items import Items
from raster_analysis.rest.endpoint import Endpoint, reading
from raster_analysis.rest.feature_source import FeatureSources
from raster_analysis.rest.urls import Urls


def ogc_endpoints(
    dispatcher: Dispatcher, urls: Urls, title: str, *, items: Items, features: FeatureSources
) -> list[Endpoint]:
    """Return the routes below `/ogc`."""
    links = Links(urls.base)
    jobs = Jobs(dispatcher.tools, dispatcher, links)
    services = (
        Landing(title, links),
        Processes(dispatcher.tools, dispatcher, jobs, links),
        jobs,
    )
    own = [endpoint for service in services for endpoint in service.endpoints()]
    return [*own, *reading(Collections(items, features, links).endpoints())]
