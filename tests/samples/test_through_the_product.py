"""Scene, package and evaluation fit together through the product's own commands."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import evaluate
import make_scene
import pytest

import raster_analysis

PACKAGES = Path(__file__).parents[2] / "samples" / "packages"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    paths = [str(folder / name) for name in ("scene.tif", "labels.tif", "objects.gpkg")]
    make_scene.main([paths[0], "--size", "800", "--seed", "31337", "--labels", paths[1], "--vectors", paths[2]])
    return folder


def test_a_scene_is_classified_as_its_labels_say(scene: Path) -> None:
    raster_analysis.classify_pixels(scene / "scene.tif", PACKAGES / "landcover.dlpk", scene / "cover.tif")
    report = evaluate.compare_pixels(scene / "cover.tif", scene / "labels.tif")
    assert report["mIoU"] >= 0.8


def test_the_trees_of_a_scene_are_found(scene: Path) -> None:
    raster_analysis.detect_objects(scene / "scene.tif", PACKAGES / "detector.dlpk", scene / "found.gpkg")
    options = Namespace(
        found=scene / "found.gpkg", truth=scene / "objects.gpkg", layer="trees", found_class="Tree",
        raster=None, threshold=0.0, iou=0.4,
    )  # fmt: skip
    report = evaluate.compare_objects(options)
    assert report["f1"] >= 0.85
    assert report["true"] > 30
