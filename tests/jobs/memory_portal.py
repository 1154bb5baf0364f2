"""A portal in memory for these tests: knows one raster, publishes digests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from raster_analysis.errors import AccessError
from raster_analysis.handle import Handle
from raster_analysis.tool import Output, Parameters, Publication, Tool


@dataclass
class MemoryCatalog:
    user: str

    def models(self) -> list[dict[str, JsonValue]]:
        return [{"id": "m1", "owner": self.user}]


@dataclass
class MemoryPortal:
    published: list[Publication] = field(default_factory=list)
    may_publish: threading.Event = field(default_factory=threading.Event)
    publishing: threading.Event = field(default_factory=threading.Event)
    values: dict[str, Any] = field(default_factory=dict)
    """What outputs become, by name, instead of their own value."""
    failure: Exception | None = None
    """What publishing raises."""
    models: dict[str, Handle] = field(default_factory=dict)
    """What jobs pin when they are submitted."""
    binds: int = 0

    def __post_init__(self) -> None:
        self.may_publish.set()

    def pin(self, tool: Tool[Any], parameters: Parameters, user: str) -> dict[str, Handle]:
        return dict(self.models)

    def bind(
        self, tool: Tool[Any], parameters: Parameters, user: str, pinned: Mapping[str, Handle]
    ) -> dict[str, Handle]:
        self.binds += 1
        if pinned:
            return dict(pinned)
        raster = getattr(parameters, "raster", None)
        if raster is None:
            return {}
        if raster != "roads":
            raise AccessError(f"raster {raster!r} does not exist or is not shared with you")
        return {"inputRaster": Handle("raster", "/nowhere/roads.tif", "roads")}

    def catalog(self, user: str) -> MemoryCatalog:
        return MemoryCatalog(user)

    def publish(self, publication: Publication) -> dict[str, JsonValue]:
        self.publishing.set()
        assert self.may_publish.wait(30)
        if self.failure is not None:
            raise self.failure
        self.published.append(publication)
        return {output.name: self.values.get(output.name) or _value(output) for output in publication.outputs}


def _value(output: Output) -> JsonValue:
    if output.path is None:
        return output.value
    return {"sha256": hashlib.sha256(Path(output.path).read_bytes()).hexdigest()}
