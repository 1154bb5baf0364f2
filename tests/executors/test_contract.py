"""What every executor does: one suite over all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raster_analysis.task import Done, Executor, Failed, Message, Progress, Task


def test_a_task_ends_with_its_outputs(executor: Executor, hearing: Any, make_task: Callable[..., Task]) -> None:
    executor.submit(1, make_task())
    last = hearing.last(1)
    assert isinstance(last, Done)
    assert last.outputs[0].name == "answer"


def test_messages_and_progress_come_before_the_end(
    executor: Executor, hearing: Any, make_task: Callable[..., Task]
) -> None:
    executor.submit(1, make_task("say_hello"))
    hearing.last(1)
    assert hearing.replies[1][:2] == [Message("hello", "warning"), Progress(0.5)]


def test_progress_that_is_no_number_does_no_harm(
    executor: Executor, hearing: Any, make_task: Callable[..., Task]
) -> None:
    executor.submit(1, make_task("say_nan"))
    assert isinstance(hearing.last(1), Done)


def test_an_input_error_is_not_worth_another_try(
    executor: Executor, hearing: Any, make_task: Callable[..., Task]
) -> None:
    executor.submit(1, make_task("refuse"))
    assert hearing.last(1) == Failed("RasterError", "raster 'roads' has 0 bands", retry=False)


def test_every_fault_of_the_parameters_comes_back(
    executor: Executor, hearing: Any, make_task: Callable[..., Task]
) -> None:
    executor.submit(1, make_task("refuse_twice"))
    last = hearing.last(1)
    assert (last.message, *last.details) == ("count is not a number", "tile_size is not a number")


def test_an_unforeseen_error_is_tried_again_and_shows_no_path(
    executor: Executor, hearing: Any, make_task: Callable[..., Task], caplog: pytest.LogCaptureFixture
) -> None:
    executor.submit(1, make_task("stumble"))
    last = hearing.last(1)
    assert isinstance(last, Failed)
    assert last.retry
    assert last.error == "ZeroDivisionError"
    assert "/" not in last.message


def test_a_cancelled_task_stops_where_it_asks(
    executor: Executor, hearing: Any, make_task: Callable[..., Task], tmp_path: Path
) -> None:
    executor.submit(1, make_task("hold"))
    while not (tmp_path / "started").exists():
        assert 1 not in hearing.ended_s
    executor.cancel(1)
    last = hearing.last(1)
    assert isinstance(last, Failed)
    assert (last.error, last.retry) == ("Cancelled", False)


def test_cancelling_what_is_over_or_unknown_does_nothing(
    executor: Executor, hearing: Any, make_task: Callable[..., Task]
) -> None:
    executor.submit(1, make_task())
    hearing.last(1)
    executor.cancel(1)
    executor.cancel(99)
    executor.submit(2, make_task())
    assert isinstance(hearing.last(2), Done)


def test_closing_twice_does_no_harm(executor: Executor) -> None:
    executor.close()
    executor.close()
