"""Composition root of the server: settings to implementations to an ASGI app. It imports neither torch nor GDAL."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from raster_analysis.errors import StoreError
from raster_analysis.executors.processes import ProcessExecutor
from raster_analysis.executors.readers import ReaderPool
from raster_analysis.handle import Handle
from raster_analysis.jobs.conductor import Policy
from raster_analysis.jobs.dispatcher import Dispatcher
from raster_analysis.jobs.job import Job
from raster_analysis.jobs.store import Store
from raster_analysis.ogc.dialect import OGC
from raster_analysis.ogc.endpoints import ogc_endpoints
from raster_analysis.ogc.links import ROOT as OGC_ROOT
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.portal import Settings as PortalSettings
from raster_analysis.portal.storage import require
from raster_analysis.question import Readers
from raster_analysis.rasters.gdal_environment import GDAL_ENVIRONMENT
from raster_analysis.rasters.service_hosts import ServiceHosts
from raster_analysis.rest.certificate import CertificateFiles, ensure_certificate
from raster_analysis.rest.connections import Connections, count_affordable, protocol_class
from raster_analysis.rest.data_stores import DataStores
from raster_analysis.rest.directory import Directory
from raster_analysis.rest.doors import Doors
from raster_analysis.rest.endpoint import Desk, Endpoint, reading
from raster_analysis.rest.feature_source import FeatureSources
from raster_analysis.rest.featureserver import FeatureServer
from raster_analysis.rest.gpserver import GPServer
from raster_analysis.rest.health import Checks, Health
from raster_analysis.rest.home import Home
from raster_analysis.rest.image_source import ImageSources
from raster_analysis.rest.image_ticket import TicketOffice
from raster_analysis.rest.imageserver import ImageServer
from raster_analysis.rest.journal import Journal
from raster_analysis.rest.login import Login
from raster_analysis.rest.oauth import OAuth
from raster_analysis.rest.pages import Pages
from raster_analysis.rest.preview import Previews
from raster_analysis.rest.sharing import sharing_endpoints
from raster_analysis.rest.site import Lifespan, make_site
from raster_analysis.rest.toolbox_info import ToolboxInfo
from raster_analysis.rest.uploads import UploadRoutes
from raster_analysis.rest.urls import Urls
from raster_analysis.settings import Settings
from raster_analysis.task import Executor
from raster_analysis.tool import Tool
from raster_analysis.tools import TOOLS

logger = logging.getLogger(__name__)

Tools = Mapping[str, Tool[Any]]

_SLOT_ENTRY = "raster_analysis.worker:open_bench"
"""By name only: importing it would bring torch and GDAL into the server."""
_READER_ENTRY = "raster_analysis.reader:open_answerer"

_NO_KEYS = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "")
"""Those of the bucket of items are the server's alone: other processes run code and read files of users."""

_KEEP_ALIVE_S = 75
"""Longer than clients pause between polls: a connection closed under a submitJob is lost work (contract 12.4)."""
_TIDY_S = 3600
_ID = re.compile(r"i?[0-9a-f]{32}")
"""An item's id, or with the letter in front an upload's."""
_FREE_BYTES = 256 * 1024**2
"""Below this the server says that it is not ready (guess)."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What one server is made of."""

    settings: Settings
    portal: Portal
    store: Store
    dispatcher: Dispatcher
    readers: Readers

    def close(self) -> None:
        """Stop the work, then let go of the files."""
        self.dispatcher.close()
        self.readers.close()
        self.store.close()
        self.portal.close()


def open_rooms(
    settings: Settings, executor: Executor | None = None, *, tools: Tools = TOOLS, readers: Readers | None = None
) -> Rooms:
    """Open the data folder; no job runs before the dispatcher is started."""
    settings.data.mkdir(parents=True, exist_ok=True)
    portal = Portal(
        PortalSettings(
            settings.data,
            settings.public_url,
            stores=settings.stores,
            name=settings.portal_name,
            upload_limit=settings.upload_limit,
            user_quota=settings.user_quota,
            item_storage=settings.item_storage,
            item_cache=settings.item_cache,
            image_hosts=ServiceHosts.of(settings.image_hosts, settings.private_image_hosts),
        )
    )
    store = _sweep(portal, settings.data / "jobs.sqlite")
    dispatcher = Dispatcher(
        tools,
        store,
        executor
        or ProcessExecutor(
            _SLOT_ENTRY, [{**_NO_KEYS, **GDAL_ENVIRONMENT, **slot} for slot in settings.slot_environments()]
        ),
        portal,
        settings.data,
        policy=_policy(settings),
    )
    readers = readers or ReaderPool(_READER_ENTRY, {**_NO_KEYS, **GDAL_ENVIRONMENT}, count=settings.readers)
    return Rooms(settings, portal, store, dispatcher, readers)


def _sweep(portal: Portal, jobs: Path) -> Store:
    """Open the job store and remove what a crash left; raises StoreError when files of items cannot be reached."""
    try:
        store = Store.open(jobs)
    except StoreError:
        portal.close()
        raise
    try:
        portal.sweep(store.pinned_digests())
    except StoreError:
        store.close()
        portal.close()
        raise
    return store


def _policy(settings: Settings) -> Policy:
    limit_s = settings.job_limit_hours * 3600 if settings.job_limit_hours else None
    return Policy(dt.timedelta(days=settings.job_retention_days), limit_s, settings.jobs_per_user)


