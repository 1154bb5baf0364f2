"""Users: name, role and password. Passwords are kept as argon2id hashes."""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import RowMapping, delete, func, select, update

from raster_analysis.errors import AccessError, BadCredentials, InputError, NotPermitted
from raster_analysis.portal.database import Database, fold, tokens, users
from raster_analysis.portal.moment import Clock, now_ms

MIN_PASSWORD_LENGTH = 8
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_LONGEST_PASSWORD = 1024  # a longer one only serves to keep the server busy
_AT_ONCE = 2
"""One hash takes 64 MiB; more at once would let 50 logins take 3 GB (measured)."""


class Role(StrEnum):
    """What a user may do: look, add own content, or everything."""

    VIEWER = "viewer"
    PUBLISHER = "publisher"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can sign in."""

    name: str
    role: Role
    created_ms: int

    @property
    def is_administrator(self) -> bool:
        """Tell whether everything is allowed."""
        return self.role is Role.ADMINISTRATOR

    @property
    def may_publish(self) -> bool:
        """Tell whether own items may be added."""
        return self.role is not Role.VIEWER


def require_publisher(user: User) -> None:
    """Raise NotPermitted for a user who may only look."""
    if not user.may_publish:
        raise NotPermitted("You do not have permissions to access this resource or perform this operation.")


class Users:
    """The users of a portal. Names are unique whatever their case."""

    def __init__(self, database: Database, *, hasher: PasswordHasher | None = None, clock: Clock = now_ms) -> None:
        self._database = database
        self._hasher = hasher or PasswordHasher()
        self._clock = clock
        self._hashing = BoundedSemaphore(_AT_ONCE)
        self._nobody = _hash_of_nothing(self._hasher)

    def add(self, name: str, password: str, role: Role) -> User:
        """Add a user; raises InputError with what is wrong about the name or the password."""
        _check_name(name)
        user = User(name, role, self._clock())
        row = {"name": name, "name_key": fold(name), "role": role.value, "created_ms": user.created_ms}
        row["password_hash"] = self._hash(password)
        with self._database.write() as connection:
            if connection.scalar(select(users.c.name).where(users.c.name_key == fold(name))):
                raise InputError(f"user name {name!r} is taken; choose another")
            connection.execute(users.insert().values(row))
        return user

    def get(self, name: str) -> User:
        """Return a user; raises AccessError when there is none of that name."""
        row = self._row(name)
        if row is None:
            raise AccessError("User does not exist or is inaccessible.")
        return _user(row)

    def list(self) -> list[User]:
        """Return all users by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(users).order_by(users.c.name_key)).mappings()
            return [_user(row) for row in rows]

    def verify(self, name: str, password: str) -> User:
        """Return the user who has this password; raises BadCredentials after the same work for any failure."""
        row = self._row(name)
        known = row["password_hash"] if row else self._nobody
        # The hash is checked first, for unknown users too: the answer must not come sooner for them (A01).
        if not self._matches(known, password) or row is None:
            raise BadCredentials("Unable to generate token.")
        return _user(row)

    def set_password(self, name: str, password: str) -> None:
        """Replace a user's password; tokens that were issued for the old one end with it."""
        user = self.get(name)
        hashed = self._hash(password)  # before the transaction: it takes a third of a second
        with self._database.write() as connection:
            connection.execute(update(users).where(users.c.name == user.name).values(password_hash=hashed))
            connection.execute(delete(tokens).where(tokens.c.user == user.name))

    def add_first_administrator(self) -> str | None:
        """Add `admin` when there is no user yet and return the password, which is kept nowhere else."""
        with self._database.read() as connection:
            count = connection.scalar(select(func.count()).select_from(users))
        if count:
            return None
        password = secrets.token_urlsafe(15)
        self.add("admin", password, Role.ADMINISTRATOR)
        return password

    def _row(self, name: str) -> RowMapping | None:
        with self._database.read() as connection:
            return connection.execute(select(users).where(users.c.name_key == fold(name))).mappings().first()

    def _hash(self, password: str) -> str:
        if not MIN_PASSWORD_LENGTH <= len(password) <= _LONGEST_PASSWORD:
            raise InputError(f"a password has {MIN_PASSWORD_LENGTH} to {_LONGEST_PASSWORD} characters")
        with self._hashing:
            return self._hasher.hash(password)

    def _matches(self, known: str, password: str) -> bool:
        with self._hashing:
            try:
                return self._hasher.verify(known, password[:_LONGEST_PASSWORD])
            except VerificationError:
                return False


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InputError(f"user name {name[:80]!r} is not usable; take 1 to 64 of the characters A-Z a-z 0-9 _ . @ -")


def _user(row: RowMapping) -> User:
    return User(row["name"], Role(row["role"]), row["created_ms"])


def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """Return a hash that no password has, as costly to check as a real one, without computing it."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"
