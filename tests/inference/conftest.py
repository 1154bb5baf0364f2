"""Rasters, tilings and whole runs in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import strategies as st

from raster_analysis.detections import Detections
from raster_analysis.inference.in_memory import ArrayReader, ListReporter, TinyModel
from raster_analysis.inference.pipeline import Inference, classify_block, detect_block
from raster_analysis.inference.suppression import merge_blocks
from raster_analysis.inference.tiling import Tiling, blocks_of

Labels = npt.NDArray[np.integer]
Classify = Callable[[TinyModel, Tiling, ArrayReader, str], Labels]
Detect = Callable[[TinyModel, Tiling, ArrayReader], Detections]


@st.composite
def _tilings(draw: st.DrawFn) -> Tiling:
    height, width = draw(st.integers(4, 40)), draw(st.integers(4, 40))
    padding = draw(st.integers(0, (min(height, width) - 1) // 2))
    return Tiling(
        grid_height=draw(st.integers(1, 48)),
        grid_width=draw(st.integers(1, 48)),
        tile_height=height,
        tile_width=width,
        padding=padding,
        batch_size=draw(st.integers(1, 5)),
        model_padding=draw(st.integers(0, padding)),
        fixed_batch=draw(st.booleans()),
        block_size=draw(st.integers(1, 100)),
    )


@pytest.fixture(scope="session")
def tilings() -> st.SearchStrategy[Tiling]:
    """Tilings of small grids, sensible or not."""
    return _tilings()


@pytest.fixture(scope="session")
def classify() -> Classify:
    """Classify a whole raster, block by block."""

    def run(model: TinyModel, tiling: Tiling, reader: ArrayReader, merge: str = "crop") -> Labels:
        inference = Inference(reader, model, tiling, (0, 255), merge=merge)
        parts = [(b.window, classify_block(b, inference, ListReporter())[0]) for b in blocks_of(tiling)]
        whole = np.zeros((tiling.grid_height, tiling.grid_width), parts[0][1].dtype)
        for window, labels in parts:
            whole[window.slices] = labels
        return whole

    return run


@pytest.fixture(scope="session")
def detect() -> Detect:
    """Search a whole raster, block by block, and bring the blocks together."""

    def run(model: TinyModel, tiling: Tiling, reader: ArrayReader) -> Detections:
        inference = Inference(reader, model, tiling, (0, 255))
        found = [detect_block(block, inference, ListReporter())[0] for block in blocks_of(tiling)]
        return merge_blocks(found, tiling, nms_overlap=model.info.nms_overlap)

    return run


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before
