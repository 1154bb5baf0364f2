from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlpk.definition import Definition, NormalizationStats
from dlpk.extension import Architecture, Extension, NetworkInput
from raster_analysis.errors import ModelError
from raster_analysis.models.preprocess import choose_normalisation

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])
STATS = NormalizationStats(
    band_min_values=(0.0, 10.0, 20.0, 30.0),
    band_max_values=(100.0, 210.0, 320.0, 430.0),
    band_mean_values=(40.0, 50.0, 60.0, 70.0),
    band_std_values=(4.0, 5.0, 6.0, 7.0),
    scaled_mean_values=(0.1, 0.2, 0.3, 0.4),
    scaled_std_values=(0.5, 0.6, 0.7, 0.8),
)
TILES = np.random.default_rng(3).integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)


def column(values):
    return np.array(values)[:, None, None]


def min_max(tiles, bands):
    low, high = column([STATS.band_min_values[b] for b in bands]), column([STATS.band_max_values[b] for b in bands])
    return (tiles - low) / (high - low)


def z_score(tiles, bands):
    mean = column([STATS.scaled_mean_values[b] for b in bands])
    return (tiles - mean) / column([STATS.scaled_std_values[b] for b in bands])


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        *(
            (name, lambda x: (x / 255 - column(IMAGENET_MEAN)) / column(IMAGENET_STD))
            for name in (
                "UnetClassifier", "PSPNetClassifier", "DeepLab", "SingleShotDetector", "RetinaNet", "FeatureClassifier"
            )
        ),
        ("YOLOv3", lambda x: x / 255),
        ("MaskRCNN", lambda x: x / 255),
        ("ChangeDetector", lambda x: (x / 255 - 0.5) / 0.5),
        (None, lambda x: x),
    ],
)  # fmt: skip
def test_families_without_statistics_are_normalised_as_they_were_trained(family, expected):
    normalisation = choose_normalisation(Definition(model_name=family), (0, 1, 2))
    np.testing.assert_allclose(normalisation.apply(TILES), expected(TILES.astype(float)), atol=1e-5)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        *(
            (name, lambda x: z_score(min_max(x, (3, 0, 2)), (3, 0, 2)))
            for name in ("UnetClassifier", "SingleShotDetector", "YOLOv3", None)
        ),
        ("MaskRCNN", lambda x: min_max(x, (3, 0, 2))),
    ],
)
def test_statistics_are_picked_by_extract_bands(family, expected):
    definition = Definition(model_name=family, normalization_stats=STATS)
    normalisation = choose_normalisation(definition, (3, 0, 2))
    np.testing.assert_allclose(normalisation.apply(TILES), expected(TILES.astype(float)), atol=1e-5)


def test_change_models_use_the_statistics_of_the_first_date_for_both():
    tiles = np.random.default_rng(4).integers(0, 256, (1, 4, 3, 3)).astype(np.uint8)
    definition = Definition(model_name="ChangeDetector", normalization_stats=STATS)
    normalisation = choose_normalisation(definition, (1, 2, 4, 5))
    np.testing.assert_allclose(normalisation.apply(tiles), (min_max(tiles, (1, 2, 1, 2)) - 0.5) / 0.5, atol=1e-5)


def test_mean_and_deviation_alone_are_used_as_they_are():
    stats = NormalizationStats(band_mean_values=(40.0, 50.0, 60.0), band_std_values=(4.0, 5.0, 6.0))
    normalisation = choose_normalisation(Definition(normalization_stats=stats), (0, 1, 2))
    expected = (TILES - column([40.0, 50, 60])) / column([4.0, 5, 6])
    np.testing.assert_allclose(normalisation.apply(TILES), expected, rtol=1e-5, atol=1e-5)


def test_what_the_extension_says_wins():
    explicit = NetworkInput(scale=1 / 255, mean=(0.5,), std=(0.25, 0.5, 1.0))
    definition = Definition(model_name="UnetClassifier", normalization_stats=STATS, extension=Extension(input=explicit))
    expected = (TILES / 255 - 0.5) / column([0.25, 0.5, 1.0])
    np.testing.assert_allclose(choose_normalisation(definition, (0, 1, 2)).apply(TILES), expected, atol=1e-5)


def test_torchvision_detectors_get_pixels_between_0_and_1():
    architecture = Architecture(library="torchvision", name="fasterrcnn_resnet50_fpn")
    normalisation = choose_normalisation(Definition(extension=Extension(architecture=architecture)), (0, 1, 2))
    np.testing.assert_allclose(normalisation.apply(TILES), TILES / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("definition", "bands", "message"),
    [
        (Definition(model_name="UnetClassifier"), (0, 1, 2, 3), "needs 3 bands, not 4"),
        (Definition(normalization_stats=STATS), (0, 1, 4), "covers 4 bands, which does not fit"),
        (Definition(normalization_stats=STATS), ("Red", "Green"), "covers 4 bands"),
        (Definition(normalization_stats=NormalizationStats()), (0,), "needs band_min_values and band_max_values"),
        (
            Definition(normalization_stats=NormalizationStats(band_min_values=(5.0,), band_max_values=(5.0,))),
            (0,),
            "must be above band_min_values",
        ),
        (
            Definition(extension=Extension(input=NetworkInput(mean=(1.0, 2.0)))),
            (0, 1, 2),
            "has 2 numbers and .* 3 bands",
        ),
        (Definition(extension=Extension(input=NetworkInput(scale=0.0))), (0,), "Scale is 0"),
    ],
)
def test_numbers_that_do_not_fit_the_bands_are_refused(definition, bands, message):
    with pytest.raises(ModelError, match=message):
        choose_normalisation(definition, bands)


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e4), st.floats(-10, 10), st.floats(0.1, 10))
def test_a_stretch_maps_the_ends_of_the_range_to_the_ends(low, extent, to_low, to_extent):
    definition = Definition(data_range=(to_low, to_low + to_extent))
    normalisation = choose_normalisation(definition, (0,))
    values = np.array([low - extent, low, low + extent, low + 2 * extent]).reshape(1, 1, 1, 4)
    stretched = normalisation.stretch(values, (low, low + extent)).ravel()
    # float32 arithmetic: the error grows with low / extent.
    tolerance = 1e-5 * to_extent * (1 + abs(low) / extent) + 1e-5
    np.testing.assert_allclose(stretched, [to_low, to_low, to_low + to_extent, to_low + to_extent], atol=tolerance)
