from __future__ import annotations

from pathlib import Path

import make_scene
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from scene import LandCover, Scene, Window


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    paths = [str(folder / name) for name in ("scene.tif", "labels.tif", "objects.gpkg")]
    arguments = [paths[0], "--size", "700", "600", "--seed", "5", "--labels", paths[1], "--vectors", paths[2]]
    assert make_scene.main(arguments) == 0
    return folder


def test_the_command_writes_a_tiled_picture_on_the_map(written: Path) -> None:
    with rasterio.open(written / "scene.tif") as image:
        assert (image.width, image.height, image.count) == (700, 600, 4)
        assert image.crs.to_epsg() == 32616
        assert image.res == (0.3, 0.3)
        assert image.profile["tiled"]
        assert image.profile["compress"] == "deflate"
        assert [band.name for band in image.colorinterp[:3]] == ["red", "green", "blue"]
        assert image.descriptions == make_scene.BANDS
        pixels = image.read()
    np.testing.assert_array_equal(pixels, Scene(5, 0.3).read(Window(0, 0, 600, 700)).pixels)


def test_outlines_agree_with_labels(written: Path) -> None:
    with rasterio.open(written / "labels.tif") as dataset:
        labels, transform = dataset.read(1), dataset.transform
    for layer, cover in (("trees", LandCover.TREE), ("buildings", LandCover.BUILDING)):
        _, _, geometry, _ = pyogrio.raw.read(written / "objects.gpkg", layer=layer)
        shapes = shapely.from_wkb(geometry)
        assert len(shapes) > 3
        assert shapely.is_valid(shapes).all()
        drawn = rasterize(shapes, labels.shape, transform=transform).astype(bool)
        labelled = labels == cover
        agreement = (drawn & labelled).sum() / (drawn | labelled).sum()
        assert agreement > 0.75, layer


def test_more_workers_give_the_same_picture(written: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.tif"
    make_scene.main([str(out), "--size", "700", "600", "--seed", "5", "--workers", "2"])
    with rasterio.open(out) as again, rasterio.open(written / "scene.tif") as image:
        np.testing.assert_array_equal(again.read(), image.read())
