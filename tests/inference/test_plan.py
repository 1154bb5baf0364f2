"""What a job settles before its first block, on a raster and a model in memory."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from raster_analysis.errors import ModelError
from raster_analysis.inference.in_memory import ArrayReader, ListReporter, tiny_info
from raster_analysis.inference.preparation import Request, make_plan, read_preparation
from raster_analysis.inputs import ProcessingContext
from raster_analysis.model_info import Argument, Task
from raster_analysis.tool import Context

GIB = 2**30


class Bench:
    """The rooms below, for one array and one model; it remembers what engine was asked for."""

    def __init__(self, info, shape=(1, 100, 130)):
        self.info, self.reader = info, ArrayReader(np.arange(np.prod(shape)).reshape(shape) % 251)
        self.wanted = None

    def describe(self, handle):
        return self.info if handle == "model" else SimpleNamespace(value_range=(0.0, 250.0))

    def view(self, handle, bands, processing, mask):
        return self.reader.view

    def open(self, view):
        return self.reader

    def settle(self, handle, engine, tiles, value_range):
        self.wanted = engine
        return replace(engine, device="cpu", precision="fp32", runtime="torch"), ("it was the only one",)


def plan(tmp_path, info, arguments=None, processing=None, task=None, **context):
    bench, report = Bench(info), ListReporter()
    request = Request(task or info.task, "raster", "model", arguments or {}, processing or ProcessingContext())
    given_context = Context(
        folder=tmp_path, handles={"raster": "raster", "model": "model"}, report=report, rasters=bench, models=bench,
        features=None, memory_limit=GIB, **context,
    )  # fmt: skip
    return make_plan(request, given_context), bench, report


def offering(info, *names):
    return replace(info, arguments=tuple(Argument(name, "numeric", 1, "help") for name in names))


def test_a_plan_survives_its_way_as_json(tmp_path):
    made, _, report = plan(tmp_path, tiny_info(Task.PIXELS))
    preparation = read_preparation(made)
    assert (preparation.tiling.grid_height, preparation.tiling.grid_width) == (100, 130)
    assert preparation.engine.device == "cpu"
    assert preparation.value_range == (0.0, 250.0)
    assert preparation.view.grid.window.size == 13_000
    (_, reason), (_, told) = report.messages
    assert reason == "it was the only one"
    assert "100 x 130 pixels in 1 block;" in told


def test_what_the_user_chose_reaches_tiling_and_engine(tmp_path):
    info = offering(tiny_info(Task.PIXELS), "tile_size", "padding", "batch_size", "threshold")
    chosen = {"tile_size": "48", "padding": "5", "batch_size": "3", "threshold": "0.25"}
    made, bench, _ = plan(tmp_path, info, chosen, ProcessingContext(precision="bf16", merge="blend"), threads=2)
    tiling = read_preparation(made).tiling
    assert (tiling.tile_height, tiling.tile_width, tiling.padding, tiling.batch_size) == (48, 48, 5, 3)
    wanted = bench.wanted
    assert (wanted.tile_height, wanted.batch_size, wanted.threshold) == (48, 3, 0.25)
    assert (wanted.precision, wanted.probabilities, wanted.threads) == ("bf16", True, 2)
    assert read_preparation(made).merge == "blend"


def test_an_argument_of_the_model_wins_over_the_context(tmp_path):
    info = offering(tiny_info(Task.PIXELS), "batch_size")
    for given_arguments, batch in (({}, 6), ({"batch_size": "2"}, 2)):
        made, _, _ = plan(tmp_path, info, given_arguments, ProcessingContext(batch_size=6))
        assert read_preparation(made).tiling.batch_size == batch


@pytest.mark.parametrize(
    ("processing", "device"),
    [
        ({}, "auto"),
        ({"processor_type": "CPU"}, "cpu"),
        ({"processor_type": "GPU"}, "auto"),
        ({"device": "cuda:1"}, "cuda:1"),
    ],
)
def test_a_device_may_be_named_and_a_gpu_preferred(tmp_path, processing, device):
    _, bench, _ = plan(tmp_path, tiny_info(Task.PIXELS), processing=ProcessingContext(**processing))
    assert bench.wanted.device == device


def test_boxes_are_never_blended(tmp_path):
    made, bench, _ = plan(tmp_path, tiny_info(Task.OBJECTS), processing=ProcessingContext(merge="blend"))
    assert not bench.wanted.probabilities
    assert read_preparation(made).merge == "crop"


def test_a_model_for_another_task_is_refused_with_its_own_tool(tmp_path):
    with pytest.raises(ModelError, match="model 'tiny' detects objects: it is for DetectObjects"):
        plan(tmp_path, tiny_info(Task.OBJECTS), task=Task.PIXELS)
    with pytest.raises(ModelError, match="not for DetectObjectsUsingDeepLearning"):
        plan(tmp_path, tiny_info(Task.CROPS), task=Task.OBJECTS)
