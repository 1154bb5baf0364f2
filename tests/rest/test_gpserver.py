"""The wire of the toolbox, letter by letter (contract 5)."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from raster_analysis.app import Rooms

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_root_has_the_keys_without_which_clients_recurse(client: TestClient, method: str) -> None:
    answer = client.request(method, TOOLBOX, params={"f": "json"}).json()

    assert answer["currentVersion"] == 11.5
    assert answer["executionType"] == "esriExecutionTypeAsynchronous"
    assert answer["resultMapServerName"] == ""
    assert "DetectObjectsUsingDeepLearning" in answer["tasks"]


def test_a_task_document_has_all_keys_and_real_json_defaults(client: TestClient) -> None:
    answer = client.post(f"{TOOLBOX}/EchoText", data={"f": "json"}).json()

    assert {"name", "displayName", "description", "category", "helpUrl", "executionType"} <= answer.keys()
    by_name = {parameter["name"]: parameter for parameter in answer["parameters"]}
    assert by_name["loudOrNot"] == {
        "name": "loudOrNot",
        "dataType": "GPBoolean",
        "displayName": "Loud Or Not",
        "description": "Whether to shout.",
        "direction": "esriGPParameterDirectionInput",
        "defaultValue": False,
        "parameterType": "esriGPParameterTypeOptional",
        "category": "",
    }
    assert by_name["minIoU"]["defaultValue"] == 0.5
    assert by_name["inputText"]["defaultValue"] is None
    assert by_name["inputText"]["parameterType"] == "esriGPParameterTypeRequired"
    assert by_name["tempo"]["choiceList"] == ["SLOW", "FAST"]
    assert by_name["outText"]["direction"] == "esriGPParameterDirectionOutput"
    assert by_name["outText"]["parameterType"] == "esriGPParameterTypeDerived"
    assert by_name["outText"]["dataType"] == "GPString"
    assert by_name["outText"]["defaultValue"] is None


def test_submit_answers_with_id_and_submitted_only(client: TestClient, alice: dict[str, str]) -> None:
    form = {"f": "json", "inputText": "hello", "loudOrNot": "", "tempo": "", "minIoU": "", "waitFor": ""}
    answer = client.post(f"{TOOLBOX}/EchoText/submitJob", data=form, headers=alice).json()

    assert answer == {"jobId": answer["jobId"], "jobStatus": "esriJobSubmitted"}


@pytest.mark.parametrize("sending", ["query", "urlencoded", "multipart", "json"])
def test_submit_takes_every_way_of_sending_a_form(toolbox, sending: str) -> None:
    form = {"f": "json", "inputText": "hello", "loudOrNot": "True"}
    url = f"{TOOLBOX}/EchoText/submitJob"
    client, headers = toolbox.client, toolbox.headers
    answer = {
        "query": lambda: client.get(url, params=form, headers=headers),
        "urlencoded": lambda: client.post(url, data=form, headers=headers),
        "multipart": lambda: client.post(url, files={k: (None, v) for k, v in form.items()}, headers=headers),
        "json": lambda: client.post(url, json=form | {"loudOrNot": True}, headers=headers),
    }[sending]()

    job_id = answer.json()["jobId"]
    assert toolbox.finish("EchoText", job_id)["jobStatus"] == "esriJobSucceeded"
    assert toolbox.get(f"EchoText/jobs/{job_id}/results/outText").json()["value"] == {"result": "HELLO"}


def test_a_job_that_succeeded_names_every_declared_output(toolbox) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")
    answer = toolbox.finish("EchoText", job_id)

    assert answer["jobId"] == job_id
    assert answer["jobStatus"] == "esriJobSucceeded"
    assert answer["results"] == {
        "outText": {"paramUrl": "results/outText"},
        "outNothing": {"paramUrl": "results/outNothing"},
    }
    assert answer["inputs"]["inputText"] == {"paramUrl": "inputs/inputText"}
    assert answer["progress"]["type"] == "step"
    assert answer["progress"]["percent"] == 100
    assert {"type": "esriJobMessageTypeInformative", "description": "heard hello"} in answer["messages"]


def test_a_result_is_a_json_value_with_name_and_type(toolbox) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")
    toolbox.finish("EchoText", job_id)

    text = toolbox.get(f"EchoText/jobs/{job_id}/results/outText").json()
    nothing = toolbox.get(f"EchoText/jobs/{job_id}/results/outNothing").json()
    assert text == {"paramName": "outText", "dataType": "GPString", "value": {"result": "hello"}}
    assert nothing == {"paramName": "outNothing", "dataType": "GPString", "value": None}


def test_wrong_parameters_are_told_by_the_job_and_not_by_submit(toolbox) -> None:
    job_id = toolbox.submit("EchoText", minIoU="many", tempo="NEVER")
    answer = toolbox.finish("EchoText", job_id)

    assert answer["jobStatus"] == "esriJobFailed"
    assert "results" not in answer
    errors = [m["description"] for m in answer["messages"] if m["type"] == "esriJobMessageTypeError"]
    for name in ("inputText", "minIoU", "tempo"):
        assert any(name in error for error in errors)


def test_a_failing_tool_ends_with_its_message_as_an_error(toolbox) -> None:
    answer = toolbox.finish("EchoText", toolbox.submit("EchoText", inputText="fail"))

    assert answer["jobStatus"] == "esriJobFailed"
    assert any(
        "cannot be read" in message["description"]
        for message in answer["messages"]
        if message["type"] == "esriJobMessageTypeError"
    )


def test_inputs_come_back_typed_and_without_tokens(toolbox) -> None:
    text = '{"url":"https://h/ImageServer?token=SECRET1","serviceToken":"SECRET2"}'
    job_id = toolbox.submit("EchoText", inputText=text, loudOrNot="True")

    url = f"EchoText/jobs/{job_id}/inputs"
    assert toolbox.get(f"{url}/loudOrNot").json() == {"paramName": "loudOrNot", "dataType": "GPBoolean", "value": True}
    assert toolbox.get(f"{url}/minIoU").json()["value"] == 0.5
    assert "SECRET" not in toolbox.get(f"{url}/inputText").text
    assert toolbox.get(f"{url}/inputText").json()["value"] == {"url": "https://h/ImageServer"}


def test_an_unknown_job_has_failed_so_that_clients_stop_asking(toolbox) -> None:
    answer = toolbox.get("EchoText/jobs/j00000000000000000000000000000000").json()

    assert answer["jobStatus"] == "esriJobFailed"
    assert answer["messages"][0]["type"] == "esriJobMessageTypeError"
    assert "error" not in answer


@pytest.mark.parametrize("rest", ["", "/messages", "/cancel", "/inputs/inputText", "/results/outText"])
def test_another_users_job_answers_like_a_missing_one(toolbox, carol: dict[str, str], rest: str) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")
    toolbox.finish("EchoText", job_id)
    missing_id = "j" + "0" * 32

    def ask(job: str) -> str:
        url = f"{TOOLBOX}/EchoText/jobs/{job}{rest}"
        return toolbox.client.get(url, params={"f": "json"}, headers=carol).text.replace(job, "ID")

    assert ask(job_id) == ask(missing_id)


def test_an_administrator_sees_everybodys_jobs(toolbox, admin: dict[str, str]) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")
    toolbox.finish("EchoText", job_id)

    url = f"{TOOLBOX}/EchoText/jobs/{job_id}"
    assert toolbox.client.get(url, params={"f": "json"}, headers=admin).json()["jobStatus"] == "esriJobSucceeded"


def test_a_job_is_found_under_its_own_task_only(toolbox) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")

    answer = toolbox.get(f"ListDeepLearningModels/jobs/{job_id}").json()
    assert answer["jobStatus"] == "esriJobFailed"
    assert "does not exist" in answer["messages"][0]["description"]


def test_cancel_answers_with_a_status_and_the_job_ends_cancelled(toolbox, tmp_path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    job_id = toolbox.submit("EchoText", inputText="hello", waitFor=str(hold))

    answer = toolbox.get(f"EchoText/jobs/{job_id}/cancel").json()
    assert answer["jobId"] == job_id
    assert answer["jobStatus"] in ("esriJobCancelling", "esriJobCancelled")
    assert toolbox.finish("EchoText", job_id)["jobStatus"] == "esriJobCancelled"
    assert toolbox.get(f"EchoText/jobs/{job_id}/cancel").json()["jobStatus"] == "esriJobCancelled"


@pytest.mark.parametrize("sent", ["inputText", "INPUTTEXT", "inputTxt"])
def test_an_input_is_found_under_whichever_spelling_it_was_sent(toolbox, sent: str) -> None:
    job_id = toolbox.submit("EchoText", **{sent: "hello"})
    job = toolbox.finish("EchoText", job_id)
    assert job["inputs"]["inputText"] == {"paramUrl": "inputs/inputText"}
    for asked in ("inputText", "inputTxt", "inputtext"):
        answer = toolbox.get(f"EchoText/jobs/{job_id}/inputs/{asked}").json()
        assert answer == {"paramName": "inputText", "dataType": "GPString", "value": "hello"}


def test_results_of_an_unfinished_job_are_refused(toolbox, tmp_path) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    job_id = toolbox.submit("EchoText", inputText="hello", waitFor=str(hold))
    answer = toolbox.get(f"EchoText/jobs/{job_id}/results/outText").json()
    hold.unlink()

    assert answer["error"]["code"] == 400
    toolbox.finish("EchoText", job_id)


@pytest.mark.parametrize("path", ["NoSuchTask", "NoSuchTask/submitJob", "NoSuchTask/jobs/j1/results/x"])
def test_an_unknown_task_is_an_error_envelope(toolbox, path: str) -> None:
    answer = toolbox.get(path)

    assert answer.status_code == 200
    assert answer.json()["error"]["code"] == 400


def test_an_unknown_parameter_is_an_error_envelope(toolbox) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")
    toolbox.finish("EchoText", job_id)

    for path in ("inputs/noSuch", "results/noSuch", "results/inputText"):
        assert toolbox.get(f"EchoText/jobs/{job_id}/{path}").json()["error"]["code"] == 400


def test_the_list_of_jobs_holds_the_users_own(toolbox, carol: dict[str, str]) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")

    mine = toolbox.get("jobs").json()["jobs"]
    hers = toolbox.client.get(f"{TOOLBOX}/jobs", params={"f": "json"}, headers=carol).json()["jobs"]
    assert job_id in {job["jobId"] for job in mine}
    assert job_id not in {job["jobId"] for job in hers}


def test_messages_only_grow(toolbox) -> None:
    job_id = toolbox.submit("EchoText", inputText="hello")
    early = toolbox.get(f"EchoText/jobs/{job_id}").json()["messages"]
    late = toolbox.finish("EchoText", job_id)["messages"]

    assert late[: len(early)] == early


RECORDED = {
    "DetectObjectsUsingDeepLearning": {
        "inputRaster": '{"url":"https://h/arcgis/rest/services/Imagery/Scene/ImageServer"}',
        "outputObjects": json.dumps(
            {
                "serviceProperties": {
                    "name": "trees_1",
                    "serviceUrl": "https://h/arcgis/rest/services/Hosted/trees_1/FeatureServer",
                },
                "itemProperties": {"itemId": "fe48"},
            }
        ),
        "model": '{"itemId":"1077"}',
        "modelArguments": '{"padding":"56","batch_size":"4","threshold":"0.5"}',
        "runNMS": "false",
        "confidenceScoreField": "",
        "classValueField": "",
        "maxOverlapRatio": "",
        "processAllRasterItems": "false",
        "context": json.dumps(
            {
                "cellSize": 0.5,
                "processorType": "GPU",
                "extent": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10, "spatialReference": {"wkid": 3857}},
                "mask": {"url": "https://h/../FeatureServer/0"},
                "parallelProcessingFactor": "2",
                "batchSize": 8,
            }
        ),
    },
    "ClassifyPixelsUsingDeepLearning": {
        "inputRaster": '{"type":"ImageryLayer","url":"https://h/ImageServer?token=TOK","mosaicRule":{"sortField":""}}',
        "outputClassifiedRaster": '{"serviceProperties":{"name":"lc_1"},"itemProperties":{"itemId":"x"}}',
        "model": '{"itemId":"1077"}',
        "modelArguments": "{}",
        "processAllRasterItems": "false",
        "context": "",
    },
    "ListDeepLearningModels": {},
    "QueryDeepLearningModelInfo": {"model": '{"itemId":"1077"}'},
    "PublishDeepLearningModel": {"modelLocation": "/rasterStores/s/m.dlpk", "outputName": '{"name":"m"}'},
}


@pytest.mark.parametrize("task", RECORDED)
def test_recorded_forms_are_accepted_and_understood(toolbox, rooms: Rooms, task: str) -> None:
    rooms.dispatcher.tools[task].parse(RECORDED[task])
    job_id = toolbox.submit(task, **RECORDED[task])
    answer = toolbox.finish(task, job_id)

    if task == "ListDeepLearningModels":
        assert answer["jobStatus"] == "esriJobSucceeded"
        assert isinstance(toolbox.get(f"{task}/jobs/{job_id}/results/deepLearningModels").json()["value"], list)
    else:
        # Understood, and the things it names do not exist here.
        assert answer["jobStatus"] == "esriJobFailed"
        assert any("TOK" not in m["description"] for m in answer["messages"])
