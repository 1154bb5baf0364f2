from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from raster_analysis.errors import Cancelled, RasterError
from raster_analysis.grid import Window
from raster_analysis.inference import batches
from raster_analysis.inference.batches import TileSource
from raster_analysis.inference.in_memory import ArrayReader, ListReporter, MeanClassifier, tiny_info
from raster_analysis.inference.pipeline import Inference, classify_block, run_tiles
from raster_analysis.inference.tiles import Tiling, blocks_of, tiles_of
from raster_analysis.model_info import Task
from raster_analysis.pixels import Pixels

INFO = replace(tiny_info(Task.PIXELS), context=2)
TILING = Tiling(100, 80, 20, 20, padding=4, batch_size=3)
(BLOCK,) = blocks_of(TILING)
pytestmark = pytest.mark.usefixtures("no_thread_left")


@dataclass
class CountingModel:
    """What a model was given."""

    batches: list[np.ndarray] = field(default_factory=list)
    fail_at: int | None = None

    def predict(self, tiles: np.ndarray) -> np.ndarray:
        if len(self.batches) == self.fail_at:
            raise MemoryError("no memory left")
        self.batches.append(tiles)
        return tiles[:, 0]


class CountingReader(ArrayReader):
    """Remembers what was read; fails from the read numbered `fail_at` on."""

    def __init__(self, data: np.ndarray, mask: np.ndarray | None = None, fail_at: int | None = None) -> None:
        super().__init__(data, mask)
        self.windows: list[Window] = []
        self._fail_at = fail_at

    def read(self, window: Window) -> Pixels:
        if len(self.windows) == self._fail_at:
            raise RasterError("the file ends early")
        self.windows.append(window)
        return super().read(window)


def ramp(dtype: str = "uint16") -> np.ndarray:
    return np.arange(1, 8001, dtype=dtype).reshape(1, 100, 80)


def source(reader: ArrayReader, *, fixed: bool = False) -> TileSource:
    return TileSource(reader, tiles_of(BLOCK, TILING), TILING.batch_size, fixed)


def ignore(tile: object, valid: object, prediction: object) -> None:
    """Consume nothing."""


def test_tiles_come_in_order_with_their_own_pixels() -> None:
    seen = []
    reader = ArrayReader(ramp())
    run_tiles(
        source(reader), CountingModel().predict, lambda tile, _, got: seen.append((tile, got.copy())), ListReporter()
    )
    assert [tile for tile, _ in seen] == list(tiles_of(BLOCK, TILING))
    assert all((got == reader.read(tile.read).data[0]).all() for tile, got in seen)


