"""Items in a bucket of an S3-compatible service, with local copies of those that are worked on."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from raster_analysis.errors import InputError, StoreError
from raster_analysis.portal.cache import Cache
from raster_analysis.portal.storage import missing, require

logger = logging.getLogger(__name__)

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9._-]+)*)/?")
_PART_BYTES = 5 * 1024**2
"""The least that S3 takes; three at a time keep an upload within 15 MB of memory."""
_PARTS_AT_ONCE = 3
_MOST_PARTS = 9000
"""Below the 10,000 that S3 takes: parts of larger files are larger."""
_READ_BYTES = 4 * 1024**2
"""A download asks for one piece after the other, so that each can be tried again by itself (guess)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a bucket is waited for. A request is sent `retries` times more after a 5xx, or without an answer."""

    connect_s: float = 5.0
    request_s: float = 30.0
    """One request with its body: a piece of 5 MB takes that long at 170 kB/s."""
    retries: int = 3
    total_s: float = 45.0
    """After that nothing is sent again (guess: below what HTTP clients wait)."""


class BucketStorage:
    """Files in a bucket, below a prefix that no other portal has."""

    def __init__(self, url: str, portal: str, cache: Cache, *, patience: Patience | None = None) -> None:
        self.name = url
        self._cache = cache
        bucket, prefix = parse_url(url)
        # Two portals on one prefix would sweep each other's files away as nobody's.
        self._store = _open_store(bucket, f"{prefix}/{portal}".lstrip("/"), patience or Patience(), os.environ)

    def put(self, key: str, source: Path) -> int:
        """Send a file in parts; it appears in the bucket with the last of them."""
        size = source.stat().st_size
        part_bytes = max(_PART_BYTES, -(-size // _MOST_PARTS))
        with self._explained("take a file"), source.open("rb") as stream:
            obstore.put(self._store, key, stream, chunk_size=part_bytes, max_concurrency=_PARTS_AT_ONCE)
        return size

    def read(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """Ask for the first piece now, and for the others as they are needed."""
        if stop <= start:
            return iter(())
        return self._following(key, self._piece(key, start, stop), start, stop)

    def local(self, key: str) -> Path:
        """Return the copy in the cache, fetched when there is none."""
        return self._cache.find(key) or self._fetch(key)

    def remove(self, key: str) -> None:
        """Remove a file from the bucket and from the cache."""
        self._cache.drop(key)
        with self._explained("remove a file"):
            obstore.delete(self._store, key)

    def all_keys(self) -> Iterator[str]:
        """Give the keys of this portal's files, a page of the bucket's list at a time."""
        with self._explained("be listed"):
            for page in obstore.list(self._store, chunk_size=1000):
                yield from (entry["path"] for entry in page)

    def _fetch(self, key: str) -> Path:
        with self._of_file("give a file"):
            size = int(obstore.head(self._store, key)["size"])
        return self._cache.fill(key, size, lambda path: self._write(key, size, path))

    def _write(self, key: str, size: int, path: Path) -> None:
        with path.open("xb") as file:
            for piece in self.read(key, 0, size):
                file.write(piece)

    def _following(self, key: str, piece: bytes, start: int, stop: int) -> Iterator[bytes]:
        while True:
            yield piece
            start += len(piece)
            if start >= stop:
                return
            piece = self._piece(key, start, stop)

    def _piece(self, key: str, start: int, stop: int) -> bytes:
        with self._of_file("give a file"):
            piece = bytes(obstore.get_range(self._store, key, start=start, end=min(stop, start + _READ_BYTES)))
        if not piece:
            raise StoreError(f"item storage {self.name} ended a file early; try again later")
        return piece

    @contextmanager
    def _of_file(self, what: str) -> Iterator[None]:
        with self._explained(what):
            try:
                yield
            except FileNotFoundError:
                # Without a bucket nothing is there either, and only its list tells which it is.
                require(self)
                raise missing() from None

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            # The whole text names addresses inside the operator's network.
            logger.warning("item storage %s: %s", self.name, str(error).split("\n\nDebug source", 1)[0])
            raise StoreError(f"item storage {self.name} cannot {what}: {_reason(error)}") from None


def parse_url(url: str) -> tuple[str, str]:
    """Return bucket and prefix of `s3://bucket/prefix`; raises InputError for anything else."""
    match = _URL.fullmatch(url)
    if match is None:
        raise InputError(f"item_storage {url!r} is not usable; give folder or s3://bucket/prefix")
    return match[1], match[2].lstrip("/")


def _open_store(bucket: str, prefix: str, patience: Patience, environment: Mapping[str, str]) -> S3Store:
    """Open a bucket with the endpoint, region and keys of the usual AWS variables."""
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    return S3Store(
        bucket,
        prefix=prefix,
        region=region,
        **({"endpoint": endpoint} if endpoint else {}),  # type: ignore[arg-type]
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=patience.connect_s),
            "timeout": timedelta(seconds=patience.request_s),
        },
        retry_config={"max_retries": patience.retries, "retry_timeout": timedelta(seconds=patience.total_s)},
    )


def _reason(error: Exception) -> str:
    text = str(error)
    if "NoSuchBucket" in text or isinstance(error, FileNotFoundError):
        return "there is no such bucket"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "there is no space left on the server's disk"
    refused = isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError))
    if refused or "403 Forbidden" in text or "401 Unauthorized" in text:
        return "it refuses the server's keys"
    return "it does not answer as it should; try again later"
