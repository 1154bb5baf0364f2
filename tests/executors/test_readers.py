from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from raster_analysis.errors import BudgetError, JobError, ParameterError, RasterError
from raster_analysis.executors import readers
from raster_analysis.executors.readers import InlineReaders, ReaderPool
from raster_analysis.handle import Handle
from raster_analysis.question import Content, Question, Readers

sys.path.insert(0, str(Path(__file__).parent))

from odd_reader import answer

FILE = Handle("raster", "/nowhere/scene.tif", "scene")


def make_pool(count: int = 2) -> ReaderPool:
    return ReaderPool("odd_reader:open_answerer", {"PYTHONPATH": str(Path(__file__).parent)}, count=count)


@pytest.fixture(params=["processes", "inline"])
def pool(request: pytest.FixtureRequest) -> Iterator[Readers]:
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    pool = (
        ReaderPool("odd_reader:open_answerer", environment) if request.param == "processes" else InlineReaders(answer)
    )
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def processes() -> Iterator[ReaderPool]:
    pool = make_pool(count=1)
    yield pool
    pool.close()


def test_bytes_and_media_type_come_back(pool: Readers) -> None:
    question = Question("echo", FILE, {"text": "é\x00", "type": "image/png"})
    assert pool.ask(question) == Content("é\x00".encode(), "image/png")


def test_an_error_for_the_user_comes_back_as_its_class(pool: Readers) -> None:
    with pytest.raises(RasterError, match="no such band"):
        pool.ask(Question("refuse", FILE, {"error": "RasterError", "text": "no such band"}))
    with pytest.raises(ParameterError, match="two faults"):
        pool.ask(Question("refuse", FILE, {"error": "ParameterError", "text": "two faults"}))


def test_many_ask_at_once(pool: Readers) -> None:
    with ThreadPoolExecutor(8) as threads:
        texts = [f"{number}" for number in range(64)]
        answers = threads.map(lambda text: pool.ask(Question("echo", FILE, {"text": text, "type": "a/b"})), texts)
        assert [content.data.decode() for content in answers] == texts


def test_the_text_of_an_unforeseen_error_stays_inside(processes: ReaderPool) -> None:
    with pytest.raises(JobError) as failed:
        processes.ask(Question("break", FILE, {"text": "/secret/path"}))
    assert "secret" not in str(failed.value)


def test_a_crash_costs_one_question(processes: ReaderPool) -> None:
    with pytest.raises(JobError, match="ended before it answered"):
        processes.ask(Question("crash", FILE))
    assert processes.ask(Question("echo", FILE, {"text": "again", "type": "a/b"})).data == b"again"


def test_a_process_that_was_killed_between_two_questions_is_replaced(processes: ReaderPool) -> None:
    first = int(processes.ask(Question("pid", FILE)).data)
    psutil.Process(first).kill()
    psutil.wait_procs([psutil.Process(first)] if psutil.pid_exists(first) else [], timeout=10)
    assert int(processes.ask(Question("pid", FILE)).data) != first


def test_a_question_that_takes_too_long_is_given_up(processes: ReaderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = int(processes.ask(Question("pid", FILE)).data)
    monkeypatch.setattr(readers, "ANSWER_LIMIT_S", 0.2)
    with pytest.raises(BudgetError, match="took more than"):
        processes.ask(Question("hang", FILE))
    assert not psutil.pid_exists(pid)


def test_nothing_runs_after_the_end(processes: ReaderPool) -> None:
    pid = int(processes.ask(Question("pid", FILE)).data)
    assert pid != os.getpid()
    processes.close()
    assert not psutil.pid_exists(pid)
