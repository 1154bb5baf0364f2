from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import dlpk
from raster_analysis.errors import ModelError
from raster_analysis.portal.item import PACKAGE_TYPE, ItemText
from raster_analysis.portal.packages import Packages
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.users import User


def test_a_package_is_kept_unpacked_under_its_digest(portal: Portal, make_package) -> None:  # type: ignore[no-untyped-def]
    path = make_package("tree")
    digest = portal.packages.keep(path, "trees")
    assert digest == dlpk.open(path).digest == dlpk.open(portal.packages.path(digest)).digest
    assert portal.packages.has(digest)
    written = [file for file in portal.packages.path(digest).rglob("*") if file.is_file()]
    assert {file.name for file in written} == {"tiny.emd", "tiny.onnx"}
    assert not any(file.stat().st_mode & 0o222 for file in written)


def test_fifty_imports_of_one_package_at_once_leave_one_copy(portal: Portal, alice: User, make_package) -> None:  # type: ignore[no-untyped-def]
    path = make_package("tree")

    def add(_: int) -> str:
        draft = portal.draft(alice, PACKAGE_TYPE, ItemText(title="m"))
        return portal.add_item(draft, alice, path, "m.dlpk").package_digest or ""

    with ThreadPoolExecutor(16) as threads:
        digests = set(threads.map(add, range(50)))
    assert digests == {dlpk.open(path).digest}
    assert [entry.name for entry in (portal.settings.folder / "packages").iterdir()] == [*digests]
    assert portal.items.select(alice, page=slice(0, 1), order=portal_order()).total == 50


def portal_order():  # type: ignore[no-untyped-def]
    from raster_analysis.portal.database import items

    return items.c.id


def test_two_processes_that_keep_one_package_both_succeed(tmp_path: Path, make_package) -> None:  # type: ignore[no-untyped-def]
    path, folder = make_package("tree"), tmp_path / "packages"
    packages = [Packages(folder) for _ in range(8)]  # each with a lock of its own, as in processes of their own
    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda each: each.keep(path, "m"), packages))
    assert [entry.name for entry in folder.iterdir()] == [*digests]


def test_a_refused_package_leaves_nothing_and_names_its_faults(portal: Portal, tmp_path: Path) -> None:
    path = tmp_path / "bad.dlpk"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.emd", "{}")
    with pytest.raises(ModelError, match=r"'bad' is not a usable package: .*zip\.path"):
        portal.packages.keep(path, "bad")
    assert list((portal.settings.folder / "packages").iterdir()) == []


def test_a_process_killed_while_it_unpacks_leaves_no_partial_model(tmp_path: Path, make_package) -> None:  # type: ignore[no-untyped-def]
    path, folder = make_package("tree"), tmp_path / "packages"
    script = (
        "import os, signal, sys; from pathlib import Path; import dlpk.extraction as e\n"
        "from raster_analysis.portal.packages import Packages\n"
        "e._rename_new = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "Packages(Path(sys.argv[2])).keep(Path(sys.argv[1]), 'm')\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path), str(folder)], check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 1
    packages = Packages(folder)
    assert not packages.has(dlpk.open(path).digest)
    packages.sweep(())
    assert list(folder.iterdir()) == []
    assert packages.has(packages.keep(path, "m"))


def test_packages_that_no_item_and_no_job_has_any_more_are_removed_at_the_start(
    portal: Portal, alice: User, make_package
) -> None:  # type: ignore[no-untyped-def]
    draft = portal.draft(alice, PACKAGE_TYPE, ItemText(title="Trees"))
    item = portal.add_item(draft, alice, make_package("first"), "m.dlpk")
    portal.replace_file(item.id, alice, make_package("second"), "m.dlpk")
    waiting = portal.packages.keep(make_package("third"), "m")
    assert len(list((portal.settings.folder / "packages").iterdir())) == 3
    portal.sweep([waiting])
    kept = {folder.name for folder in (portal.settings.folder / "packages").iterdir()}
    assert kept == {waiting, portal.items.get(item.id, alice).package_digest}
    portal.items.delete(item.id, alice)
    portal.sweep()
    assert list((portal.settings.folder / "packages").iterdir()) == []
