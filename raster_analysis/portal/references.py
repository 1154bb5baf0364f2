"""What a user's reference (item id, URL or store path) stands for, with that user's rights."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from raster_analysis.errors import AccessError, InputError, InvalidToken
from raster_analysis.handle import RemoteImage
from raster_analysis.portal.input_uploads import InputUploads
from raster_analysis.portal.item import Item
from raster_analysis.portal.items import Items
from raster_analysis.portal.services import ServiceName, Services
from raster_analysis.portal.stores import Stores
from raster_analysis.portal.tokens import Tokens
from raster_analysis.portal.users import User
from raster_analysis.rasters.service_hosts import NO_HOSTS, ServiceHosts, read_service_url, read_url, token_of

# With and without the portal's context (contract 2.1).
_ITEM_PATH = re.compile(r"(?:/portal)?/sharing/rest/content/items/([0-9A-Za-z]+)(?:/data)?/?")
_ITEM_ID = re.compile(r"[0-9a-f]{32}")
_ITEM_PAGE = "/portal/home/item.html"


class Reference(Protocol):
    """A thing named by item id, URL or path; the first that is given counts."""

    @property
    def item_id(self) -> str | None:
        """The id of an item."""

    @property
    def url(self) -> str | None:
        """The URL of an item or a service."""

    @property
    def uri(self) -> str | None:
        """The path of a file in a store."""

    @property
    def upload_ids(self) -> tuple[str, ...]:
        """Ids of files that were uploaded."""

    @property
    def service_token(self) -> str | None:
        """A token that came beside the URL."""


class References:
    """Looks references up in a portal."""

    def __init__(
        self,
        base_url: str,
        items: Items,
        services: Services,
        *,
        stores: Stores,
        uploads: InputUploads,
        tokens: Tokens,
        hosts: ServiceHosts = NO_HOSTS,
    ) -> None:
        self._base = urlsplit(base_url)
        self._items = items
        self._services = services
        self._stores = stores
        self._uploads = uploads
        self._tokens = tokens
        self._hosts = hosts

    def find(self, reference: Reference, user: User) -> Item | Path:
        """Return the item, or the file in a store or of an upload; raises InputError with what would be right."""
        if reference.item_id:
            return self._items.get(reference.item_id, user)
        if reference.url:
            try:
                return self._find_url(reference.url, user)
            except AccessError:
                return self._find_url(reference.url, self._user_of_token(reference, user))
        if reference.uri:
            return self._stores.locate(reference.uri)
        if len(reference.upload_ids) == 1:
            return self._find_id(reference.upload_ids[0], user)
        if reference.upload_ids:
            raise InputError(f"itemIds names {len(reference.upload_ids)} files; give one")
        raise InputError("give one of itemId, url, uri or itemIds")

    def find_remote(self, reference: Reference) -> RemoteImage | None:
        """Return an image service of another server that the administrator allows; None for everything else."""
        if reference.item_id or not reference.url or self._is_ours(_split(reference.url)):
            return None
        if not self._hosts.allow(read_url(reference.url)):
            return None
        url = read_service_url(reference.url)
        return RemoteImage(url.text, token_of(url) or reference.service_token)

    def is_passed_on(self, reference: Reference, user: User) -> bool:
        """Tell whether it is a token in the reference, and not the user's own right, that opens it."""
        if reference.item_id or not reference.url:
            return False
        try:
            self._find_url(reference.url, user)
        except AccessError:
            return self._user_of_token(reference, user) != user
        except InputError:
            return False
        return False

    def _find_id(self, item_or_upload: str, user: User) -> Item | Path:
        """Return the file of an upload, whose ids begin with a letter that no item's id does, or an item."""
        if _ITEM_ID.fullmatch(item_or_upload):
            return self._items.get(item_or_upload, user)
        return self._uploads.find(item_or_upload, user)

    def _find_url(self, url: str, user: User) -> Item:
        parts = _split(url)
        if not self._is_ours(parts):
            raise InputError(
                f"url {without_query(url)!r} is on another server; "
                "give an item or a service of this portal, a store path, or a service that the administrator allows"
            )
        path = parts.path.removeprefix(self._base.path.rstrip("/"))
        return self._find_path(path, parse_qs(parts.query), user)

    def _find_path(self, path: str, query: dict[str, list[str]], user: User) -> Item:
        service = ServiceName.of_path(path)
        if service:
            return self._services.find(service, user)
        match = _ITEM_PATH.fullmatch(path)
        if match:
            return self._items.get(match[1], user)
        if path == _ITEM_PAGE and "id" in query:
            return self._items.get(query["id"][0], user)
        raise InputError(f"url path {path[:200]!r} names no item and no hosted service of this portal")

    def _user_of_token(self, reference: Reference, user: User) -> User:
        """Return whose token came with a URL: clients write it there to pass on a right (contract 2.2)."""
        in_url = parse_qs(urlsplit(reference.url or "").query).get("token", [])
        for token in [*in_url, *([reference.service_token] if reference.service_token else [])]:
            try:
                return self._tokens.user_of(token)
            except InvalidToken:
                continue
        return user

    def _is_ours(self, parts: SplitResult) -> bool:
        return _origin(parts) == _origin(self._base)


def without_query(url: str) -> str:
    """Return a URL without query and fragment: tokens stay out of titles and messages."""
    return re.split(r"[?#]", url, maxsplit=1)[0][:200]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # What two parsers might read differently is refused: user info, backslashes.
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and "\\" not in url
        _ = parts.port
    except ValueError:
        usable = None
    if not usable:
        raise InputError(f"{without_query(url)!r} is no usable http or https URL")
    return parts


def _origin(parts: SplitResult) -> tuple[str, int]:
    host = (parts.hostname or "").lower()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return "localhost" if _is_loopback(host) else host, port


def _is_loopback(host: str) -> bool:
    # Nothing is fetched from the URL, so that this only decides which spellings of our own name we know.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
