"""Two dates of a place: what they share, what changes, and that the sample package finds it through the product."""

from __future__ import annotations

from pathlib import Path

import change_evaluate
import change_scenes
import numpy as np
import pytest
from change_pairs import make_pair
from scene import Date, LandCover, Scene, Window

import dlpk
import raster_analysis

PACKAGE = Path(__file__).parents[2] / "samples" / "packages" / "change.dlpk"
WINDOW = Window(0, 0, 256, 256)


@pytest.fixture(scope="module")
def dates() -> tuple[Scene, Scene]:
    before, after = (Scene(31337, 0.5, chunk=256, date=date) for date in Date)
    return before, after


def test_a_window_of_a_date_is_the_same_window_of_a_larger_one(dates: tuple[Scene, Scene]) -> None:
    before, after = dates
    small = Window(100, 60, 120, 90)
    inner = (slice(100, 220), slice(60, 150))
    np.testing.assert_array_equal(after.read(small).pixels, after.read(WINDOW).pixels[:, *inner])
    np.testing.assert_array_equal(before.changed(after, small), before.changed(after, WINDOW)[inner])


def test_land_cover_differs_only_where_something_changed(dates: tuple[Scene, Scene]) -> None:
    before, after = dates
    changed = before.changed(after, WINDOW)
    labels = before.read(WINDOW).labels, after.read(WINDOW).labels
    assert changed[labels[0] != labels[1]].all()
    assert 0.01 < changed.mean() < 0.6
    # A field in another stage stays a field.
    fields = (labels[0] == LandCover.FIELD) & (labels[1] == LandCover.FIELD)
    assert changed[fields].any()


def test_scenes_without_dates_cannot_be_compared() -> None:
    plain = Scene(7, 0.5, chunk=64)
    with pytest.raises(ValueError, match="two dates"):
        plain.changed(plain, Window(0, 0, 8, 8))


def test_a_shift_of_whole_cells_moves_the_later_picture() -> None:
    window = Window(10, 20, 40, 50)
    still, moved = (make_pair(3, 0.5, window, shift) for shift in ((0.0, 0.0), (1.0, -2.0)))
    np.testing.assert_array_equal(moved.before, still.before)
    np.testing.assert_array_equal(moved.after[:, 1:, :-2], still.after[:, :-1, 2:])


def test_the_package_is_small_and_without_findings() -> None:
    assert PACKAGE.stat().st_size < 2_000_000
    assert not dlpk.check(PACKAGE).findings


def test_changes_of_an_unseen_world_are_found_through_the_product(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("before.tif", "after.tif", "truth.tif", "found.tif")]
    options = ["--size", "640", "--seed", "31337", "--changes", str(paths[2])]
    change_scenes.main([str(paths[0]), str(paths[1]), *options])
    raster_analysis.detect_change(paths[0], paths[1], PACKAGE, paths[3])
    report = change_evaluate.compare(paths[3], paths[2])
    assert report["F1"] >= 0.8
    assert report["precision"] >= 0.85