def create_app(
    settings: Settings, executor: Executor | None = None, *, tools: Tools = TOOLS, readers: Readers | None = None
) -> Starlette:
    """Return the server as an ASGI app; its jobs run between the start and the end of its lifespan."""
    rooms = open_rooms(settings, executor, tools=tools, readers=readers)
    urls = Urls(settings.public_url)
    answers: Counter[int] = Counter()
    portal, pages = rooms.portal, Pages(urls, settings.portal_name)
    desk = Desk(portal.tokens, pages, settings.form_limit, portal.uploads, room=portal.quota.room)
    journal = Middleware(Journal, answers=answers)
    endpoints = list_endpoints(rooms, urls, answers)
    app = make_site(desk, endpoints, lifespan=_lifespan(rooms), middleware=[journal], dialects={OGC_ROOT: OGC})
    app.state.rooms = rooms
    return app


def list_endpoints(rooms: Rooms, urls: Urls, answers: Mapping[int, int]) -> list[Endpoint]:
    """Return every route of the server but those of the site itself."""
    portal = rooms.portal
    doors = Doors(portal.users, portal.tokens, portal.throttle)
    images = ImageSources(portal.items, portal.services, portal.stores, rooms.readers)
    features = FeatureSources(portal.items, portal.services, rooms.readers)
    layers = (
        _previews(rooms),
        ImageServer(images, portal.users, urls, TicketOffice(secrets.token_bytes(32), time.time)),
        FeatureServer(features),
    )
    toolbox = (
        ToolboxInfo(),
        UploadRoutes(portal.input_uploads, portal.uploads.limit),
        GPServer(rooms.dispatcher.tools, rooms.dispatcher, urls, lambda job: _input_of(rooms, job)),
    )
    services = (
        Login(doors, urls),
        OAuth(doors, urls, time.time),
        Directory(urls, portal.items),
        Home(portal, urls),
        DataStores(portal.stores),
        Health(_checks(rooms), lambda: _gauges(rooms, answers)),
    )
    read = reading(endpoint for layer in layers for endpoint in layer.endpoints())
    polled, own = ([endpoint for each in group for endpoint in each.endpoints()] for group in (toolbox, services))
    # Routes are tried in order: polls, which a server answers most, come first.
    return [*polled, *read, *own, *sharing_endpoints(portal, urls), *_ogc(rooms, urls, features)]


def _ogc(rooms: Rooms, urls: Urls, features: FeatureSources) -> list[Endpoint]:
    return ogc_endpoints(
        rooms.dispatcher, urls, rooms.settings.portal_name, items=rooms.portal.items, features=features
    )


def _previews(rooms: Rooms) -> Previews:
    return Previews(rooms.readers, rooms.portal.layer, lambda job: _input_of(rooms, job), rooms.dispatcher.get)


def _input_of(rooms: Rooms, job: Job) -> Handle | None:
    tool = rooms.dispatcher.tools[job.tool]
    return rooms.portal.bind_raster(tool, tool.parse(job.form), job.user)


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    app = create_app(settings)
    rooms: Rooms = app.state.rooms
    try:
        # Here and not only when the lifespan starts, where the refusal would come as a trace.
        rooms.dispatcher.take_folder()
    except StoreError:
        rooms.close()
        raise
    logger.info("serving %s", settings.public_url)
    uvicorn.Server(make_config(app, settings)).run()


def make_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    """Return how the app is served: over TLS unless the settings say otherwise, and quiet about itself."""
    tls = None if settings.http else _certificate(settings)
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,
        http=protocol_class(Connections(count_affordable())),
    )


def _certificate(settings: Settings) -> CertificateFiles:
    if settings.certificate and settings.key:
        return CertificateFiles(settings.certificate, settings.key)
    host = urlsplit(settings.public_url).hostname or settings.host
    return ensure_certificate(settings.data / "tls", host, now=dt.datetime.now(dt.UTC))


def _lifespan(rooms: Rooms) -> Lifespan:
    @asynccontextmanager
    async def run(_app: Starlette) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy_every_hour(rooms))
        try:
            await run_in_threadpool(rooms.readers.start)
            await run_in_threadpool(rooms.dispatcher.start)
            yield
        finally:
            tidying.cancel()
            await run_in_threadpool(rooms.close)

    return run


async def _tidy_every_hour(rooms: Rooms) -> None:
    while True:
        try:
            await run_in_threadpool(lambda: rooms.portal.tidy(named_ids(rooms.store.unfinished())))
        except Exception:
            logger.exception("uploads and empty services could not be tidied; the next try is in an hour")
        await asyncio.sleep(_TIDY_S)


def named_ids(jobs: Iterable[Job]) -> set[str]:
    """Return the ids of items and uploads that the parameters of jobs name, wherever they stand."""
    return {found for job in jobs for found in _ID.findall(json.dumps(job.form))}


def _checks(rooms: Rooms) -> Checks:
    return {
        "portal": lambda: rooms.portal.users.list() is not None,
        "jobs": lambda: rooms.store.of_user("", limit=1) == [],
        "items": lambda: require(rooms.portal.storage),
        "disk": lambda: shutil.disk_usage(rooms.settings.data).free > _FREE_BYTES,
    }


def _gauges(rooms: Rooms, answers: Mapping[int, int]) -> dict[str, float]:
    jobs = rooms.store.count_unfinished()
    return {
        "slots": rooms.dispatcher.executor.slots,
        "disk_free_bytes": shutil.disk_usage(rooms.settings.data).free,
        **{f'jobs{{status="{status}"}}': count for status, count in jobs.items()},
        **{f'http_answers_total{{status="{status}"}}': count for status, count in answers.items()},
    }
