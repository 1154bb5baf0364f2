from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.errors import AccessError, InputError, ModelError, NotPermitted
from raster_analysis.portal.item import PACKAGE_TYPE, Access, ItemText, safe_name
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.users import User


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "upload.bin"
    path.write_bytes(b"first content")
    return path


def add(portal: Portal, owner: User, title: str = "Report", **text: str) -> str:
    return portal.add_item(portal.draft(owner, "PDF", ItemText(title=title, **text)), owner, None).id  # type: ignore[arg-type]


def messages_of(portal: Portal, item_id: str, user: User | None) -> str:
    with pytest.raises(AccessError) as error:
        portal.items.get(item_id, user)
    return str(error.value)


def test_an_item_is_read_back_as_it_was_written(portal: Portal, alice: User) -> None:
    text = ItemText(title="Bäume", tags="a, b ,a,,  c d", snippet="short", description="<b>long</b>")  # type: ignore[arg-type]
    item = portal.add_item(portal.draft(alice, "PDF", text), alice, None)
    assert portal.items.get(item.id, alice) == item
    assert len(item.id) == 32
    assert item.tags == ("a", "b", "c d")
    assert item.access is Access.PRIVATE
    assert item.description == "<b>long</b>"


def test_missing_and_forbidden_items_are_one_answer(portal: Portal, alice: User, bob: User) -> None:
    private = add(portal, alice)
    answers = {
        messages_of(portal, private, bob),
        messages_of(portal, private, None),
        messages_of(portal, "0" * 32, bob),
        messages_of(portal, "no id at all", bob),
        messages_of(portal, private.upper(), alice),
    }
    assert answers == {"Item does not exist or is inaccessible."}


@pytest.mark.parametrize(
    ("access", "readers"),
    [
        (Access.PRIVATE, {"alice", "root"}),
        (Access.ORG, {"alice", "root", "bob", "vera"}),
        (Access.PUBLIC, {"alice", "root", "bob", "vera", None}),
    ],
)
def test_access_decides_who_reads(
    portal: Portal, alice: User, bob: User, vera: User, root: User, access: Access, readers: set[str | None]
) -> None:
    item_id = add(portal, alice)
    portal.items.change(item_id, alice, {"access": access})
    for user in (alice, bob, vera, root, None):
        name = user.name if user else None
        if name in readers:
            assert portal.items.get(item_id, user).id == item_id
        else:
            messages_of(portal, item_id, user)


def test_only_owner_and_administrator_change_and_delete(portal: Portal, alice: User, bob: User, root: User) -> None:
    item_id = add(portal, alice)
    portal.items.change(item_id, alice, {"access": Access.PUBLIC})
    for wrong in (
        lambda: portal.items.change(item_id, bob, {"title": "mine"}),
        lambda: portal.items.delete(item_id, bob),
    ):
        with pytest.raises(AccessError):
            wrong()
    assert portal.items.change(item_id, root, {"title": "theirs"}).title == "theirs"
    portal.items.delete(item_id, alice)
    messages_of(portal, item_id, alice)


def test_new_data_keeps_the_id_and_open_downloads(portal: Portal, alice: User, source: Path) -> None:
    item = portal.add_item(portal.draft(alice, "Image", ItemText(title="x")), alice, source, "x.bin")
    path = portal.items.data_path(item)
    assert path is not None
    with path.open("rb") as download:
        source.unlink()
        second = path.parent.parent.parent / "second"
        second.write_bytes(b"second content, longer")
        again = portal.replace_file(item.id, alice, second, "y.bin")
        assert (again.id, again.name, again.size) == (item.id, "y.bin", 22)
        assert download.read() == b"first content"
    new_path = portal.items.data_path(again)
    assert new_path is not None
    assert new_path.read_bytes() == b"second content, longer"
    assert [file.name for file in new_path.parent.iterdir()] == [new_path.name]


def test_deleting_an_item_deletes_its_data(portal: Portal, alice: User, source: Path) -> None:
    item = portal.add_item(portal.draft(alice, "Image", ItemText(title="x")), alice, source, "x.bin")
    portal.items.delete(item.id, alice)
    assert list((portal.settings.folder / "items").iterdir()) == []


