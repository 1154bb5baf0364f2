"""The committed packages hold what their documentation promises, on a scene whose seed they were not trained with."""

from __future__ import annotations

import json
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from crops import draw_crops
from matching import Score, class_overlaps, match, suppress
from scene import LandCover, Picture, Scene, Window
from scene.outlines import object_boxes

import dlpk

PACKAGES = Path(__file__).parents[2] / "samples" / "packages"
NAMES = ("detector", "landcover", "neon_trees", "objects")
WINDOW = Window(3072, -1024, 768, 768)
SEED = 987_654


@cache
def unseen() -> Scene:
    return Scene(SEED, 0.3)


def run(name: str, picture: Picture) -> np.ndarray:
    with zipfile.ZipFile(PACKAGES / f"{name}.dlpk") as archive:
        definition = json.loads(archive.read(f"{name}.emd"))
        network = archive.read(definition["ModelFile"])
    rule = definition["RasterAnalysis"]["Input"]
    bands = picture.pixels[definition["ExtractBands"]].astype(np.float32)
    shape = (-1, 1, 1)
    normalised = (bands - np.reshape(rule["Mean"], shape)) / np.reshape(rule["Std"], shape)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return session.run(None, {rule["Name"]: normalised[None].astype(np.float32)})[0][0]


@pytest.mark.parametrize("name", NAMES)
def test_a_package_is_small_and_without_findings(name: str) -> None:
    path = PACKAGES / f"{name}.dlpk"
    assert path.stat().st_size < 2_000_000
    report = dlpk.check(path)
    assert report.package is not None
    assert not report.findings


def test_land_cover_agrees_with_the_truth() -> None:
    picture = unseen().read(WINDOW)
    found = run("landcover", picture).argmax(axis=0).astype(np.uint8)
    shares = class_overlaps(found, picture.labels, [int(cover) for cover in LandCover])
    assert len(shares) >= 4
    assert np.mean(list(shares.values())) >= 0.8


def test_nothing_is_classified_where_there_is_no_picture() -> None:
    picture = unseen().read(Window(0, 0, 256, 256))
    pixels = picture.pixels.copy()
    pixels[:, :, 128:] = 0
    found = run("landcover", Picture(pixels, picture.labels)).argmax(axis=0)
    assert (found[:, 140:] == 0).mean() > 0.95
    assert (found[:, :116] == 0).mean() < 0.02


@pytest.mark.parametrize(("kind", "least"), [(0, 0.7), (1, 0.7)], ids=["trees", "buildings"])
def test_the_detector_finds_most_objects(kind: int, least: float) -> None:
    assert score_of_detector(kind).f1 >= least


def score_of_detector(kind: int) -> Score:
    cx, cy, width, height, *scores = run("detector", unseen().read(WINDOW)).astype(float)
    likely = scores[kind] > 0.3
    boxes = np.stack([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], axis=1)[likely]
    kept = suppress(boxes, scores[kind][likely], 0.3)
    true, classes = object_boxes(unseen(), WINDOW)
    return match(boxes[kept], scores[kind][likely][kept], true[classes == kind])


def test_the_classifier_of_objects_names_nearly_all() -> None:
    drawn = draw_crops(range(SEED, SEED + 1), per_seed=6, most=12, cell_sizes=(0.3, 0.3001))
    found = np.array([run("objects", Picture(pixels, pixels[0])).argmax() for pixels in drawn.pixels])
    assert len(set(drawn.kinds)) >= 3
    assert (found == drawn.kinds).mean() >= 0.95
