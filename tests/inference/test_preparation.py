from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raster_analysis.errors import BudgetError, ModelError
from raster_analysis.inference.in_memory import ArrayReader, tiny_info
from raster_analysis.inference.memory import memory_need
from raster_analysis.inference.preparation import SAMPLE_TILES, check_request, read_samples
from raster_analysis.inference.tiling import choose_tiling
from raster_analysis.inputs import ProcessingContext
from raster_analysis.model_info import Task

INFO = replace(tiny_info(Task.PIXELS, class_count=20, tile_size=256, padding=64), context=32)
SMALL = tiny_info(Task.PIXELS, tile_size=16, padding=0)
TILING = choose_tiling(SMALL, (160, 160), tile_size=16, memory_limit=10**9)


def samples_of(mask: np.ndarray) -> np.ndarray:
    data = np.arange(1, mask.size + 1, dtype=np.int32).reshape(1, *mask.shape)
    return read_samples(ArrayReader(data, mask), SMALL, TILING)


def test_samples_lie_on_the_diagonal_of_a_raster_without_holes() -> None:
    samples = samples_of(np.ones((160, 160), np.bool_))
    assert samples.shape == (SAMPLE_TILES, 1, 16, 16)
    assert samples[:, 0, 0, 0].tolist() == [160 * k + k + 1 for k in (0, 48, 96, 144)]


def test_samples_hold_pixels_where_corners_and_middle_are_nodata() -> None:
    """As in a satellite scene with a tilted footprint, or under a mask."""
    mask = np.zeros((160, 160), np.bool_)
    mask[48:64, 100:] = True
    samples = samples_of(mask)
    assert len(samples)
    assert (samples != 0).any(axis=(1, 2, 3)).all()


def test_of_nothing_but_nodata_there_is_no_sample() -> None:
    assert samples_of(np.zeros((160, 160), np.bool_)).shape == (0, 1, 16, 16)


@pytest.mark.parametrize("limit", [300, 500, 1000])
def test_a_tile_is_chosen_that_fits_when_probabilities_are_blended(limit: int) -> None:
    limit *= 1_000_000
    tiling = choose_tiling(INFO, (20_000, 20_000), memory_limit=limit, sample_bytes=8, probabilities=True)
    assert memory_need(tiling, INFO, 8, probabilities=True).total <= limit


def test_blending_is_refused_before_any_raster_is_read_when_no_tile_fits() -> None:
    # Room for one tile as labels, but not as twenty probabilities.
    limit = memory_need(choose_tiling(INFO, (256, 256), batch_size=1, tile_size=256, memory_limit=10**9), INFO, 1).total
    crop, blend = ProcessingContext(), ProcessingContext(merge="blend")
    check_request(INFO, Task.PIXELS, {}, processing=crop, memory_limit=limit)
    with pytest.raises(BudgetError):
        check_request(INFO, Task.PIXELS, {}, processing=blend, memory_limit=limit)


def test_class_values_that_leave_no_room_for_nodata_are_refused_at_once() -> None:
    info = replace(SMALL, values=(-1, 0, 2**31 - 1))
    with pytest.raises(ModelError, match="32-bit"):
        check_request(info, Task.PIXELS, {}, processing=ProcessingContext(), memory_limit=10**9)
