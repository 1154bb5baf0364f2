"""The contract of storages, run over each of them, the bucket on a real S3 server on loopback."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from buckets import FailingServer, serve_bucket

from raster_analysis.errors import AccessError, BudgetError, InputError, StoreError
from raster_analysis.handle import Stamp
from raster_analysis.portal.cache import Cache
from raster_analysis.portal.item import ItemText
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.storage import FolderStorage, Storage, require
from raster_analysis.portal.storage_bucket import BucketStorage, Patience, parse_url
from raster_analysis.portal.users import Role

BUCKET = "s3://items/some/prefix"
QUICK = Patience(connect_s=0.5, request_s=0.3, retries=3, total_s=5)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with serve_bucket("items") as url:
        yield url


def use_endpoint(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(monkeypatch, endpoint)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 40_000_000)


@pytest.fixture
def bucket(aws: None, cache: Cache, request: pytest.FixtureRequest) -> BucketStorage:
    return BucketStorage(BUCKET, request.node.name.replace("[", "-").replace("]", ""), cache)


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "items")
    storage: Storage = request.getfixturevalue("bucket")
    return storage


def write(tmp_path: Path, content: bytes = b"some content") -> Path:
    path = tmp_path / "source.bin"
    path.write_bytes(content)
    return path


# The contract


@pytest.mark.parametrize("size", [0, 1, 5 * 1024**2 + 1, 11_000_000])
def test_a_file_comes_back_as_it_was_put(storage: Storage, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    source = write(tmp_path, content)
    assert storage.put("a/x.tif", source) == size
    assert source.read_bytes() == content
    assert b"".join(storage.read("a/x.tif", 0, size)) == content
    local = storage.local("a/x.tif")
    assert local.read_bytes() == content
    assert local.suffix == ".tif"


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (3, 7), (11, 12), (5, 5)])
def test_any_part_can_be_read(storage: Storage, tmp_path: Path, start: int, stop: int) -> None:
    storage.put("a/x", write(tmp_path, b"0123456789ab"))
    assert b"".join(storage.read("a/x", start, stop)) == b"0123456789ab"[start:stop]


def test_a_local_file_is_read_only_and_stays_the_same_file(storage: Storage, tmp_path: Path) -> None:
    storage.put("a/x", write(tmp_path))
    first = storage.local("a/x")
    stamp = Stamp.of(first)
    assert not first.stat().st_mode & stat.S_IWUSR
    assert Stamp.of(storage.local("a/x")) == stamp


def test_the_source_may_change_after_it_was_put_to_another_name(storage: Storage, tmp_path: Path) -> None:
    source = write(tmp_path, b"first")
    storage.put("a/x", source)
    source.unlink()
    storage.put("a/y", write(tmp_path, b"second"))
    assert b"".join(storage.read("a/x", 0, 5)) == b"first"


def test_keys_are_those_of_the_files_that_are_there(storage: Storage, tmp_path: Path) -> None:
    assert list(storage.all_keys()) == []
    for key in ("a/x", "a/y.tif", "b/x"):
        storage.put(key, write(tmp_path))
    storage.remove("a/x")
    storage.remove("a/x")
    storage.remove("c/never-was")
    assert sorted(storage.all_keys()) == ["a/y.tif", "b/x"]
    assert require(storage)


def test_a_file_that_is_not_there_reads_as_a_missing_item(storage: Storage) -> None:
    with pytest.raises(AccessError, match="does not exist or is inaccessible"):
        storage.read("a/x", 0, 1)


def test_a_source_that_fails_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises((OSError, StoreError)):
        storage.put("a/x", tmp_path / "not there")
    assert list(storage.all_keys()) == []


# The bucket


def test_two_portals_on_one_prefix_do_not_see_each_others_files(aws: None, cache: Cache, tmp_path: Path) -> None:
    one, two = (BucketStorage(BUCKET, name, cache) for name in ("one", "two"))
    one.put("a/x", write(tmp_path))
    assert list(two.all_keys()) == []


def test_a_file_that_breaks_off_is_not_in_the_bucket(
    bucket: BucketStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path, bytes(12_000_000))

    class Broken(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 10 * 1024**2:
                raise OSError(5, "Input/output error")
            return super().read(size or -1)

    monkeypatch.setattr(Path, "open", lambda path, mode: Broken(path))
    with pytest.raises(StoreError, match=r"item storage s3://items/some/prefix cannot take a file"):
        bucket.put("a/x", source)
    assert list(bucket.all_keys()) == []


@pytest.mark.parametrize(("status", "reason"), [(403, "refuses the server's keys"), (503, "try again later"), (0, "")])
def test_a_service_that_fails_is_named_after_a_few_tries(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, reason: str
) -> None:
    server = FailingServer(status)
    use_endpoint(monkeypatch, server.url)
    storage = BucketStorage(BUCKET, "p", cache, patience=QUICK)
    works = {
        "take a file": lambda: storage.put("a/x", write(tmp_path)),
        "give a file": lambda: storage.read("a/x", 0, 1),
        "be listed": lambda: require(storage),
    }
    try:
        for what, work in works.items():
            server.requests = 0
            with pytest.raises(StoreError, match=rf"item storage {BUCKET} cannot {what}: .*{reason}") as error:
                work()
            assert "127.0.0.1" not in str(error.value)
            assert server.requests == (1 if status == 403 else 4)
    finally:
        server.stop()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == []


def test_a_bucket_that_is_gone_is_not_taken_for_a_missing_item(aws: None, cache: Cache, tmp_path: Path) -> None:
    storage = BucketStorage("s3://nowhere", "p", cache)
    for work in (
        lambda: storage.put("a/x", write(tmp_path)),
        lambda: storage.read("a/x", 0, 1),
        lambda: storage.local("a/x"),
        lambda: require(storage),
    ):
        with pytest.raises(StoreError, match=r"s3://nowhere cannot .*: there is no such bucket"):
            work()


@pytest.mark.parametrize(
    "url", ["s3://", "s3://UPPER/x", "s3://b", "s3://bucket/a b", "s3://bucket/../x?y", "file:///x"]
)
def test_a_storage_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="give folder or s3://bucket/prefix"):
        parse_url(url)


# A portal whose items lie in a bucket


@pytest.fixture
def portal(aws: None, tmp_path: Path) -> Iterator[Portal]:
    portal = Portal(Settings(tmp_path / "data", "https://gis.example", item_storage=BUCKET))
    yield portal
    portal.close()


def test_items_live_and_end_in_the_bucket(portal: Portal, tmp_path: Path) -> None:
    alice = portal.users.add("alice", "correct horse", Role.PUBLISHER)
    draft = portal.draft(alice, "Image", ItemText(title="x"))
    item = portal.add_item(draft, alice, write(tmp_path, b"first"), "x.tif")
    assert list(portal.storage.all_keys()) == [f"{item.id}/{item.data_file}"]
    assert b"".join(portal.items.read_data(item, 1, 4)) == b"irs"
    local = portal.items.data_path(item)
    assert local is not None
    assert local.parent == tmp_path / "data" / "cache"
    again = portal.replace_file(item.id, alice, write(tmp_path, b"second"), "y.tif")
    assert list(portal.storage.all_keys()) == [f"{again.id}/{again.data_file}"]
    assert not local.exists()
    portal.items.delete(item.id, alice)
    assert list(portal.storage.all_keys()) == []


def test_what_a_crash_left_in_the_bucket_is_swept(portal: Portal, tmp_path: Path) -> None:
    alice = portal.users.add("alice", "correct horse", Role.PUBLISHER)
    draft = portal.draft(alice, "Image", ItemText(title="x"))
    kept = portal.add_item(draft, alice, write(tmp_path), "x.tif")
    portal.items.place(kept.id, write(tmp_path), "new-version.tif")
    portal.items.place("f" * 32, write(tmp_path), "no-row.tif")
    (tmp_path / "data" / "cache" / ".tmp-half").write_bytes(b"x")
    portal.sweep()
    assert list(portal.storage.all_keys()) == [f"{kept.id}/{kept.data_file}"]
    assert list((tmp_path / "data" / "cache").iterdir()) == []


def test_an_item_is_deleted_although_its_bucket_does_not_answer(
    aws: None, portal: Portal, tmp_path: Path, endpoint: str
) -> None:
    alice = portal.users.add("alice", "correct horse", Role.PUBLISHER)
    item = portal.add_item(portal.draft(alice, "Image", ItemText(title="x")), alice, write(tmp_path), "x.tif")
    server = FailingServer(403)
    os.environ["AWS_ENDPOINT_URL"] = server.url  # set back with the fixture's other variables
    try:
        other = Portal(Settings(tmp_path / "data", "https://gis.example", item_storage=BUCKET))
        other.items.delete(item.id, alice)
        other.close()
    finally:
        server.stop()
    with pytest.raises(AccessError):
        portal.items.get(item.id, alice)
    assert len(list(portal.storage.all_keys())) == 1, "nobody could remove it"
    portal.sweep()
    assert list(portal.storage.all_keys()) == []


def test_nothing_becomes_an_item_when_the_bucket_takes_nothing(aws: None, tmp_path: Path) -> None:
    portal = Portal(Settings(tmp_path / "data", "https://gis.example", item_storage="s3://nowhere/x"))
    alice = portal.users.add("alice", "correct horse", Role.PUBLISHER)
    with pytest.raises(StoreError, match="s3://nowhere/x"):
        portal.add_item(portal.draft(alice, "Image", ItemText(title="x")), alice, write(tmp_path), "x.tif")
    assert portal.items.in_folder("alice", None, alice, page=slice(0, 9)).total == 0
    portal.close()


def test_a_file_larger_than_the_cache_is_refused_with_both_figures(aws: None, tmp_path: Path) -> None:
    storage = BucketStorage(BUCKET, "small", Cache(tmp_path / "small", 1000))
    storage.put("a/x", write(tmp_path, bytes(2000)))
    with pytest.raises(BudgetError, match=r"2,000 bytes.*1,000"):
        storage.local("a/x")
    assert list((tmp_path / "small").iterdir()) == []
