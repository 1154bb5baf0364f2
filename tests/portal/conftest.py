from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.users import Role, User

BASE_URL = "https://gis.example:8443"


class Time:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.ms = 1_800_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def portal(tmp_path: Path, store: Path, time: Time) -> Iterator[Portal]:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    settings = Settings(tmp_path / "data", BASE_URL, {"images": store})
    portal = Portal(settings, hasher=cheap, clock=time)
    yield portal
    portal.close()


@pytest.fixture
def alice(portal: Portal) -> User:
    return portal.users.add("alice", "correct horse", Role.PUBLISHER)


@pytest.fixture
def bob(portal: Portal) -> User:
    return portal.users.add("bob", "battery staple", Role.PUBLISHER)


@pytest.fixture
def vera(portal: Portal) -> User:
    return portal.users.add("vera", "only looking", Role.VIEWER)


@pytest.fixture
def root(portal: Portal) -> User:
    return portal.users.add("root", "administrator", Role.ADMINISTRATOR)
