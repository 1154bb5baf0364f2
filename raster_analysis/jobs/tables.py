"""The job tables, and the engine of the SQLite file that holds them. Only the server writes it."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import Connection as SQLiteConnection

import sqlalchemy as sa
from sqlalchemy import event

from raster_analysis.errors import StoreError

SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 60_000
"""Longer than a backup that holds the write lock for 40 s (contract J08)."""

metadata = sa.MetaData()

schema_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, primary_key=True))

jobs = sa.Table(
    "jobs",
    metadata,
    # SQLite numbers rows by itself only for this very type.
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(33), nullable=False, unique=True),
    sa.Column("tool", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("form", sa.JSON, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(32)),
    sa.Column("submitted_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("progress", sa.Double, nullable=False),
    sa.Column("outputs", sa.JSON, nullable=False),
    sa.Column("plan", sa.Text),
    sa.Column("handles", sa.Text),
    sa.Index("jobs_by_status", "status", "seq"),
    sa.Index("jobs_of_user", "user", "seq"),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("level", sa.String(7), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("statistics", sa.JSON, nullable=False),
)


def open_engine(path: Path) -> sa.Engine:
    """Open a job file and make its tables; raises StoreError for a damaged file or one of a newer version."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    try:
        with engine.connect().execution_options(write="lasting") as connection, connection.begin():
            _check_version(connection, path.name)
    except StoreError:
        engine.dispose()
        raise
    except sa.exc.DatabaseError as error:
        engine.dispose()
        raise StoreError(
            f"the job file {path.name} cannot be used ({error.orig}); restore it from a backup or move it away"
        ) from error
    return engine


def _configure(connection: SQLiteConnection, _record: object) -> None:
    # We begin transactions ourselves: the driver's own BEGIN is late and cannot take the write lock.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    # A reader that turns writer fails at once under WAL; writers take the lock first and wait for it.
    write = connection.get_execution_options().get("write")
    # Under WAL, NORMAL survives any crash but a power cut and takes no fsync; FULL survives that too.
    connection.exec_driver_sql(f"PRAGMA synchronous = {'NORMAL' if write == 'plain' else 'FULL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _check_version(connection: sa.Connection, name: str) -> None:
    if not sa.inspect(connection).has_table("schema_version"):
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
    found = connection.scalar(sa.select(sa.func.max(schema_version.c.version))) or 0
    if found != SCHEMA_VERSION:
        raise StoreError(
            f"the job file {name} has schema {found}, this version knows {SCHEMA_VERSION}; "
            "run the version that wrote it, or start with another data folder"
        )
