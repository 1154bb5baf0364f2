from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.errors import ModelError
from raster_analysis.grid import Window
from raster_analysis.inference.in_memory import ArrayReader, MeanClassifier, ShareClassifier, square_sums, tiny_info
from raster_analysis.inference.merge import BlendMerge, CropMerge, OutputValues, hann_weights
from raster_analysis.inference.tiles import tiles_touching
from raster_analysis.inference.tiling import Tiling, blocks_of
from raster_analysis.model_info import Task

INFO = replace(tiny_info(Task.PIXELS, class_count=4), values=(10, 20, 30, 40))
NODATA = 0
QUICK = settings(max_examples=40, deadline=None)


def raster(tiling: Tiling, seed: int, share_invalid: float = 0.2) -> ArrayReader:
    random = np.random.default_rng(seed)
    shape = (tiling.grid_height, tiling.grid_width)
    return ArrayReader(random.integers(1, 250, (1, *shape), np.uint8), random.random(shape) >= share_invalid)


def whole(reader: ArrayReader, radius: int) -> np.ndarray:
    """The oracle: the same network on the whole raster at once."""
    pixels = reader.read(reader.view.grid.window)
    indexes = square_sums(pixels.data.astype(np.int64), radius)[0] % 4
    return np.where(pixels.mask, np.array(INFO.values)[indexes], NODATA)


@QUICK
@given(data=st.data(), seed=st.integers(0, 9))
def test_a_pointwise_model_gives_the_same_whatever_the_tiling(data, tilings, classify, seed: int) -> None:
    tiling = data.draw(tilings)
    reader = raster(tiling, seed)
    info = replace(INFO, context=0, model_padding=tiling.model_padding)
    assert (classify(MeanClassifier(info), tiling, reader, "crop") == whole(reader, 0)).all()


@QUICK
@given(data=st.data(), seed=st.integers(0, 9))
def test_tiled_equals_whole_when_the_context_fits_the_padding(data, tilings, classify, seed: int) -> None:
    tiling = data.draw(tilings)
    reader = raster(tiling, seed)
    # What a network loses at its border is its context; what remains of the padding may be context too.
    context = data.draw(st.integers(tiling.model_padding, tiling.padding))
    info = replace(INFO, context=context, model_padding=tiling.model_padding)
    assert (classify(MeanClassifier(info), tiling, reader, "crop") == whole(reader, context)).all()


def test_tiled_differs_from_whole_when_the_context_does_not_fit(classify) -> None:
    tiling = Tiling(60, 60, 20, 20, padding=3, batch_size=2)
    reader = raster(tiling, 1)
    assert (classify(MeanClassifier(replace(INFO, context=4)), tiling, reader, "crop") != whole(reader, 4)).any()


@QUICK
@given(data=st.data(), seed=st.integers(0, 9), block_size=st.integers(1, 100))
def test_blending_does_not_depend_on_blocks(data, tilings, classify, seed: int, block_size: int) -> None:
    tiling = data.draw(tilings)
    tiling = replace(tiling, model_padding=0)
    reader, model = raster(tiling, seed), ShareClassifier(replace(INFO, context=3))
    one = classify(model, replace(tiling, block_size=10_000), reader, "blend")
    assert (classify(model, replace(tiling, block_size=block_size), reader, "blend") == one).all()


@QUICK
@given(data=st.data(), seed=st.integers(0, 9))
def test_blending_takes_the_largest_weighted_sum(data, tilings, classify, seed: int) -> None:
    tiling = replace(data.draw(tilings), model_padding=0)
    reader, model = raster(tiling, seed), ShareClassifier(replace(INFO, context=2))
    sums = np.zeros((4, tiling.grid_height, tiling.grid_width), np.float32)
    (block,) = blocks_of(replace(tiling, block_size=10_000))
    weights = hann_weights(tiling.tile_height, tiling.tile_width)
    for tile in tiles_touching(block, tiling):
        (given_by_model,) = model.classify(reader.read(tile.read).data[np.newaxis], (0, 1))
        part = tile.keep.shift(-tile.read.row, -tile.read.col).slices
        sums[:, *tile.keep.slices] += given_by_model[:, *part] * weights[part]
    valid = reader.read(reader.view.grid.window).mask
    expected = np.where(valid, np.array(INFO.values)[sums.argmax(axis=0)], NODATA)
    assert (classify(model, tiling, reader, "blend") == expected).all()


