"""The registered stores the way a server's administration tells them; read by publishers, changed by nobody here.

Stores are shown by the paths that requests name them by, never by where they are on this machine.
"""

from __future__ import annotations

from pydantic import JsonValue

from raster_analysis.errors import AccessError
from raster_analysis.portal.stores import Stores
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Answer
from raster_analysis.rest.tasks import CURRENT_VERSION

_ADMIN = "/arcgis/admin"
_DATA = f"{_ADMIN}/data"
_ROOTS = {"/fileShares": ("fileShare", "folder"), "/rasterStores": ("rasterStore", "rasterStore")}
"""The kinds of store by path: the type of the folder and of a store in it. Each store is of both kinds."""


class DataStores:
    """Serves the list of stores."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        return [
            Endpoint(_ADMIN, self.admin, Policy.PUBLISHER),
            Endpoint(_DATA, self.data, Policy.PUBLISHER),
            Endpoint(f"{_DATA}/config", self.config, Policy.PUBLISHER),
            Endpoint(f"{_DATA}/findItems", self.find, Policy.PUBLISHER),
            Endpoint(f"{_DATA}/items", self.items, Policy.PUBLISHER),
            Endpoint(f"{_DATA}/items/{{root}}", self.item, Policy.PUBLISHER),
            Endpoint(f"{_DATA}/items/{{root}}/{{name}}", self.item, Policy.PUBLISHER),
        ]

    def admin(self, _call: Call) -> Answer:
        """Tell what there is to read."""
        return Answer({"currentVersion": CURRENT_VERSION, "fullVersion": f"{CURRENT_VERSION}.0", "resources": ["data"]})

    def data(self, _call: Call) -> Answer:
        """Tell what there is to read about stores."""
        return Answer({"resources": ["items", "config"], "operations": ["findItems"]})

    def config(self, _call: Call) -> Answer:
        """Tell how data is treated: it is read where it lies."""
        return Answer({"datastoreConfig": {"blockDataCopy": "false"}})

    def find(self, call: Call) -> Answer:
        """List the stores below a path, all of them when none is given."""
        wanted = (call.fields.get("parentPath") or call.fields.get("ancestorPath") or "").rstrip("/")
        types = {text.strip() for text in call.fields.get("types", "").split(",") if text.strip()}
        found: list[JsonValue] = [
            self._document(root, name)
            for root, (_, kind) in _ROOTS.items()
            for name in self._stores.names
            if wanted in ("", root) and (not types or kind in types)
        ]
        return Answer({"items": found})

    def items(self, _call: Call) -> Answer:
        """List the kinds of store."""
        return Answer({"rootItems": [*_ROOTS]})

    def item(self, call: Call) -> Answer:
        """Describe a kind of store, or one store."""
        root, name = f"/{call.path['root']}", call.path.get("name")
        if root not in _ROOTS or (name is not None and name not in self._stores.names):
            raise AccessError("Data item does not exist or is inaccessible.")
        if name is not None:
            return Answer(self._document(root, name))
        kind, _ = _ROOTS[root]
        return Answer({"path": root, "type": kind, "items": [f"{root}/{each}" for each in self._stores.names]})

    def _document(self, root: str, name: str) -> dict[str, JsonValue]:
        path, (_, kind) = f"{root}/{name}", _ROOTS[root]
        return {
            "path": path,
            "type": kind,
            "id": path.strip("/").replace("/", "-"),
            "clientPath": None,
            "provider": "ArcGIS",
            "info": {"path": path, "hostName": None, "dataStoreConnectionType": "shared"},
        }
