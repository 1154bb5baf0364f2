from __future__ import annotations

from dataclasses import replace

import pytest

from raster_analysis.errors import BudgetError, ParameterError
from raster_analysis.inference.in_memory import tiny_info
from raster_analysis.inference.tiling import choose_tiling, memory_bill
from raster_analysis.model_info import ModelInfo, Task

LIMIT = 2_000_000_000
ROADS = replace(
    tiny_info(Task.PIXELS, tile_size=256, padding=64), name="roads", tile_multiple=32, bands=(0, 1, 2), batch_size=4
)
FIXED = replace(ROADS, variable_tile=False)
SHRINKING = replace(FIXED, model_padding=64, padding=64)


def test_what_the_user_gives_is_used() -> None:
    tiling = choose_tiling(ROADS, (5000, 5000), tile_size=320, padding=0, batch_size=7, memory_limit=LIMIT)
    assert (tiling.tile_height, tiling.tile_width, tiling.padding, tiling.batch_size) == (320, 320, 0, 7)


@pytest.mark.parametrize(
    ("info", "wish", "message"),
    [
        (ROADS, {"tile_size": 300}, "tile_size 300 is not a multiple of 32, which model 'roads' needs"),
        (FIXED, {"tile_size": 512}, "tile_size 512 was given, but model 'roads' takes tiles of 256 x 256 pixels only"),
        (ROADS, {"tile_size": 0}, "tile_size 0 is less than 1"),
        (FIXED, {"padding": 128}, "padding 128 is not less than half of the tile, 256 pixels; at most 127 works"),
        (ROADS, {"tile_size": 64, "padding": 32}, "at most 31 works"),
        (ROADS, {"padding": 1152}, "padding 1152 is not less than half of the tile, 2304 pixels"),
        (ROADS, {"padding": -1}, "padding -1 is negative"),
        (ROADS, {"batch_size": 0}, "batch_size 0 is less than 1"),
        (SHRINKING, {"padding": 32}, "padding 32 was given, but model 'roads' has a ModelPadding of 64"),
        (replace(SHRINKING, variable_tile=True), {"tile_size": 128}, "padding 64 is not less than half of the tile"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(info: ModelInfo, wish: dict[str, int], message: str) -> None:
    with pytest.raises(ParameterError) as error:
        choose_tiling(info, (1000, 1000), **wish, memory_limit=LIMIT)
    assert message in str(error.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ParameterError) as error:
        choose_tiling(ROADS, (1000, 1000), tile_size=300, padding=-1, batch_size=0, memory_limit=LIMIT)
    assert len(error.value.faults) == 3


def test_a_model_of_one_tile_size_may_be_given_that_size() -> None:
    assert choose_tiling(FIXED, (1000, 1000), tile_size=256, memory_limit=LIMIT).tile_height == 256


def test_tiles_grow_until_little_is_wasted() -> None:
    tiling = choose_tiling(ROADS, (10_000, 10_000), memory_limit=LIMIT)
    assert tiling.padding == 64
    assert tiling.waste < 1.3
    assert tiling.tile_height % 32 == 0


def test_tiles_grow_only_as_far_as_memory_allows() -> None:
    small, large = (choose_tiling(ROADS, (9000, 9000), memory_limit=n) for n in (400_000_000, LIMIT))
    assert 256 < small.tile_height < large.tile_height
    assert memory_bill(small, ROADS) <= 400_000_000


@pytest.mark.parametrize(("shape", "largest"), [((10, 10), 256), ((100, 60), 256), ((300, 300), 448)])
def test_small_rasters_do_not_get_tiles_much_larger_than_themselves(shape: tuple[int, int], largest: int) -> None:
    assert choose_tiling(ROADS, shape, memory_limit=LIMIT).tile_height <= largest


def test_no_tile_is_smaller_than_the_package_says() -> None:
    info = replace(ROADS, tile_height=512, tile_width=512)
    assert choose_tiling(info, (40, 40), memory_limit=LIMIT).tile_height == 512


def test_a_batch_holds_as_many_pixels_as_the_package_says_whatever_the_tile() -> None:
    tiling = choose_tiling(ROADS, (10_000, 10_000), tile_size=512, memory_limit=LIMIT)
    assert tiling.batch_size == 1


def test_a_batch_that_the_network_fixes_always_holds() -> None:
    tiling = choose_tiling(replace(FIXED, fixed_batch=1), (1000, 1000), batch_size=4, memory_limit=LIMIT)
    assert (tiling.batch_size, tiling.fixed_batch) == (1, True)


def test_known_context_is_the_padding_of_tiles_that_may_grow() -> None:
    assert choose_tiling(replace(ROADS, context=92), (9000, 9000), memory_limit=LIMIT).padding == 92


@pytest.mark.parametrize(("context", "padding"), [(0, 0), (20, 20), (200, 64)])
def test_known_context_saves_padding_on_fixed_tiles_and_never_adds_any(context: int, padding: int) -> None:
    assert choose_tiling(replace(FIXED, context=context), (999, 999), memory_limit=LIMIT).padding == padding


def test_a_default_padding_too_large_for_a_given_tile_becomes_a_quarter_of_it() -> None:
    assert choose_tiling(ROADS, (1000, 1000), tile_size=128, memory_limit=LIMIT).padding == 32


def test_a_given_padding_gets_a_tile_that_has_room_for_it() -> None:
    tiling = choose_tiling(ROADS, (50, 50), padding=500, memory_limit=LIMIT)
    assert tiling.tile_height > 1000
    assert tiling.padding == 500


def test_model_padding_is_the_padding() -> None:
    # dlpk 4.2: 256 in, 128 out, and the configured padding is 64.
    tiling = choose_tiling(SHRINKING, (1000, 1000), memory_limit=LIMIT)
    assert (tiling.padding, tiling.model_padding, tiling.inner_height) == (64, 64, 128)


def test_a_batch_shrinks_before_anything_is_refused() -> None:
    assert choose_tiling(replace(FIXED, batch_size=64), (1000, 1000), memory_limit=300_000_000).batch_size == 1


def test_too_little_memory_is_refused_with_both_figures() -> None:
    with pytest.raises(BudgetError, match=r"needs \d+ MB .* 10 MB are allowed"):
        choose_tiling(FIXED, (1000, 1000), memory_limit=10_000_000)


def test_the_bill_does_not_grow_with_the_raster() -> None:
    tilings = [choose_tiling(FIXED, (side, side), memory_limit=LIMIT) for side in (10_000, 1_000_000)]
    assert memory_bill(tilings[0], FIXED) == memory_bill(tilings[1], FIXED)


def test_the_bill_grows_with_samples_tiles_and_probabilities() -> None:
    tiling = choose_tiling(FIXED, (9000, 9000), memory_limit=LIMIT)
    assert memory_bill(tiling, FIXED, 1) < memory_bill(tiling, FIXED, 8)
    assert memory_bill(tiling, FIXED) < memory_bill(replace(tiling, batch_size=9), FIXED)
    assert memory_bill(tiling, FIXED) < memory_bill(tiling, FIXED, probabilities=True)


def test_a_bill_above_the_limit_is_refused() -> None:
    tiling = choose_tiling(FIXED, (9000, 9000), memory_limit=LIMIT)
    need = memory_bill(tiling, FIXED, 1)
    assert memory_bill(tiling, FIXED, 1, need) == need
    with pytest.raises(BudgetError):
        memory_bill(tiling, FIXED, 1, need - 1)
