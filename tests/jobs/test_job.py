from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raster_analysis.errors import JobError
from raster_analysis.jobs.job import TEXT_LIMIT, Job, JobStatus, new_job, note, transition

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
STEPS = st.lists(st.tuples(st.sampled_from(JobStatus), st.integers(-3600, 3600)), max_size=12)


def walk(steps: list[tuple[JobStatus, int]]) -> list[Job]:
    """Try every step under a clock that jumps; return the job after each that was allowed."""
    seen = [new_job("Count", {}, "ann", NOW)]
    for status, jump_s in steps:
        try:
            seen.append(transition(seen[-1], status, NOW + timedelta(seconds=jump_s)))
        except JobError:
            continue
    return seen


@given(STEPS)
def test_a_final_state_is_the_last_one(steps: list[tuple[JobStatus, int]]) -> None:
    assert not any(job.status.is_final for job in walk(steps)[:-1])


@given(STEPS)
def test_messages_only_grow(steps: list[tuple[JobStatus, int]]) -> None:
    seen = walk(steps)
    assert all(after.messages[: len(job.messages)] == job.messages for job, after in itertools.pairwise(seen))


@given(STEPS)
def test_no_duration_is_negative_under_any_clock(steps: list[tuple[JobStatus, int]]) -> None:
    for job in walk(steps):
        moments = [moment for moment in (job.submitted_at, job.started_at, job.finished_at) if moment]
        assert moments == sorted(moments)


@given(STEPS)
def test_times_tell_the_state(steps: list[tuple[JobStatus, int]]) -> None:
    for job in walk(steps):
        assert (job.finished_at is not None) is job.status.is_final
        assert job.started_at is not None or job.status not in (JobStatus.EXECUTING, JobStatus.SUCCEEDED)


@given(st.sampled_from([status for status in JobStatus if status.is_final]), st.sampled_from(JobStatus))
def test_nothing_follows_a_final_state(end: JobStatus, other: JobStatus) -> None:
    job = replace(new_job("Count", {}, "ann", NOW), status=end)
    with pytest.raises(JobError, match=f"is {end} and cannot become {other}"):
        transition(job, other, NOW)


@pytest.mark.parametrize("status", [status for status in JobStatus if not status.is_final])
def test_every_live_job_can_fail(status: JobStatus) -> None:
    job = replace(new_job("Count", {}, "ann", NOW), status=status)
    assert transition(job, JobStatus.FAILED, NOW).finished_at == NOW


def test_messages_read_like_those_that_clients_know() -> None:
    job = transition(new_job("Count", {}, "ann", NOW), JobStatus.EXECUTING, NOW)
    job = transition(job, JobStatus.SUCCEEDED, NOW + timedelta(seconds=2.5))
    assert [message.text for message in job.messages] == [
        "Submitted.",
        "Executing...",
        "Start Time: Friday, November 20, 2026 12:00:00 UTC",
        "Succeeded at Friday, November 20, 2026 12:00:02 UTC (Elapsed Time: 2.50 seconds)",
    ]


def test_outputs_belong_to_jobs_that_succeeded() -> None:
    job = replace(transition(new_job("Count", {}, "ann", NOW), JobStatus.EXECUTING, NOW), outputs={"a": 1})
    assert transition(job, JobStatus.SUCCEEDED, NOW).outputs == {"a": 1}
    assert transition(job, JobStatus.FAILED, NOW).outputs == {}


@pytest.mark.parametrize("words", ["Invalid Token", "token required"])
def test_words_that_make_clients_sign_in_again_never_appear(words: str) -> None:
    job = note(new_job("Count", {}, "ann", NOW), f"store said: {words}!", now=NOW)
    assert job.messages[-1].text == "store said: sign-in problem!"


@given(st.text(st.characters()))
def test_any_text_becomes_one_that_can_be_stored(text: str) -> None:
    stored = note(new_job("Count", {}, "ann", NOW), text, now=NOW).messages[-1].text
    assert stored.encode().decode() == stored
    assert "\0" not in stored


def test_a_long_text_is_cut() -> None:
    assert len(note(new_job("Count", {}, "ann", NOW), "x" * 10**6, now=NOW).messages[-1].text) == TEXT_LIMIT
