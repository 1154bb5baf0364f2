from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import shapely

from raster_analysis.detections import Detections
from raster_analysis.errors import OutputError
from raster_analysis.inference.blocks import load_detections, load_labels, save_detections, save_labels

LABELS = np.arange(12, dtype=np.uint16).reshape(3, 4)


def detections(*, outlined: bool) -> Detections:
    outlines = [shapely.box(0, 0, 1, 2), shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(3, 3, 4, 4)])]
    return Detections(
        np.array([[0, 0, 1, 2], [0, 0, 4.25, 4]]),
        np.array([0.5, 0.7], np.float32),
        np.array([1, 0], np.int32),
        np.array(outlines if outlined else [], object),
    )


def test_labels_come_back_as_they_were(tmp_path: Path) -> None:
    digest = save_labels(tmp_path / "block.npy", LABELS)
    loaded = load_labels(tmp_path / "block.npy", digest)
    assert loaded.dtype == LABELS.dtype
    assert (loaded == LABELS).all()
    assert hashlib.sha256((tmp_path / "block.npy").read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("outlined", [True, False])
def test_detections_come_back_as_they_were(tmp_path: Path, outlined: bool) -> None:
    saved = detections(outlined=outlined)
    loaded = load_detections(tmp_path / "b.npz", save_detections(tmp_path / "b.npz", saved))
    assert (loaded.boxes_xyxy == saved.boxes_xyxy).all()
    assert (loaded.scores == saved.scores).all()
    assert (loaded.labels == saved.labels).all()
    assert list(loaded.outlines) == list(saved.outlines)


def test_no_detections_come_back_as_none(tmp_path: Path) -> None:
    assert len(load_detections(tmp_path / "b.npz", save_detections(tmp_path / "b.npz", Detections.empty()))) == 0


def test_the_same_detections_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save_detections(tmp_path / "1.npz", detections(outlined=True))
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert save_detections(tmp_path / "2.npz", detections(outlined=True)) == first


@pytest.mark.parametrize("damage", ["changed", "short", "gone"])
def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "block.npy"
    digest = save_labels(path, LABELS)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"?" if damage == "changed" else b""))
    with pytest.raises(OutputError, match=r"block file block\.npy"):
        load_labels(path, digest)


def test_only_the_finished_file_is_left(tmp_path: Path) -> None:
    save_labels(tmp_path / "block.npy", LABELS)
    save_labels(tmp_path / "block.npy", LABELS + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["block.npy"]


def test_an_error_names_the_file_and_no_path(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as error:
        save_labels(tmp_path / "missing" / "block.npy", LABELS)
    assert "block.npy" in str(error.value)
    assert str(tmp_path) not in str(error.value)


def test_a_full_disk_is_an_error_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = save_labels(tmp_path / "block.npy", LABELS)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(OutputError, match="No space left on device"):
        save_labels(tmp_path / "block.npy", LABELS + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["block.npy"]
    assert (load_labels(tmp_path / "block.npy", digest) == LABELS).all()
