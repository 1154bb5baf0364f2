from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from raster_analysis.grid import Window
from raster_analysis.inference.tiles import Tiling, blocks_of, tiles_of, tiles_touching

Tilings = st.SearchStrategy[Tiling]


def counted(windows: list[Window], tiling: Tiling) -> np.ndarray:
    counts = np.zeros((tiling.grid_height, tiling.grid_width), int)
    for window in windows:
        assert window.intersect(tiling.grid_window) == window
        counts[window.slices] += 1
    return counts


@settings(deadline=None)
@given(data=st.data())
def test_blocks_and_the_inner_parts_of_their_tiles_cover_each_pixel_once(data: st.DataObject, tilings: Tilings) -> None:
    tiling = data.draw(tilings)
    blocks = blocks_of(tiling)
    assert (counted([block.window for block in blocks], tiling) == 1).all()
    assert [block.index for block in blocks] == list(range(len(blocks)))
    tiles = [tile for block in blocks for tile in tiles_of(block, tiling)]
    assert (counted([tile.keep for tile in tiles], tiling) == 1).all()
    assert len(tiles) == tiling.rows * tiling.cols


@settings(deadline=None)
@given(data=st.data())
def test_a_tile_reads_its_inner_part_and_padding_around_it(data: st.DataObject, tilings: Tilings) -> None:
    tiling = data.draw(tilings)
    for block in blocks_of(tiling):
        for tile in tiles_of(block, tiling):
            inner = tile.read.pad(-tiling.padding)
            assert (tile.read.height, tile.read.width) == (tiling.tile_height, tiling.tile_width)
            assert (inner.row, inner.col) == (tile.row * tiling.inner_height, tile.col * tiling.inner_width)
            assert tile.keep == inner.intersect(block.window)


@settings(deadline=None)
@given(data=st.data())
def test_tiles_touching_a_block_are_all_that_predict_a_pixel_of_it(data: st.DataObject, tilings: Tilings) -> None:
    tiling = data.draw(tilings)
    blocks = blocks_of(tiling)
    everything = sorted((t for b in blocks for t in tiles_of(b, tiling)), key=lambda t: (t.row, t.col))
    for block in blocks:
        overlaps = {(t.row, t.col): t.read.pad(-tiling.model_padding).intersect(block.window) for t in everything}
        wanted = [(where, keep) for where, keep in overlaps.items() if keep.size]
        assert [((t.row, t.col), t.keep) for t in tiles_touching(block, tiling)] == wanted


def test_a_tiling_travels_as_json() -> None:
    adapter = TypeAdapter(Tiling)
    tiling = Tiling(100, 200, 64, 32, padding=8, batch_size=2, model_padding=4, fixed_batch=True, block_size=50)
    assert adapter.validate_json(adapter.dump_json(tiling)) == tiling


@pytest.mark.parametrize(("padding", "model_padding"), [(8, 0), (9, 0), (3, 4), (3, -1)])
def test_a_tiling_without_an_inner_part_is_refused(padding: int, model_padding: int) -> None:
    with pytest.raises(ValueError, match="padding"):
        Tiling(100, 100, 16, 16, padding=padding, batch_size=1, model_padding=model_padding)


def test_blocks_are_whole_inner_tiles_near_the_size_asked_for() -> None:
    tiling = Tiling(20_000, 20_000, 512, 512, padding=64, batch_size=1)
    window = blocks_of(tiling)[0].window
    assert window.height % 384 == 0
    assert abs(window.height - 4096) <= 192
