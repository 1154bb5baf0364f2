"""What was measured at the edges, row by row, as our server's own behaviour in each situation (contract 10)."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from live_server import LiveServer, until
from strict_analytics import Analytics
from strict_client import Gis
from strict_content import Content, Item
from strict_toolbox import ENDINGS, RUNNING, Job, JobEnded, Toolbox, encode, source_of, submit_job
from strips import write_strip
from tiny_models import write_package

from raster_analysis.rest.jobs import STATUS

CLASSIFY, LIST = "ClassifyPixelsUsingDeepLearning", "ListDatastoreContent"
SLOW = {
    "inputRaster": "/rasterStores/s/strip.tif",
    "model": "/rasterStores/s/slow.dlpk",
    "context": '{"precision":"fp32"}',
}
Document = dict[str, Any]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of its own, to be stopped, started and damaged."""
    server = LiveServer(tmp_path_factory.mktemp("fragile"), http=False)
    server.store.mkdir(parents=True)
    write_strip(server.store / "strip.tif", 2)
    write_package(server.store / "slow.dlpk", layers=2)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def to_fragile(fragile: LiveServer) -> Iterator[Analytics]:
    assert fragile.certificate is not None
    analytics = Analytics(Gis(f"{fragile.url}/portal", fragile.certificate, token=fragile.tokens["ann"]))
    yield analytics
    analytics.threads.shutdown()
    analytics.gis.connection.close()


def job_of(analytics: Analytics, task: str, form: Document) -> Job:
    tools = analytics.tools
    sent = {name: encode(value) for name, value in form.items()}
    return Job(tools.connection, tools.url, tools.tasks[task], submit_job(tools.connection, tools.url, task, sent))


# submitJob HTTP 500, 403, 400, or 200 with an error


def test_an_internal_error_of_submit_is_a_job_that_failed(fragile: LiveServer, to_fragile: Analytics) -> None:
    _ = to_fragile.tools
    before = len(to_fragile.gis.connection.log)
    with closing(sqlite3.connect(fragile.data / "jobs.sqlite")) as database:
        with database:
            database.execute("ALTER TABLE jobs RENAME TO jobs_gone")
        try:
            job = job_of(to_fragile, LIST, {"dataStoreName": "s"})
            with pytest.raises(JobEnded, match=r"Job failed: .*job store cannot be used"):
                job.result()
        finally:
            with database:
                database.execute("ALTER TABLE jobs_gone RENAME TO jobs")
    sent = [each for each in to_fragile.gis.connection.log[before:] if each.path.endswith("/submitJob")]
    assert [each.response.status_code for each in sent] == [200]
    told = json.dumps(job.messages)
    assert str(fragile.folder) not in told
    assert job_of(to_fragile, LIST, {"dataStoreName": "s", "filter": "*.tif"}).result()["contentList"] == ["strip.tif"]


@pytest.mark.parametrize("way", ["oauth", "generateToken", "token"])
def test_a_wrong_submit_is_one_job_and_its_output_is_deleted(sign_in: Callable[..., Gis], way: str) -> None:
    analytics = Analytics(sign_in(way, context=""))
    before = len(analytics.gis.connection.log)
    with pytest.raises(JobEnded, match="Job failed"):
        analytics.detect_objects("/rasterStores/s/none.tif", "/rasterStores/s/detector.dlpk", f"wrong by {way}")
    sent = analytics.gis.connection.log[before:]
    assert sum(each.path.endswith("/submitJob") for each in sent) == 1
    assert sum(each.path.endswith("/delete") for each in sent) == 1
    assert analytics.content.search("title:wrong_by") == []
    analytics.threads.shutdown()


def test_a_service_left_behind_by_a_lost_answer_is_given_again(content: Content) -> None:
    words = {"description": "d", "tags": "t", "snippet": "s"}
    left = content.create_service("featureService", "left behind", words)
    again = content.create_service("featureService", "left behind", words)
    assert again.id == left.id
    assert again.delete()


def test_a_user_without_the_right_to_an_output_is_told_by_the_job(sign_in: Callable[..., Gis], trees: Item) -> None:
    analytics = Analytics(sign_in("token", user="bob"))
    target = {"itemProperties": {"itemId": trees.id}}
    form = {
        "inputRaster": "/rasterStores/s/scene.tif",
        "model": "/rasterStores/s/detector.dlpk",
        "outputObjects": target,
    }
    with pytest.raises(JobEnded, match=r"Job failed: .*(inaccessible|does not exist)"):
        job_of(analytics, "DetectObjectsUsingDeepLearning", form).result()
    analytics.threads.shutdown()


# Errors while a job is polled