def test_what_a_crash_left_is_gone_at_the_next_start(portal: Portal, alice: User, source: Path) -> None:
    kept = portal.add_item(portal.draft(alice, "Image", ItemText(title="x")), alice, source, "x.bin")
    portal.items.place(kept.id, source, "new-version.bin")
    portal.items.place("f" * 32, source, "no-row.bin")
    (portal.settings.folder / "uploads" / "half").write_bytes(b"x")
    (portal.settings.folder / "packages" / ".unpacking-1").mkdir()
    portal.close()
    again = Portal(Settings(portal.settings.folder, portal.base_url))
    assert (portal.settings.folder / "uploads" / "half").exists(), (
        "opening alone removes nothing: a server may be running"
    )
    again.sweep()
    path = again.items.data_path(again.items.get(kept.id, alice))
    assert path is not None
    assert path.read_bytes() == b"first content"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    left = [
        item.name for name in ("items", "uploads", "packages") for item in (portal.settings.folder / name).iterdir()
    ]
    assert left == [kept.id]
    again.close()


def test_a_second_server_leaves_requests_in_progress_alone(portal: Portal, source: Path) -> None:
    portal.sweep()
    second = Portal(portal.settings)
    with source.open("rb") as stream, portal.uploads.receive(stream) as path:
        second.sweep()
        assert path.exists()
    second.close()


def test_the_organisation_keeps_its_id(portal: Portal) -> None:
    again = Portal(portal.settings)
    assert again.organisation == portal.organisation
    again.close()


def test_a_viewer_adds_nothing(portal: Portal, vera: User) -> None:
    with pytest.raises(NotPermitted):
        add(portal, vera)


def test_owner_and_access_cannot_be_said_in_an_items_text() -> None:
    given = {
        "title": "x",
        "owner": "root",
        "access": "public",
        "role": "administrator",
        "id": "1",
        "package_digest": "0",
    }
    assert ItemText.model_validate(given).given() == {"title": "x"}


def test_a_package_item_needs_a_valid_package(portal: Portal, alice: User, source: Path) -> None:
    with pytest.raises(ModelError, match=r"archive\.kind"):
        portal.add_item(portal.draft(alice, PACKAGE_TYPE, ItemText(title="m")), alice, source, "m.dlpk")
    with pytest.raises(InputError, match="needs its file"):
        portal.add_item(portal.draft(alice, PACKAGE_TYPE, ItemText(title="m")), alice, None)
    assert list((portal.settings.folder / "items").iterdir()) == []
    assert list((portal.settings.folder / "packages").iterdir()) == []


def test_items_of_services_are_not_added_by_hand(portal: Portal, alice: User) -> None:
    with pytest.raises(InputError, match="createService"):
        portal.add_item(portal.draft(alice, "Feature Service", ItemText(title="m")), alice, None)


def test_folders_are_their_owners_alone(portal: Portal, alice: User, bob: User) -> None:
    folder = portal.folders.create(alice, "models")
    assert portal.folders.list("alice") == [folder]
    item = portal.draft(alice, "PDF", ItemText(title="x"), folder.id)
    portal.items.add(item)
    assert portal.items.in_folder("alice", folder.id, alice, page=slice(0, 10)).items == (item,)
    assert portal.items.in_folder("alice", None, alice, page=slice(0, 10)).total == 0
    for wrong in (lambda: portal.folders.get(folder.id, "bob"), lambda: portal.folders.get("0" * 32, "bob")):
        with pytest.raises(AccessError, match=r"Folder does not exist or is inaccessible\."):
            wrong()
    with pytest.raises(AccessError):
        portal.draft(bob, "PDF", ItemText(title="x"), folder.id)
    with pytest.raises(InputError, match="not available"):
        portal.folders.create(alice, " models ")
    assert portal.folders.create(bob, "models").owner == "bob"


@given(st.text())
def test_safe_names_hold_nothing_that_headers_or_shells_read(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe) <= 121
    assert safe not in (".", "..")
    assert not set(safe) & set("/\\\"'\r\n\t\x00;<>|&$`*?:%")
    assert safe_name(safe) == safe


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"),
        ('x";\r\nSet-Cookie: a=b.dlpk', "x____Set-Cookie_ a_b.dlpk"),
        ("C:\\models\\trees.dlpk", "trees.dlpk"),
        ("Bäume 2.dlpk", "Bäume 2.dlpk"),
        ("", "data"),
        ("...", "data"),
    ],
)
def test_safe_names_by_example(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_file_placed_for_an_item_that_was_deleted_meanwhile_is_discarded(
    portal: Portal, alice: User, tmp_path: Path
) -> None:
    source = tmp_path / "result.tif"
    source.touch()
    item = portal.items.add(portal.items.draft("alice", "Image", "Gone"))
    data = portal.items.place(item.id, source, "result.tif")
    portal.items.delete(item.id, alice)
    portal.items.discard(data)
    assert not list((portal.settings.folder / "items").iterdir())
