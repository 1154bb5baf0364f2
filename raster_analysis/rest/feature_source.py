"""The file behind a feature service: found with the caller's rights, described once for each version of it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import TypeAdapter

from raster_analysis.errors import AccessError
from raster_analysis.handle import Handle, Stamp
from raster_analysis.portal.items import Items
from raster_analysis.portal.services import ServiceKind, ServiceName, Services
from raster_analysis.portal.users import User
from raster_analysis.question import Content, Question, Readers
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.feature_request import FeatureRequest

_MOST_FACTS = 500

LayerFacts = dict[str, Any]
_REQUEST: TypeAdapter[FeatureRequest] = TypeAdapter(FeatureRequest)


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """One file of features as a service shows it."""

    name: str
    item_id: str
    handle: Handle | None
    """None: no job has filled the service yet."""
    description: str = ""

    @property
    def file(self) -> Handle:
        """Return the file; raises Refusal when there is none yet."""
        if self.handle is None:
            raise Refusal(400, f"Service {self.name!r} holds no data yet; a job fills it.")
        return self.handle


class FeatureSources:
    """Finds files of features, and asks readers about them."""

    def __init__(self, items: Items, services: Services, readers: Readers) -> None:
        self._items, self._services, self._readers = items, services, readers
        self._facts: OrderedDict[Handle, Sequence[LayerFacts]] = OrderedDict()
        self._lock = Lock()

    def find(self, name: str, visitor: User | None) -> FeatureSource:
        """Return the file of a service; raises AccessError when it is missing or not for this user."""
        item = self._services.find(ServiceName(ServiceKind.FEATURES, name), visitor)
        path = self._items.data_path(item)
        handle = _handle(path, item.title) if path else None
        return FeatureSource(item.name or name, item.id, handle, item.snippet or "")

    def facts(self, source: FeatureSource) -> Sequence[LayerFacts]:
        """Return what the layers are, none of an empty service; the first to ask waits for a reader."""
        handle = source.handle
        if handle is None:
            return ()
        with self._lock:
            known = self._facts.get(handle)
            if known is not None:
                self._facts.move_to_end(handle)
                return known
        facts: list[LayerFacts] = json.loads(self._readers.ask(Question("feature_facts", handle)).data)
        with self._lock:
            self._facts[handle] = facts
            if len(self._facts) > _MOST_FACTS:
                self._facts.popitem(last=False)
        return facts

    def ask(self, source: FeatureSource, request: FeatureRequest) -> Content:
        """Return a reader's answer to a query."""
        return self._readers.ask(Question("features", source.file, _REQUEST.dump_python(request, mode="json")))

    def as_parquet(self, source: FeatureSource) -> Content:
        """Return the features of the first layer as GeoParquet."""
        return self._readers.ask(Question("features_parquet", source.file))


def _handle(path: Path, title: str) -> Handle:
    if path.suffix.lower() != ".gpkg":
        raise Refusal(400, f"{title!r} is no GeoPackage, the format of feature services.")
    try:
        return Handle("features", str(path), title, "GPKG", Stamp.of(path))
    except OSError:
        raise AccessError(f"The data of {title!r} cannot be reached at the moment.") from None
