"""The portal's tables, and the one SQLite file that holds them. Only the server writes it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SQLiteConnection
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    false,
    inspect,
    select,
)
from sqlalchemy.exc import DatabaseError
from sqlalchemy.schema import CreateColumn

from raster_analysis.errors import RasterAnalysisError, StoreError

SCHEMA_VERSION = 2
"""2: items have type keywords, a thumbnail and a protection; thumbnails; arrivals."""
# Longer than any transaction here; a command beside the server may hold the lock for a moment.
_BUSY_TIMEOUT_MS = 30_000
_CONNECTIONS = 80
"""Above the threads that work behind routes: 40 of them for all, and lines of their own for what waits."""

metadata = MetaData()

settings = Table(
    "settings",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("name_key", String(64), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    # Plain sha256 is enough: a token has 256 random bits, nobody can try them out.
    Column("sha256", String(64), primary_key=True),
    Column("user", ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("expires_ms", BigInteger, nullable=False),
)

folders = Table(
    "folders",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", ForeignKey("users.name"), nullable=False),
    Column("title", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("folders_of_owner", "owner", "title", unique=True),
)

items = Table(
    "items",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", ForeignKey("users.name"), nullable=False, index=True),
    Column("folder_id", ForeignKey("folders.id")),
    Column("type", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("name", Text),
    Column("tags", Text, nullable=False),
    Column("snippet", Text),
    Column("description", Text),
    Column("properties", Text),
    Column("access", String(10), nullable=False),
    # The path alone: the base URL may be another at the next start.
    Column("url", Text),
    Column("size", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("modified_ms", BigInteger, nullable=False),
    Column("data_file", Text),
    Column("package_digest", String(64)),
    # Case-folded copies for searching: SQLite's own lower() and LIKE know ASCII only.
    Column("title_key", Text, nullable=False),
    Column("tags_key", Text, nullable=False),
    Column("words_key", Text, nullable=False),
    # Columns that came later have a default, so that files of older versions can be given them.
    Column("type_keywords", Text, nullable=False, server_default=""),
    Column("thumbnail", Text),
    Column("protected", Boolean, nullable=False, server_default=false()),
)

thumbnails = Table(
    "thumbnails",
    metadata,
    # Here and not among the files: small, and gone with their items in the same transaction.
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("media_type", String(20), nullable=False),
    Column("data", LargeBinary, nullable=False),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("owner", ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("message", Text, nullable=False),
    Column("draft", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
)

services = Table(
    "services",
    metadata,
    # Trees/FeatureServer and Trees/ImageServer may exist side by side, as in any services directory.
    Column("kind", String(20), primary_key=True),
    Column("name_key", String(128), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), nullable=False, unique=True),
)

installations = Table(
    "installations",
    metadata,
    Column("item_id", ForeignKey("items.id", ondelete="CASCADE"), primary_key=True),
    Column("user", ForeignKey("users.name", ondelete="CASCADE"), primary_key=True),
    # Of the content that was proved to run here; the item may have been given another since.
    Column("digest", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

publications = Table(
    "publications",
    metadata,
    # No reference to the items table: a job's answer stays when its item is deleted.
    Column("job_id", String(64), primary_key=True),
    Column("output", String(64), primary_key=True),
    Column("item_id", String(32), nullable=False),
)


class Database:
    """Read and write transactions on the portal's file; safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._engine = _create_engine(path)
        try:
            with self.write() as connection:
                _check_version(connection, path.name)
                metadata.create_all(connection)
                _add_missing_columns(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except RasterAnalysisError:
            self.close()
            raise
        except DatabaseError as error:
            self.close()
            raise StoreError(
                f"{path.name} cannot be used ({error.orig}); restore it from a backup or move it away"
            ) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the file."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection that holds the write lock; commits at the end, rolls back on an error."""
        with self._engine.connect().execution_options(write=True) as connection, connection.begin():
            yield connection

    def setting(self, name: str, first_value: str) -> str:
        """Return a stored setting; `first_value` is stored when there is none yet."""
        with self.write() as connection:
            value = connection.scalar(select(settings.c.value).where(settings.c.name == name))
            if value is None:
                connection.execute(settings.insert().values(name=name, value=first_value))
        return first_value if value is None else str(value)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def new_id() -> str:
    """Return an id that cannot be guessed, as portals write them: 32 hex digits."""
    return secrets.token_hex(16)


def fold(text: str) -> str:
    """Return text in the form in which it is compared."""
    return text.casefold()


def _create_engine(path: Path) -> Engine:
    # One for every thread that answers requests: what is above the pool's size is opened and closed at each request.
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False}, pool_size=_CONNECTIONS)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: SQLiteConnection, _record: object) -> None:
    # We begin transactions ourselves: the driver's own BEGIN is late and cannot take the write lock.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        # FULL: an upload that was acknowledged survives a power cut.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A reader that turns writer fails at once under WAL; writers take the lock first and wait for it.
    writes: Any = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _add_missing_columns(connection: Connection) -> None:
    """Give the tables of an older file the columns that came later."""
    inspector = inspect(connection)
    for table in metadata.sorted_tables:
        present = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                words = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {words}")


def _check_version(connection: Connection, name: str) -> None:
    found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if found > SCHEMA_VERSION:
        raise RasterAnalysisError(
            f"{name} was written by a newer version (schema {found}, this one knows {SCHEMA_VERSION}); "
            "upgrade, or start with another data folder"
        )