def test_blend_weights_are_symmetric_and_nowhere_zero() -> None:
    weights = hann_weights(8, 5)
    assert (weights > 0).all()
    assert np.allclose(weights, weights[::-1, ::-1])
    assert weights.argmax() // 5 in (3, 4)


def test_probabilities_can_be_cropped(classify) -> None:
    tiling = Tiling(30, 30, 40, 40, padding=4, batch_size=1)
    reader, model = raster(tiling, 1, 0), ShareClassifier(replace(INFO, context=0))
    (probabilities,) = model.classify(reader.read(reader.view.grid.window).data[np.newaxis], (0, 1))
    expected = np.array(INFO.values)[probabilities.argmax(axis=0)]
    assert (classify(model, tiling, reader, "crop") == expected).all()


@pytest.mark.parametrize("merge", ["crop", "blend"])
def test_a_prediction_of_another_size_is_refused(classify, merge: str) -> None:
    tiling = Tiling(30, 30, 20, 20, padding=4, batch_size=1)
    model = {"crop": MeanClassifier, "blend": ShareClassifier}[merge](replace(INFO, model_padding=2))
    object.__setattr__(model, "classify", lambda tiles, _: np.zeros((len(tiles), 4, 16, 16), np.float32))
    with pytest.raises(ModelError, match="16 x 16 pixels for a tile of 20 x 20"):
        classify(model, tiling, raster(tiling, 1), merge)


def test_blending_without_probabilities_is_refused(classify) -> None:
    tiling = Tiling(30, 30, 20, 20, padding=4, batch_size=1)
    with pytest.raises(ModelError, match="needs 4 probabilities"):
        classify(MeanClassifier(INFO), tiling, raster(tiling, 1), "blend")


def test_a_class_index_without_a_class_is_refused() -> None:
    tiling = Tiling(8, 8, 8, 8, padding=0, batch_size=1)
    merge = CropMerge(Window(0, 0, 8, 8), tiling, OutputValues.of(INFO))
    (tile,) = tiles_touching(blocks_of(tiling)[0], tiling)
    with pytest.raises(ModelError, match="class index 4, but the model defines 4 classes"):
        merge.feed(tile, np.ones((8, 8), bool), np.full((8, 8), 4, np.uint8))


@pytest.mark.parametrize("merge", [CropMerge, BlendMerge])
def test_counts_say_what_the_labels_hold(merge) -> None:
    tiling = Tiling(8, 8, 8, 8, padding=0, batch_size=1)
    accumulator = merge(Window(0, 0, 8, 8), tiling, OutputValues.of(INFO))
    (tile,) = tiles_touching(blocks_of(tiling)[0], tiling)
    valid = np.ones((8, 8), bool)
    valid[0] = False
    probabilities = np.zeros((4, 8, 8), np.float32)
    probabilities[2] = 1
    accumulator.feed(tile, valid, probabilities)
    assert (accumulator.data == np.where(valid, 30, 0)).all()
    assert accumulator.counts.tolist() == [0, 0, 56, 0, 8]


@pytest.mark.parametrize(
    ("values", "nodata", "dtype"),
    [
        ((1, 2, 3), 0, "uint8"),
        ((0, 1, 2), 255, "uint8"),
        ((0, 254), 255, "uint8"),
        ((0, 255), 65535, "uint16"),
        ((1, 255), 0, "uint8"),
        ((11, 12, 256), 0, "uint16"),
        ((0, 70_000), 2**31 - 1, "int32"),
        ((-1, 1), 0, "int32"),
        (tuple(range(255)), 255, "uint8"),
        (tuple(range(256)), 65535, "uint16"),
    ],
)
def test_values_take_the_smallest_type_that_leaves_room_for_nodata(values, nodata: int, dtype: str) -> None:
    chosen = OutputValues.of(replace(INFO, values=values))
    assert (chosen.nodata, chosen.dtype) == (nodata, dtype)
    assert chosen.table.tolist() == [*values, nodata]


@pytest.mark.parametrize("values", [(), (1, 2**31), (0, 2**31 - 1)])
def test_values_that_no_raster_holds_are_refused(values) -> None:
    with pytest.raises(ModelError):
        OutputValues.of(replace(INFO, values=values))


def test_256_classes_fit_an_index_of_one_byte() -> None:
    values = OutputValues.of(replace(INFO, values=tuple(range(1, 257))))
    indexes = np.array([[0, 255]], np.uint8)
    assert values.table[values.positions(indexes, np.array([[True, True]]))].tolist() == [[1, 256]]
    assert values.table[values.positions(indexes, np.array([[True, False]]))].tolist() == [[1, 0]]
