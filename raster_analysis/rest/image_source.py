"""The raster behind an image service: found with the caller's rights, described once for each version of its file."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import JsonValue

from raster_analysis.composite import parse_composite
from raster_analysis.errors import AccessError
from raster_analysis.handle import Handle
from raster_analysis.portal.items import Items
from raster_analysis.portal.services import ServiceKind, ServiceName, Services
from raster_analysis.portal.stores import Stores
from raster_analysis.portal.users import User, require_publisher
from raster_analysis.question import Content, Question, Readers
from raster_analysis.rasters.resolver import resolve_raster
from raster_analysis.rest.envelope import Refusal

_MOST_FACTS = 500

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One raster as a service shows it."""

    name: str
    handle: Handle | None
    """None: no job has filled the service yet."""
    item_id: str | None = None
    description: str = ""
    copyright: str = ""

    @property
    def raster(self) -> Handle:
        """Return the raster; raises Refusal when there is none yet."""
        if self.handle is None:
            raise Refusal(400, f"Service {self.name!r} holds no data yet; a job fills it.")
        return self.handle


class ImageSources:
    """Finds rasters, and asks readers about them."""

    def __init__(self, items: Items, services: Services, stores: Stores, readers: Readers) -> None:
        self._items, self._services, self._stores = items, services, stores
        self._readers = readers
        self._facts: OrderedDict[Handle, Facts] = OrderedDict()
        self._lock = Lock()

    def hosted(self, name: str, visitor: User | None) -> ImageSource:
        """Return the raster of a hosted service; raises AccessError when it is missing or not for this user."""
        item = self._services.find(ServiceName(ServiceKind.IMAGERY, name), visitor)
        path = self._items.data_path(item)
        handle = _resolve(path, item.title) if path else None
        return ImageSource(item.name or name, handle, item.id, item.snippet or "")

    def stored(self, reference: str, user: User) -> ImageSource:
        """Return a raster that lies in a registered store; only for those who may give it to a job."""
        require_publisher(user)
        uri = _uri(reference)
        return ImageSource(uri.rpartition("/")[2], _resolve(self._stores.locate(uri), uri))

    def facts(self, handle: Handle) -> Facts:
        """Return what a raster is; the first to ask waits for a reader, the next ones do not."""
        with self._lock:
            known = self._facts.get(handle)
            if known is not None:
                self._facts.move_to_end(handle)
                return known
        facts: Facts = json.loads(self.ask("image_facts", handle).data)
        with self._lock:
            self._facts[handle] = facts
            if len(self._facts) > _MOST_FACTS:
                self._facts.popitem(last=False)
        return facts

    def ask(self, name: str, handle: Handle, arguments: dict[str, JsonValue] | None = None) -> Content:
        """Return a reader's answer about a raster."""
        return self._readers.ask(Question(name, handle, arguments or {}))


def _resolve(path: Path, title: str) -> Handle:
    try:
        return resolve_raster(str(path), title=title)
    except AccessError:  # its message names the path, which is the server's own here
        raise AccessError(f"{title!r} does not exist or is inaccessible") from None


def _uri(reference: str) -> str:
    try:
        found = parse_composite(reference)
    except ValueError:
        found = None
    uri = found.get("uri") if isinstance(found, dict) else None
    if not isinstance(uri, str):
        raise Refusal(400, f"Raster {reference[:80]!r}: want a store path such as /rasterStores/<store>/<file>.")
    return uri
