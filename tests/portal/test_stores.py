from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.errors import AccessError, InputError
from raster_analysis.portal.stores import Stores


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.tif").write_bytes(b"secret")
    root = tmp_path_factory.mktemp("root")
    (root / "a b").mkdir()
    (root / "a b" / "scene.tif").write_bytes(b"II*\0")
    (root / "inner.tif").symlink_to(root / "a b" / "scene.tif")
    (root / "leaving.tif").symlink_to(outside / "secret.tif")
    (root / "leaving").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(root / "loop")
    return Stores({"images": root, "other": outside})


@pytest.mark.parametrize(
    "uri",
    [
        "/fileShares/images/a b/scene.tif",
        "/rasterStores/images/a b/scene.tif",
        "/fileShares/images/a%20b/scene.tif",
        "/fileShares/images/inner.tif",
    ],
)
def test_files_in_a_store_are_found(stores: Stores, uri: str) -> None:
    assert stores.locate(uri).name == "scene.tif"


def test_folders_in_a_store_are_found(stores: Stores) -> None:
    assert stores.locate("/fileShares/images/a b/").is_dir()


@pytest.mark.parametrize(
    "uri",
    [
        "/fileShares/images/../outside/secret.tif",
        "/fileShares/images/a b/../../outside",
        "/fileShares/images/%2e%2e/outside",
        "/fileShares/images/%252e%252e/outside",
        "/fileShares/images/a%2fb%2F..%2f..",
        "/fileShares/images/a\x00b",
        "/fileShares/images/a%00b",
        "/fileShares/images//etc/passwd",
        "/fileShares/images/./inner.tif",
        "/fileShares/images/a\\..\\b",
        "/fileShares/images/C:/x",
        "/fileShares/images/<VRTDataset>",
        "/fileShares/images/{}",
        "/fileShares/images",
        "/fileShares/images/",
        "/fileShares/",
        "/etc/passwd",
        "etc/passwd",
        "\\\\server\\share\\x.tif",
        "file:///etc/passwd",
        "/vsicurl/http://x/y.tif",
        "/cloudStores/images/x.tif",
        "/fileshares/images/inner.tif",
        "",
        "/fileShares/images/" + "x" * 5000,
    ],
)
def test_text_that_is_no_plain_store_path_is_refused(stores: Stores, uri: str) -> None:
    with pytest.raises(InputError):
        stores.locate(uri)


def test_missing_unregistered_and_leaving_are_one_answer(stores: Stores) -> None:
    answers = set()
    for uri in (
        "/fileShares/images/missing.tif",
        "/fileShares/unknown/inner.tif",
        "/fileShares/images/leaving.tif",
        "/fileShares/images/leaving/secret.tif",
        "/fileShares/images/loop",
        "/fileShares/../inner.tif",
    ):
        with pytest.raises(AccessError) as error:
            stores.locate(uri)
        answers.add(str(error.value).replace(repr(uri), "URI"))
    assert answers == {"URI does not exist or is inaccessible"}


@given(st.text(alphabet=st.sampled_from("a./%2eEfF5cC\\ ~:\x00"), max_size=30))
def test_nothing_outside_a_store_is_ever_found(stores: Stores, path: str) -> None:
    root = stores.locate("/fileShares/images/a b").parent
    try:
        found = stores.locate(f"/fileShares/images/{path}")
    except InputError:
        return
    assert found.is_relative_to(root)
    assert found != root


def test_stores_are_checked_when_registered(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        Stores({"images": tmp_path / "missing"})
    with pytest.raises(InputError, match="not usable"):
        Stores({"a/b": tmp_path})


def test_what_is_private_to_the_server_is_in_no_store(tmp_path: Path) -> None:
    private = tmp_path / "data"
    (private / "items").mkdir(parents=True)
    (private / "items" / "hers.tif").touch()
    (tmp_path / "mine.tif").touch()
    (tmp_path / "link.tif").symlink_to(private / "items" / "hers.tif")
    stores = Stores({"all": tmp_path, "inner": private / "items"}, private=private)
    assert stores.locate("/fileShares/all/mine.tif").name == "mine.tif"
    for uri in ("all/data/items/hers.tif", "all/data", "all/link.tif", "inner/hers.tif"):
        with pytest.raises(AccessError):
            stores.locate(f"/fileShares/{uri}")


def test_a_store_lists_what_can_be_named_in_it(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "sub").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.tif").touch()
    for name in ("b.tif", "A.TIF", "notes.txt", "sub/c.tif", "50%.tif", "a:b.tif"):
        (root / name).touch()
    (root / os.fsdecode(b"\xff.tif")).touch()
    (root / "escape").symlink_to(outside)
    (root / "escape.tif").symlink_to(outside / "secret.tif")
    (root / "inside.tif").symlink_to(root / "b.tif")
    stores = Stores({"images": root}, private=root / "data")
    (root / "data").mkdir()
    everything = ["A.TIF", "b.tif", "inside.tif", "notes.txt", "sub/"]
    for place in ("images", "/fileShares/images", "/rasterStores/images/", " images "):
        assert stores.names_in(place, "") == everything
    assert stores.names_in("images", "*.tif") == ["A.TIF", "b.tif", "inside.tif"]
    assert stores.names_in("images", "*.txt, s*") == ["notes.txt", "sub/"]
    assert stores.names_in("/rasterStores/images/sub", "*") == ["c.tif"]
    assert stores.names_in("/rasterStores/images/sub/", "*.png") == []
    for name in everything:
        assert stores.locate(f"/fileShares/images/{name}")


@pytest.mark.parametrize(
    "place",
    ["", "other", "/fileShares/other", "/fileShares/images/..", "/fileShares/images/../..", "/etc", "../images",
     "/fileShares", "/fileShares/images/escape", "/fileShares/images/b.tif", "/fileShares/images/missing",
     "/cloudStores/images", "images/sub"],
)  # fmt: skip
def test_no_other_place_is_listed(tmp_path: Path, place: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "b.tif").touch()
    (root / "escape").symlink_to(tmp_path)
    with pytest.raises(InputError) as refused:
        Stores({"images": root}).names_in(place, "*")
    assert str(tmp_path) not in str(refused.value)


def test_a_list_without_end_is_refused_and_a_filter_makes_it_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raster_analysis.portal.stores._MOST_NAMES", 5)
    for number in range(8):
        (tmp_path / f"{number}.tif").touch()
    stores = Stores({"images": tmp_path})
    with pytest.raises(InputError, match="more than 5 names that match; give a narrower filter"):
        stores.names_in("images", "*.tif")
    assert stores.names_in("images", "3*") == ["3.tif"]
