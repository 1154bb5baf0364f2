"""One claim as a machine: no store, no slot, no clock."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from counting import COUNT, CountParameters

from raster_analysis.grid import Window
from raster_analysis.jobs.job import JobStatus, new_job
from raster_analysis.jobs.run import Call, Prepared, Run
from raster_analysis.task import Done, Failed, Phase, Progress
from raster_analysis.tool import Block, BlockResult, Plan

PLAN = Plan(tuple(Block(i, Window(i, 0, 1, 1)) for i in range(3)), {}, 0)
DIED = Failed("SlotLost", "it was killed", retry=True)
ERROR = Failed("OSError", "it stumbled", retry=True)


def result(index: int) -> BlockResult:
    return BlockResult(index, f"{index}.txt", "00" * 32)


@pytest.fixture
def run() -> Run:
    """A run whose parameters are resolved."""
    run = Run(new_job("Count", {"count": "3"}, "ann", datetime.now(UTC)), COUNT, Path("1"))
    run.call = None
    run.prepare(Prepared(CountParameters(count=3), {}))
    return run


@pytest.fixture
def planned(run: Run) -> Run:
    """A run whose plan is stored."""
    run.begin(1)
    run.hear(1, Done(plan=PLAN))
    run.keep_plan()
    return run


def test_no_block_begins_before_the_plan_is_stored(run: Run) -> None:
    assert run.begin(1).phase is Phase.PLAN
    run.hear(1, Done(plan=PLAN))
    assert run.plan_is_new
    assert not run.has_step
    run.keep_plan()
    assert run.begin(2).block == PLAN.blocks[0]


def test_nothing_is_put_together_before_every_block_is_recorded(planned: Run) -> None:
    for ticket in (2, 3, 4):
        planned.begin(ticket)
    for index, ticket in ((2, 4), (0, 2), (1, 3)):
        planned.hear(ticket, Done(result=result(index)))
    assert not planned.has_step
    planned.record([result(2), result(0), result(1)])
    assert [entry.index for entry in planned.ledger] == [0, 1, 2]
    assert planned.begin(5).phase is Phase.FINISH
    planned.hear(5, Done())
    assert planned.call is Call.PUBLISH


def test_a_resumed_run_begins_with_the_blocks_that_are_left(run: Run) -> None:
    again = Run(new_job("Count", {}, "ann", datetime.now(UTC)), COUNT, Path("2"))
    again.prepare(Prepared(CountParameters(count=3), {}, PLAN, (result(0), result(2))))
    assert again.begin(1).block == PLAN.blocks[1]
    assert not again.has_step


def test_errors_and_deaths_are_counted_apart(planned: Run) -> None:
    for ticket, reply in enumerate((ERROR, DIED, ERROR), start=2):
        assert planned.begin(ticket).block == PLAN.blocks[0]
        planned.hear(ticket, reply)
    assert planned.ending is None
    planned.begin(9)
    planned.hear(9, DIED)
    assert planned.ending is not None
    assert planned.ending.faults == ("Block 1 of 3 ended its worker process twice and is given up: it was killed",)


def test_an_answer_about_another_block_counts_as_an_error(planned: Run) -> None:
    for ticket in (2, 3, 4):
        planned.begin(ticket)
        planned.hear(ticket, Done(result=result(2)))
    assert planned.ending is not None
    assert planned.ending.status is JobStatus.FAILED
    assert planned.unrecorded == []


def test_a_plan_with_equal_block_numbers_is_refused(run: Run) -> None:
    run.begin(1)
    run.hear(1, Done(plan=Plan((PLAN.blocks[0], PLAN.blocks[0]), {}, 0)))
    assert run.plan is None
    assert run.news[-1][1] == "warning"


def test_what_comes_in_after_a_stop_changes_nothing(planned: Run) -> None:
    planned.begin(2)
    planned.stop(JobStatus.CANCELLED)
    planned.hear(2, Done(result=result(0)))
    assert planned.unrecorded == []
    assert not planned.is_busy
    assert not planned.has_step


def test_progress_stays_when_a_block_is_repeated(planned: Run) -> None:
    planned.begin(2)
    planned.hear(2, Progress(0.9))
    reached = planned.progress
    planned.hear(2, DIED)
    assert planned.progress == reached > 0.02
