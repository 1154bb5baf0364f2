from __future__ import annotations

import numpy as np
import pytest

from raster_analysis.errors import BudgetError, ModelError
from raster_analysis.models.batches import probe_tiles, run_halving, split_batch
from raster_analysis.models.network import NetworkPlan, OutOfMemory, fill_batch
from raster_analysis.models.preprocess import Normalisation


def plan(batch=4, *, fixed_batch=False):
    return NetworkPlan(
        Normalisation((1.0,), (0.0,), "none"), 1, 2, 2, batch, fixed_batch, "NCHW", None, 4,
        takes_bytes=False, device="cpu", precision="fp32", threads=0,
    )  # fmt: skip


def fits(limit):
    def run(tiles):
        if len(tiles) > limit:
            raise OutOfMemory(f"{len(tiles)} tiles do not fit")
        return tiles

    return run


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_a_batch_without_memory_is_halved_until_it_fits(limit):
    tiles = np.arange(7 * 4).reshape(7, 1, 2, 2)
    parts = run_halving(fits(limit), tiles, plan(7))
    assert max(map(len, parts)) <= limit
    np.testing.assert_array_equal(np.concatenate(parts), tiles)


def test_a_tile_that_does_not_fit_alone_is_a_budget_error():
    with pytest.raises(BudgetError, match="1 tiles do not fit"):
        run_halving(fits(0), np.zeros((3, 1, 2, 2)), plan())
    with pytest.raises(BudgetError, match="3 tiles do not fit"):
        run_halving(fits(1), np.zeros((3, 1, 2, 2)), plan(fixed_batch=True))


def test_tiles_are_split_in_order_and_filled_up():
    tiles = np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2)
    parts = list(split_batch(tiles, plan()))
    assert [len(part) for part in parts] == [4, 2]
    filled = fill_batch(parts[1], plan(fixed_batch=True))
    np.testing.assert_array_equal(filled[:2], tiles[4:])
    assert not filled[2:].any()
    assert fill_batch(parts[1], plan()) is parts[1]


@pytest.mark.parametrize(
    ("tiles", "message"),
    [
        (np.zeros((1, 2, 2, 2)), r"tiles of shape \(1, 2, 2, 2\) do not fit .* 1 bands"),
        (np.zeros((1, 2, 2)), "do not fit"),
        (np.zeros((1, 1, 2, 2), complex), "complex128 cannot be given"),
    ],
)
def test_tiles_of_another_kind_are_refused(tiles, message):
    with pytest.raises(ModelError, match=message):
        list(split_batch(tiles, plan()))


def test_the_probe_is_the_same_each_time():
    np.testing.assert_array_equal(probe_tiles(plan()), probe_tiles(plan()))
