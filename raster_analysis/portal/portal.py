"""The portal as a whole: one data folder, and what the other rooms ask of it."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from argon2 import PasswordHasher
from pydantic import JsonValue

from raster_analysis.errors import AccessError, InputError, StoreError
from raster_analysis.handle import Handle
from raster_analysis.portal import files
from raster_analysis.portal.arrivals import Arrivals
from raster_analysis.portal.binding import Binder
from raster_analysis.portal.cache import Cache
from raster_analysis.portal.database import Database, items
from raster_analysis.portal.definitions import Definitions
from raster_analysis.portal.document import item_document
from raster_analysis.portal.folders import Folder, Folders
from raster_analysis.portal.input_uploads import InputUploads
from raster_analysis.portal.installations import Installations
from raster_analysis.portal.item import PACKAGE_TYPE, Item, ItemText, safe_name
from raster_analysis.portal.items import Items, deletable, id_taken
from raster_analysis.portal.moment import Clock, now_ms
from raster_analysis.portal.packages import Packages
from raster_analysis.portal.publishing import Publisher
from raster_analysis.portal.quota import Quota
from raster_analysis.portal.references import References
from raster_analysis.portal.services import ServiceKind, ServiceName, Services
from raster_analysis.portal.storage import FOLDER, FolderStorage, Storage
from raster_analysis.portal.storage_bucket import BucketStorage
from raster_analysis.portal.stores import Stores
from raster_analysis.portal.throttle import Throttle
from raster_analysis.portal.thumbnails import Thumbnail, Thumbnails
from raster_analysis.portal.tokens import Tokens
from raster_analysis.portal.uploads import Uploads
from raster_analysis.portal.users import User, Users, require_publisher
from raster_analysis.rasters.resolver import resolve_features, resolve_mask, resolve_raster
from raster_analysis.rasters.service_hosts import NO_HOSTS, ServiceHosts
from raster_analysis.tool import Catalog, Parameters, Publication, Tool

logger = logging.getLogger(__name__)

_MOST_MODELS = 1000
_SERVICE_TYPES = ("Feature Service", "Image Service")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a portal is told when it opens."""

    folder: Path
    base_url: str
    """Scheme, host and port (and path) under which clients reach the server; no slash at the end."""
    stores: Mapping[str, Path] = field(default_factory=dict)
    name: str = "Raster Analysis"
    upload_limit: int = 4 * 2**30
    """Bytes of one uploaded file."""
    user_quota: int | None = None
    """Bytes of the items and unfinished uploads of one user."""
    item_storage: str = FOLDER
    """`folder`, or `s3://bucket/prefix`."""
    item_cache: int = 20 * 2**30
    """Bytes of local copies of items that lie in a bucket."""
    image_hosts: ServiceHosts = NO_HOSTS
    """Other servers whose image services may be named."""


