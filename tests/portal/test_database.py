from __future__ import annotations

import io
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

from raster_analysis.errors import BudgetError, InputError, RasterAnalysisError, StoreError
from raster_analysis.portal import database
from raster_analysis.portal.database import Database
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.uploads import Uploads


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "portal.sqlite"


def count_settings(opened: Database) -> int:
    with opened.read() as connection:
        return connection.scalar(select(func.count()).select_from(database.settings)) or 0


def test_a_failed_transaction_leaves_nothing(path: Path) -> None:
    opened = Database(path)

    def write_and_fail() -> None:
        with opened.write() as connection:
            connection.execute(database.settings.insert().values(name="a", value="b"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert count_settings(opened) == 0
    opened.close()


def test_writers_of_two_processes_wait_for_each_other(path: Path) -> None:
    both = (Database(path), Database(path))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: both[n % 2].setting(f"name {n}", "value"), range(40)))
    assert count_settings(both[0]) == 40
    for opened in both:
        opened.close()


def test_a_setting_keeps_its_first_value(path: Path) -> None:
    opened = Database(path)
    assert opened.setting("organisation", "A") == "A"
    assert opened.setting("organisation", "B") == "A"
    opened.close()


def test_a_file_of_a_newer_version_is_refused_and_stays_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(RasterAnalysisError, match=r"portal\.sqlite was written by a newer version \(schema 99"):
        Database(path)
    left = sqlite3.connect(path)
    assert left.execute("SELECT name FROM sqlite_master").fetchall() == []
    left.close()


def test_uploads_stop_at_their_limit_and_at_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(tmp_path / "uploads", limit=10)
    with uploads.receive(io.BytesIO(b"x" * 10)) as received:
        assert received.stat().st_size == 10
    with pytest.raises(InputError, match="10 bytes allowed"), uploads.receive(io.BytesIO(b"x" * 11)):
        pass
    full = type("Usage", (), {"free": 51, "total": 1000})
    monkeypatch.setattr("raster_analysis.portal.uploads.shutil.disk_usage", lambda _: full)
    with pytest.raises(BudgetError, match="room for 1 bytes"), uploads.receive(io.BytesIO(b"xx")):
        pass
    assert list((tmp_path / "uploads").iterdir()) == []


def test_files_of_items_are_not_taken_for_left_overs_when_the_database_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    item = folder / "items" / ("0" * 32)
    item.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"portal\.sqlite is missing or empty.*restore it"):
        Portal(Settings(folder, "https://gis.example"))
    assert item.exists()
    assert not (folder / "portal.sqlite").exists()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "portal.sqlite").write_text("this is no database, whatever its name says")
    with pytest.raises(StoreError, match=r"portal\.sqlite cannot be used"):
        Portal(Settings(tmp_path, "https://gis.example"))
    assert (tmp_path / "portal.sqlite").read_text().startswith("this is no database")


def test_a_new_data_folder_is_for_the_server_alone(tmp_path: Path) -> None:
    Portal(Settings(tmp_path / "data", "https://gis.example")).close()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_a_file_of_the_first_version_gets_the_columns_that_came_later(path: Path) -> None:
    Database(path).close()
    later = ("type_keywords", "thumbnail", "protected")
    with closing(sqlite3.connect(path)) as older, older:
        for column in later:
            older.execute(f"ALTER TABLE items DROP COLUMN {column}")
        older.execute("DROP TABLE arrivals")
        older.execute("INSERT INTO users VALUES ('alice', 'alice', 'publisher', '', 0)")
        older.execute(
            "INSERT INTO items (id, owner, type, title, tags, access, size, created_ms, modified_ms, title_key,"
            " tags_key, words_key) VALUES ('0123', 'alice', 'PDF', 'Old', '', 'private', 0, 0, 0, 'old', '', 'old')"
        )
        older.execute("PRAGMA user_version = 1")
    opened = Database(path)
    with opened.read() as connection:
        row = connection.execute(select(database.items)).mappings().one()
        assert connection.scalar(select(func.count()).select_from(database.arrivals)) == 0
        assert connection.exec_driver_sql("PRAGMA user_version").scalar_one() == database.SCHEMA_VERSION
    assert [row["title"], *(row[name] for name in later)] == ["Old", "", None, False]
    opened.close()
