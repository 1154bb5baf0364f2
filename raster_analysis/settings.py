"""Settings of the server: command line first, then `RASTER_ANALYSIS_*` in the environment, then these defaults."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Self

from pydantic import ByteSize, Field, FilePath, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ImageHost = Annotated[str, Field(pattern=r"^(https?://)?[A-Za-z0-9.\[\]:-]+/?$", max_length=300)]


class Settings(BaseSettings):
    """Everything an operator can choose. Read by the composition roots only."""

    model_config = SettingsConfigDict(
        env_prefix="RASTER_ANALYSIS_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for all."""
    port: int = Field(default=8443, ge=1, le=65535)
    """Port to listen on."""
    data: Path = Field(default=Path("data"), validate_default=True)
    """Folder for the database, items, job files, the certificate; made absolute."""
    http: bool = False
    """Plain HTTP instead of TLS, for use behind a proxy; ArcGIS clients insist on TLS."""
    base_url: str | None = None
    """Where clients reach the server; every URL in an answer begins with it, never with a Host header."""
    certificate: FilePath | None = None
    """PEM chain to use instead of the self-signed one; wants `key` as well."""
    key: FilePath | None = None
    """PEM key of `certificate`."""
    portal_name: str = "Raster Analysis"
    """Shown in pages and to clients."""
    stores: dict[str, Path] = Field(default_factory=dict)
    """Folders that requests may name: `/fileShares/<name>/...`; in the environment a JSON object."""

    image_hosts: tuple[ImageHost, ...] = ()
    """Other servers whose image services jobs may read: `host`, `host:port` (TLS) or `http://host:port`."""
    private_image_hosts: tuple[ImageHost, ...] = ()
    """The same for servers with addresses of a private network or of this machine."""
    image_limit: ByteSize = ByteSize(4 * 1024**3)
    """Most pixels, in bytes, that a job may fetch of one such service."""

    slots: int = Field(default=1, ge=0)
    """Worker processes besides those of `gpus`."""
    threads: int = Field(default=0, ge=0)
    """CPU threads of a network in one worker; 0: several workers share the cores, a single one has them all."""
    readers: int = Field(default=2, ge=1)
    """Processes that read layers for queries and pictures."""
    gpus: tuple[str, ...] = ()
    """GPUs that get a worker process of their own, e.g. `0` and `1`. Without any, workers use what they find."""
    memory_limit: ByteSize = ByteSize(1400 * 1024**2)
    """Working memory of one slot above its loaded model, e.g. `6GiB`."""
    job_retention_days: float = Field(default=30, gt=0)
    """How long finished jobs and their messages are kept."""
    job_limit_hours: float | None = Field(default=None, gt=0)
    """A job that runs longer ends as timed out."""

    jobs_per_user: int = Field(default=1000, ge=1)
    """Jobs that one user may have waiting and running."""

    form_limit: ByteSize = ByteSize(2 * 1024**2)
    """Largest request without files; room for a mask polygon of some 50,000 vertices."""
    upload_limit: ByteSize = ByteSize(4 * 1024**3)
    """Largest uploaded file."""
    user_quota: ByteSize | None = None
    """Bytes of the items and unfinished uploads of one user, e.g. `50GiB`; none by default."""
    item_storage: str = Field(default="folder", pattern=r"^(folder|s3://\S+)$")
    """Where items' files lie: `folder` (in `data`) or `s3://bucket/prefix`; endpoint and keys are in `AWS_*`."""
    item_cache: ByteSize = ByteSize(20 * 1024**3)
    """Local copies of items that lie in a bucket."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.slots and not self.gpus:
            raise ValueError("slots 0 and no gpus: nothing would run jobs; give slots=1 or a GPU")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together; give both or neither")
        return self

    @field_validator("data")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        # Slots have other working folders, and what they write is compared with what the server asked for.
        return value.expanduser().absolute()

    @field_validator("base_url")
    @classmethod
    def _is_an_absolute_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError(f"base_url {value!r} must begin with https:// or http://")
        return value.rstrip("/") if value else None

    @property
    def public_url(self) -> str:
        """Return the URL that all answers build on, without a trailing slash."""
        if self.base_url:
            return self.base_url
        everywhere = self.host in ("0.0.0.0", "::", "")  # noqa: S104 (compared, not bound)
        host = "localhost" if everywhere else f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.http else 'https'}://{host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that give another process the same settings."""
        values = self.model_copy(update={"data": self.data.resolve()}).model_dump(mode="json", exclude_none=True)
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        return {f"RASTER_ANALYSIS_{name.upper()}": text for name, text in texts.items()}

    def slot_environments(self) -> list[dict[str, str]]:
        """Return the variables of each slot: these settings, its device, its share of the CPU's cores."""
        threads = self._threads_per_slot()
        own = self.model_copy(update={"threads": threads}).environment()
        # The setting reaches the networks; the variable reaches numpy's and torch's own threads.
        limited = {"OMP_NUM_THREADS": str(threads)} if threads else {}
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if self.gpus else {}
        devices = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in self.gpus] + [hidden] * self.slots
        return [own | limited | device for device in devices]

    def _threads_per_slot(self) -> int:
        count = self.slots + len(self.gpus)
        if self.threads or count == 1:
            return self.threads
        return max(1, count_cores() // count)


def describe_settings() -> str:
    """Return every setting as its variable, its default, and what it is: lines for a terminal."""
    lines = []
    for name, field in Settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        spelt = value.human_readable() if isinstance(value, ByteSize) else "" if value in (None, (), {}) else str(value)
        lines += [f"RASTER_ANALYSIS_{name.upper()}={spelt}", f"    {field.description}"]
    return "\n".join(lines)


def count_cores() -> int:
    """Return the cores that this process may use, which in a container are fewer than there are."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