def test_a_token_that_ran_out_between_two_polls_does_no_harm(to_fragile: Analytics) -> None:
    job = job_of(to_fragile, CLASSIFY, {**SLOW, "outputClassifiedRaster": "renewed"})
    assert job.status() in RUNNING
    # One request with the token None, as the client sends it before it signs in again (contract 3.3).
    headers = {"X-Esri-Authorization": "Bearer None"}
    answer = to_fragile.gis.connection.http.get(job.url, params={"f": "json"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, 498)
    assert job.status() in RUNNING
    assert job.cancel() in RUNNING | ENDINGS.keys()
    with pytest.raises(JobEnded, match=r"Job cancelled\."):
        job.result()


@pytest.mark.parametrize("polls", [0, 1])
def test_an_unknown_job_ends_the_polling_whenever_it_is_asked_for(analytics: Analytics, polls: int) -> None:
    tools = analytics.tools
    job = Job(tools.connection, tools.url, tools.tasks[LIST], "j" + "0" * 32)
    job.polls = polls
    with pytest.raises(JobEnded, match=r"Job failed: .*does not exist or is inaccessible"):
        job.result()


def test_a_server_that_is_started_again_goes_on_with_its_jobs(fragile: LiveServer, to_fragile: Analytics) -> None:
    ended = job_of(to_fragile, LIST, {"dataStoreName": "s", "filter": "*.tif"})
    listed = ended.result()
    failed = job_of(to_fragile, LIST, {"dataStoreName": "nowhere"})
    with pytest.raises(JobEnded):
        failed.result()
    output = to_fragile._create("imageService", "over a restart", "Restart")
    running = job_of(
        to_fragile, CLASSIFY, {**SLOW, "outputClassifiedRaster": {"itemProperties": {"itemId": output.id}}}
    )
    until(lambda: fragile.files(running.url))
    fragile.kill()
    fragile.start()
    assert running.result()["itemId"] == output.id
    assert Job(ended.connection, ended.toolbox, ended.task, ended.id).result() == listed
    with pytest.raises(JobEnded, match="Job failed"):
        Job(failed.connection, failed.toolbox, failed.task, failed.id).result()


def test_a_job_that_takes_too_long_times_out_and_says_so(fragile: LiveServer, to_fragile: Analytics) -> None:
    fragile.stop()
    fragile.environment = {"RASTER_ANALYSIS_JOB_LIMIT_HOURS": "0.0001"}
    fragile.start()
    with pytest.raises(JobEnded, match=r"Job timed out\."):
        to_fragile.classify_pixels(
            "/rasterStores/s/strip.tif", "/rasterStores/s/slow.dlpk", "too long", context={"precision": "fp32"}
        )
    assert to_fragile.content.search("title:too_long") == []


def test_a_job_is_in_no_state_that_is_polled_for_ever() -> None:
    assert set(STATUS.values()) == RUNNING | ENDINGS.keys() | {"esriJobSucceeded", "esriJobFailed"}


def test_a_poll_is_never_answered_by_a_status_that_is_repeated(analytics: Analytics, trees: Item) -> None:
    polls = [each.response for each in analytics.gis.connection.log if re.search(r"/jobs/j\w+$", each.path)]
    assert polls
    assert {answer.status_code for answer in polls} == {200}


# Endings, first poll or later


def test_a_job_that_failed_before_the_first_poll_is_told_at_the_second(analytics: Analytics) -> None:
    job = job_of(analytics, LIST, {"dataStoreName": "nowhere"})
    until(lambda: job.status() == "esriJobFailed")
    with pytest.raises(JobEnded, match=r"Job failed: .*nowhere"):
        job.result()
    assert job.polls == 2
    assert job.messages == analytics.gis.connection.get(job.url)["messages"]


def test_a_job_that_succeeded_names_a_result_for_every_declared_output(analytics: Analytics) -> None:
    job = job_of(analytics, LIST, {"dataStoreName": "s"})
    job.result()
    document = analytics.gis.connection.get(job.url)
    assert document["results"] == {name: {"paramUrl": f"results/{name}"} for name in job.outputs}


def test_an_output_is_an_item_and_never_text_that_holds_json(analytics: Analytics, detector: Item, trees: Item) -> None:
    assert isinstance(trees, Item)
    listed = analytics.tools.list_deep_learning_models()
    assert isinstance(listed, list)
    told = analytics.tools.query_deep_learning_model_info(model={"itemId": detector.id})
    assert isinstance(told, dict)
    assert isinstance(json.loads(told["modelInfo"]), dict)


# Task documents


def test_defaults_are_values_of_json_and_not_texts_of_them(analytics: Analytics) -> None:
    for task in analytics.tools.tasks.values():
        for parameter in task["parameters"]:
            assert parameter["defaultValue"] not in ("true", "false", "null", "0", "None")


@pytest.mark.parametrize("default", [None, "text", ["a", "b"], [["a", "1"]]])
def test_the_check_of_defaults_takes_what_clients_take(analytics: Analytics, default: object) -> None:
    task = json.loads(json.dumps(analytics.tools.tasks[LIST]))
    task["parameters"][1]["defaultValue"] = default
    compile(source_of(task), "x", "exec")


def test_every_task_on_items_of_mosaics_takes_that_keyword(analytics: Analytics) -> None:
    for task in ("DetectObjects", "ClassifyPixels", "ClassifyObjects"):
        parameters = analytics.tools.tasks[f"{task}UsingDeepLearning"]["parameters"]
        (found,) = [each for each in parameters if each["name"] == "processAllRasterItems"]
        assert (found["dataType"], found["defaultValue"]) == ("GPBoolean", False)


@pytest.mark.parametrize("token", [None, "0" * 64, "None"])
def test_the_root_is_read_by_whoever_has_a_bad_token_or_none(
    sign_in: Callable[..., Gis], certificate: Path, token: str | None
) -> None:
    gis = sign_in("anonymous")
    gis.connection.token = token
    assert Toolbox(gis.connection, gis.toolbox_url).tasks
    gis.connection.token = None


def test_a_package_is_listed_only_while_its_item_can_be_read(
    sign_in: Callable[..., Gis], server: LiveServer, analytics: Analytics, content: Content
) -> None:
    """One listed id without an item would make the whole call raise (contract 6)."""
    item = content.add({"title": "listed", "type": "Deep Learning Package"}, server.store / "tiny.dlpk")
    assert item.id in [model.id for model in analytics.list_models()]
    others = Analytics(sign_in("token", user="bob"))
    assert item.id not in [model.id for model in others.list_models()]
    others.threads.shutdown()
    assert item.delete()
    assert item.id not in [model.id for model in analytics.list_models()]