def test_batches_are_full_but_for_the_last() -> None:
    model = CountingModel()
    run_tiles(source(ArrayReader(ramp())), model.predict, ignore, ListReporter())
    count = TILING.rows * TILING.cols
    assert [len(batch) for batch in model.batches] == [3] * (count // 3) + [count % 3] * bool(count % 3)


def test_a_fixed_batch_is_filled_up_with_zeros() -> None:
    model, taken = CountingModel(), []
    run_tiles(source(ArrayReader(ramp()), fixed=True), model.predict, lambda t, v, p: taken.append(t), ListReporter())
    assert {len(batch) for batch in model.batches} == {3}
    assert len(taken) == TILING.rows * TILING.cols
    assert not model.batches[-1][TILING.rows * TILING.cols % 3 - 3 :].any() or TILING.rows * TILING.cols % 3 == 0


def test_progress_grows_to_one() -> None:
    reporter = ListReporter()
    run_tiles(source(ArrayReader(ramp())), CountingModel().predict, ignore, reporter)
    assert reporter.fractions == sorted(reporter.fractions)
    assert reporter.fractions[-1] == 1


def test_tiles_without_a_valid_pixel_are_never_computed() -> None:
    mask = np.zeros((100, 80), bool)
    mask[50, 40] = True
    model, reporter = CountingModel(), ListReporter()
    statistics = run_tiles(source(ArrayReader(ramp(), mask)), model.predict, ignore, reporter)
    assert (statistics.tiles, statistics.skipped) == (1, TILING.rows * TILING.cols - 1)
    assert [len(batch) for batch in model.batches] == [1]
    assert reporter.fractions[-1] == 1


def test_a_block_without_a_valid_pixel_is_all_nodata() -> None:
    reader = ArrayReader(ramp(), np.zeros((100, 80), bool))
    labels, figures = classify_block(BLOCK, Inference(reader, MeanClassifier(INFO), TILING, (0, 1)), ListReporter())
    assert (labels == 255).all()
    assert (figures["tiles"], figures["nodata"]) == (0, 8000)


def test_figures_add_up_to_the_block() -> None:
    mask = np.random.default_rng(0).random((100, 80)) > 0.3
    reader = ArrayReader(ramp(), mask)
    labels, figures = classify_block(BLOCK, Inference(reader, MeanClassifier(INFO), TILING, (0, 1)), ListReporter())
    assert figures["nodata"] == (~mask).sum()
    for value in (0, 1, 2):
        assert figures[f"value {value}"] == (labels == value).sum()


def test_padding_inside_a_block_is_read_once() -> None:
    reader = CountingReader(ramp())
    run_tiles(source(reader), CountingModel().predict, ignore, ListReporter())
    rows, cols = (n * 12 + 8 for n in (TILING.rows, TILING.cols))
    assert sum(window.size for window in reader.windows) == rows * cols


def test_wide_rows_are_read_in_several_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = classify_block(
        BLOCK, Inference(ArrayReader(ramp()), MeanClassifier(INFO), TILING, (0, 1)), ListReporter()
    )
    monkeypatch.setattr(batches, "STRIP_PX", 20 * 50)
    reader = CountingReader(ramp())
    labels, _ = classify_block(BLOCK, Inference(reader, MeanClassifier(INFO), TILING, (0, 1)), ListReporter())
    assert (labels == whole).all()
    assert max(window.size for window in reader.windows) <= 20 * 50


def test_cancelling_takes_effect_between_batches() -> None:
    model = CountingModel()
    with pytest.raises(Cancelled):
        run_tiles(source(ArrayReader(ramp())), model.predict, ignore, ListReporter(cancel_after=2))
    assert len(model.batches) == 2


def test_cancelling_takes_effect_while_there_is_nothing_to_compute() -> None:
    reader = CountingReader(ramp(), np.zeros((100, 80), bool))
    with pytest.raises(Cancelled):
        run_tiles(source(reader), CountingModel().predict, ignore, ListReporter(cancel_after=1))
    assert len(reader.windows) < TILING.rows


@pytest.mark.parametrize("fail_at", [0, 1, 4])
def test_an_error_of_the_reader_comes_out(fail_at: int) -> None:
    with pytest.raises(RasterError, match="the file ends early"):
        run_tiles(source(CountingReader(ramp(), fail_at=fail_at)), CountingModel().predict, ignore, ListReporter())


@pytest.mark.parametrize("fail_at", [0, 3])
def test_an_error_of_the_model_comes_out(fail_at: int) -> None:
    with pytest.raises(MemoryError):
        run_tiles(source(ArrayReader(ramp())), CountingModel(fail_at=fail_at).predict, ignore, ListReporter())


@pytest.mark.parametrize("fail_at", [0, 10, TILING.rows * TILING.cols - 1])
def test_an_error_of_the_merge_comes_out(fail_at: int) -> None:
    tiles = tiles_of(BLOCK, TILING)

    def consume(tile: object, valid: object, prediction: object) -> None:
        if tile == tiles[fail_at]:
            raise ValueError("cannot merge")

    with pytest.raises(ValueError, match="cannot merge"):
        run_tiles(source(ArrayReader(ramp())), CountingModel().predict, consume, ListReporter())