class Portal:
    """Users, items and services in one data folder. Fulfils `tool.Portal` for the dispatcher."""

    def __init__(self, settings: Settings, *, hasher: PasswordHasher | None = None, clock: Clock = now_ms) -> None:
        folder = settings.folder
        # Hashes of passwords and everybody's files: no other account of this machine has a business here.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_complete(folder)
        self.settings = settings
        self._lock: int | None = None
        self.database = Database(folder / "portal.sqlite")
        self.organisation = self.database.setting("organisation", secrets.token_hex(8).upper())
        self.users = Users(self.database, hasher=hasher, clock=clock)
        self.tokens = Tokens(self.database, self.users, clock=clock)
        self.throttle = Throttle(clock=clock)
        self.folders = Folders(self.database, clock=clock)
        self.cache = Cache(folder / "cache", settings.item_cache)
        self.storage = _open_storage(settings, self.organisation, self.cache)
        self.quota = Quota(self.database, folder / "arrivals", settings.user_quota)
        self.items = Items(self.database, self.storage, self.quota, clock=clock)
        self.services = Services(self.database, self.items, clock=clock)
        self.stores = Stores(settings.stores, private=folder)
        self.packages = Packages(folder / "packages")
        self.uploads = Uploads(folder / "uploads", settings.upload_limit)
        self.arrivals = Arrivals(self.database, folder / "arrivals", self.uploads, quota=self.quota, clock=clock)
        self.thumbnails = Thumbnails(self.database, clock=clock)
        self.input_uploads = InputUploads(self.arrivals, self.uploads)
        references = References(
            settings.base_url,
            self.items,
            self.services,
            stores=self.stores,
            uploads=self.input_uploads,
            tokens=self.tokens,
            hosts=settings.image_hosts,
        )
        self.installations = Installations(self.database, references, clock=clock)
        self._publisher = Publisher(
            self.database,
            self.items,
            self.folders,
            packages=self.packages,
            services=self.services,
            installations=self.installations,
        )
        self._binder = Binder(
            references,
            self.items,
            self.folders,
            packages=self.packages,
            definitions=Definitions(references, self.items, self.packages, folder / "packages"),
            installations=self.installations,
            resolve=_resolve,
        )

    @property
    def base_url(self) -> str:
        """Return the URL that all URLs of the portal begin with."""
        return self.settings.base_url

    def pin(self, tool: Tool[Any], parameters: Parameters, user: str) -> dict[str, Handle]:
        """Return a handle for each model in the parameters whose package is kept already."""
        return self._binder.pin(tool, parameters, self.users.get(user))

    def bind(
        self, tool: Tool[Any], parameters: Parameters, user: str, pinned: Mapping[str, Handle] = MappingProxyType({})
    ) -> dict[str, Handle]:
        """Return a handle for each reference in the parameters; raises ParameterError with every fault."""
        return self._binder.bind(tool, parameters, self.users.get(user), pinned)

    def bind_raster(self, tool: Tool[Any], parameters: Parameters, user: str) -> Handle | None:
        """Return a handle for the first raster that a job was given, with its user's rights as they are now."""
        return self._binder.bind_raster(tool, parameters, self.users.get(user))

    def layer(self, service: ServiceName, visitor: User | None) -> Handle | None:
        """Return the file of a hosted service, None when no job has filled it; raises AccessError."""
        item = self.services.find(service, visitor)
        path = self.items.data_path(item)
        kind: Literal["raster", "features"] = "features" if service.kind is ServiceKind.FEATURES else "raster"
        return _resolve(path, item.title, kind) if path else None

    def catalog(self, user: str) -> Catalog:
        """Return what tools may ask of the portal, with this user's rights."""
        return PortalCatalog(self, self.users.get(user))

    def publish(self, publication: Publication) -> dict[str, JsonValue]:
        """Make items and services of a job's outputs, once; return the wire value of each by name."""
        return self._publisher.publish(publication, self.users.get(publication.user), self.base_url)

    def add_item(
        self, draft: Item, owner: User, source: Path | None, name: str = "", *, thumbnail: Thumbnail | None = None
    ) -> Item:
        """Add an item with its file; a Deep Learning Package is checked, and refused with every finding."""
        self.check_addable(draft, owner)
        if draft.type == PACKAGE_TYPE:
            if source is None:
                raise InputError("an item of type Deep Learning Package needs its file, a .dlpk")
            draft = replace(draft, package_digest=self.packages.keep(source, safe_name(name)))
        if source:
            self.quota.check(owner.name, source.stat().st_size, without=draft.id)
        data = self.items.place(draft.id, source, name) if source else None
        try:
            item = self.items.add(draft, data)
        except Exception:
            if data:
                self.items.discard(data)
            raise
        logger.info("user %s added item %s of type %r", owner.name, item.id, item.type)
        if thumbnail:
            self.thumbnails.keep(item.id, owner, thumbnail)
        return item

    def check_addable(self, draft: Item, owner: User) -> None:
        """Raise what speaks against adding an item, before its file has come: role, type, an id that is taken."""
        require_publisher(owner)
        if draft.type in _SERVICE_TYPES:
            raise InputError(f"an item of type {draft.type} comes from createService or from a tool")
        if self.items.has(draft.id):
            raise id_taken(draft.id)

    def replace_file(self, item_id: str, user: User, source: Path, name: str) -> Item:
        """Give an item another file; the id stays."""
        item = self.items.get_own(item_id, user)
        if item.type in _SERVICE_TYPES:
            raise InputError(f"the data of a {item.type} comes from a tool, not from an upload")
        self.quota.check(item.owner, source.stat().st_size - item.size)
        digest = self.packages.keep(source, safe_name(name)) if item.type == PACKAGE_TYPE else None
        logger.info("user %s replaces the file of item %s", user.name, item_id)
        data = self.items.place(item_id, source, name)
        try:
            return self.items.replace_data(item_id, user, data, digest)
        except Exception:
            self.items.discard(data)
            raise

    def draft(self, owner: User, type: str, text: ItemText, folder_id: str | None = None) -> Item:
        """Return a new item as its owner describes it, in no table yet."""
        if folder_id is not None:
            self.folders.get(folder_id, owner.name)
        draft = self.items.draft(owner.name, type, text.title or "")
        return replace(draft, folder_id=folder_id, **text.given())  # type: ignore[arg-type]

    def delete_folder(self, folder: Folder, user: User) -> None:
        """Delete a folder and what lies in it; raises InputError, with nothing deleted, for a protected item."""
        inside = self.items.all_in_folder(folder.id)
        for item in inside:
            deletable(item)
        for item in inside:
            self.items.delete(item.id, user)
        self.folders.delete(folder)
        logger.info("user %s deleted folder %s of user %s", user.name, folder.id, folder.owner)

    def sweep(self, pinned: Collection[str] = ()) -> None:
        """Remove what a crash left between a file and its row, and packages that no item and no job has any more.

        `pinned` holds the digests of packages that unfinished jobs run from. For the server, before it serves.
        A second server leaves the files of the first alone: to it, requests in progress look like left-overs.
        """
        self._lock = self._lock or files.try_lock(self.settings.folder / "portal.lock")
        if self._lock is None:
            return
        self.cache.sweep()
        self.items.sweep()
        self.packages.sweep({*self.items.package_digests(), *self.installations.digests(), *pinned})
        self.uploads.sweep()
        self.arrivals.sweep()

    def tidy(self, named: Collection[str] = ()) -> None:
        """Forget uploads and empty services that nobody has gone on with for a day.

        `named` holds the ids that unfinished jobs name: those wait as long as their jobs do.
        """
        self.arrivals.expire(named)
        self.services.expire(named)

    def close(self) -> None:
        """Close the database, and let another server sweep."""
        self.database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class PortalCatalog:
    """What tools may ask of the portal, with one user's rights."""

    def __init__(self, portal: Portal, user: User) -> None:
        self._portal = portal
        self._user = user

    def models(self) -> list[dict[str, JsonValue]]:
        """Return the model items that the user can read, by title."""
        wanted = items.c.type == PACKAGE_TYPE
        page = self._portal.items.select(self._user, wanted, page=slice(0, _MOST_MODELS), order=items.c.title_key.asc())
        installed = self._portal.installations.installed([item.id for item in page.items])
        # Beside what every item has: clients take these for items and leave unknown keys alone.
        return [
            {**item_document(item, self._portal.base_url), "installed": item.id in installed} for item in page.items
        ]

    def stored(self, place: str, pattern: str) -> list[str]:
        """Return the names in a folder of a store; every user who runs tools may read every store."""
        return self._portal.stores.names_in(place, pattern)


def _resolve(path: Path, title: str, kind: Literal["raster", "features", "mask"]) -> Handle:
    resolvers = {"features": resolve_features, "raster": resolve_raster, "mask": resolve_mask}
    try:
        return resolvers[kind](str(path), title=title)
    except AccessError:  # its message names the path, which is the server's own here
        raise AccessError(f"{title!r} does not exist or is inaccessible") from None


def _open_storage(settings: Settings, organisation: str, cache: Cache) -> Storage:
    if settings.item_storage == FOLDER:
        return FolderStorage(settings.folder / "items")
    return BucketStorage(settings.item_storage, organisation, cache)


def _check_complete(folder: Path) -> None:
    """Refuse a folder with items and no database: made anew, it would have all files swept away as nobody's."""
    database, files_of_items = folder / "portal.sqlite", folder / "items"
    is_gone = not database.exists() or not database.stat().st_size
    if is_gone and files_of_items.is_dir() and any(files_of_items.iterdir()):
        raise StoreError(
            "portal.sqlite is missing or empty, but there are files of items; "
            "restore it from a backup, or move the folder items away"
        )
