"""Changes between two dates, from Python."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio

import raster_analysis
from raster_analysis.errors import ParameterError


@pytest.fixture
def dates(make_raster, tmp_path, noise):
    return make_raster(tmp_path / "before.tif", noise), make_raster(tmp_path / "after.tif", noise[:, ::-1])


@pytest.fixture
def package(make_classifier):
    return make_classifier([120, 260, 380], bands=2)


def test_changes_are_what_numpy_finds_in_both_dates(dates, package, noise, tmp_path):
    result = raster_analysis.detect_change(*dates, package, tmp_path / "out.tif", precision="fp32")
    sums = noise[0].astype(int) + noise[0, ::-1]
    with rasterio.open(result.path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), np.digitize(sums, [120, 260, 380], right=True) * 10 + 10)
    assert any("Plan: 280 x 300 pixels" in message for message in result.messages)


def test_neither_date_is_overwritten(dates, package):
    for date in dates:
        content = date.read_bytes()
        with pytest.raises(ParameterError, match="is the input raster"):
            raster_analysis.detect_change(*dates, package, date, overwrite=True)
        assert date.read_bytes() == content


def test_a_raster_of_a_folder_of_inputs_is_not_overwritten(make_raster, noise, classifier, tmp_path):
    (tmp_path / "tiles").mkdir()
    inside = make_raster(tmp_path / "tiles" / "a.tif", noise)
    with pytest.raises(ParameterError, match="is the input raster"):
        raster_analysis.classify_pixels(tmp_path / "tiles", classifier, inside, overwrite=True)


def test_an_argument_that_does_not_exist_is_named(dates, package, tmp_path):
    with pytest.raises(ParameterError, match="did you mean 'padding'"):
        raster_analysis.detect_change(*dates, package, tmp_path / "out.tif", pading=3)
