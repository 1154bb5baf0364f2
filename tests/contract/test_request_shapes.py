"""The forms that clients were seen to send, letter by letter but for our addresses and ids (contract 5.3, 6, 8, 9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import rasterio
import rasterio.warp
from contract_tasks import TASKS
from live_server import LiveServer
from strict_analytics import Analytics
from strict_content import Item
from strict_layers import FeatureLayer, ImageryLayer
from strict_toolbox import Job, submit_job

from raster_analysis.rest_client import RestClient

Form = dict[str, str]
DETECT, CLASSIFY, OBJECTS = (
    f"{verb}UsingDeepLearning" for verb in ("DetectObjects", "ClassifyPixels", "ClassifyObjects")
)
MOSAIC = '{"mosaicMethod":"esriMosaicNorthwest","sortField":"","mosaicOperation":"MT_FIRST"}'


@dataclass
class Recorder:
    """What the recorded forms name, as it is called on this server."""

    analytics: Analytics
    server: LiveServer
    detector: Item
    trees: Item
    imagery: Item
    small: Item
    made: int = 0

    def output(self, kind: str, **more: Any) -> str:
        """Create the service of an output, as clients do, and return how the job is told of it."""
        self.made += 1
        item = self.analytics._create(kind, f"shape_{self.made}", "Recorded")
        target = {
            "serviceProperties": {"name": item["name"], "serviceUrl": item["url"]},
            "itemProperties": {"itemId": item.id},
        }
        return json.dumps({**target, **more})

    def name(self) -> str:
        self.made += 1
        return f"shape_{self.made}"

    def words(self, text: str) -> str:
        """Put our addresses, ids and extents into a recorded text."""
        given = {
            "IMAGERY": self.imagery["url"],
            "IMAGERY_ID": self.imagery.id,
            "SMALL": self.small["url"],
            "TOKEN": self.analytics.gis.connection.token or "",
            "DETECTOR": self.detector.id,
            "MODEL_URL": f"{self.analytics.gis.rest}content/items/{self.detector.id}",
            "TREES": self.trees["url"],
            "EXTENT": json.dumps(self._extent()),
            "MOSAIC": MOSAIC,
        }
        for word in sorted(given, key=len, reverse=True):
            text = text.replace(f"%{word}%", given[word])
        return text

    def run(self, task: str, form: Form) -> Any:
        tools, sent = self.analytics.tools, {name: self.words(text) for name, text in form.items()}
        job_id = submit_job(tools.connection, tools.url, task, sent)
        return Job(tools.connection, tools.url, tools.tasks[task], job_id).result()

    def _extent(self) -> dict[str, Any]:
        with rasterio.open(self.server.store / "scene.tif") as scene:
            bounds = rasterio.warp.transform_bounds(scene.crs, "EPSG:3857", *scene.bounds)
        return {**dict(zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True)), "spatialReference": {"wkid": 3857}}


@pytest.fixture(scope="module")
def recorder(analytics: Analytics, server: LiveServer, detector: Item, trees: Item) -> Recorder:
    imagery = analytics.copy_raster("/rasterStores/s/scene.tif", "recorded scene")
    small = analytics.copy_raster("/rasterStores/s/before.tif", "recorded dates")
    return Recorder(analytics, server, detector, trees, imagery, small)


DETECTION = {
    "inputRaster": '{"url":"%IMAGERY%"}',
    "model": '{"itemId":"%DETECTOR%"}',
    "modelArguments": '{"padding":"56","batch_size":"4","threshold":"0.5"}',
    "runNMS": "false",
    "confidenceScoreField": "",
    "classValueField": "",
    "maxOverlapRatio": "",
    "processAllRasterItems": "false",
    "context": '{"cellSize":0.5,"processorType":"GPU","extent":%EXTENT%,"mask":{"url":"%TREES%/0"},'
    '"parallelProcessingFactor":"2","batchSize":8}',
}
SHORT = {**DETECTION, "modelArguments": "", "context": ""}
"""The same with what may be left out left out, as empty texts."""
DETECTIONS: dict[str, Form] = {
    "recorded": DETECTION,
    "empty": SHORT,
    "context without anything": {**SHORT, "context": "{}"},
    "python's booleans": {
        **SHORT, "runNMS": "True", "confidenceScoreField": "Confidence", "classValueField": "Class",
        "maxOverlapRatio": "0.1", "processAllRasterItems": "False",
    },
    "environment": {**SHORT, "env:outSR": "3857", "env:processSR": "32616"},
    "returnZ": {**SHORT, "returnZ": "True", "returnM": "True"},
    "unknown keys": {**SHORT, "somethingNew": "1", "context": '{"somethingNew":{"a":[1]},"outSR":{"wkid":3857}}'},
    "imagery layer": {
        **SHORT, "inputRaster": '{"type":"ImageryLayer","url":"%IMAGERY%?token=%TOKEN%","mosaicRule":%MOSAIC%}',
    },
    "layer with a token beside it": {**SHORT, "inputRaster": '{"url":"%IMAGERY%","serviceToken":"%TOKEN%"}'},
    "store path": {**SHORT, "inputRaster": '{"uri":"/rasterStores/s/scene.tif"}'},
    "layer on a store path": {**SHORT, "inputRaster": '{"mosaicRule":%MOSAIC%,"uri":"/rasterStores/s/scene.tif"}'},
    "bare path": {**SHORT, "inputRaster": "/rasterStores/s/scene.tif"},
    "bare address": {**SHORT, "inputRaster": "%IMAGERY%"},
    "item": {**SHORT, "inputRaster": '{"itemId":"%IMAGERY_ID%"}'},
    "item wins": {**SHORT, "inputRaster": '{"itemId":"%IMAGERY_ID%","url":"https://nowhere.example/ImageServer"}'},
    "service and item": {
        **SHORT, "inputRaster": '{"serviceProperties":{"name":"recorded_scene","serviceUrl":"%IMAGERY%"},'
        '"itemProperties":{"itemId":"%IMAGERY_ID%"}}',
    },
    "model by its address": {**SHORT, "model": '{"url":"%MODEL_URL%"}'},
    "model by its path": {**SHORT, "model": '{"uri":"/rasterStores/s/detector.dlpk"}'},
    "everything in the context": {
        **SHORT, "context": '{"cellSize":{"url":"%IMAGERY%"},"extent":%EXTENT%,"outSR":{"wkid":3857},'
        '"snapRaster":{"url":"%IMAGERY%?token=%TOKEN%","mosaicRule":%MOSAIC%},"processSR":{"wkid":32616},'
        '"mask":{"type":"FeatureLayer","url":"%TREES%/0","serviceToken":"%TOKEN%"},'
        '"parallelProcessingFactor":"60%","processorType":"CPU","exportAllTiles":false,"startIndex":0}',
    },
    "cell size in words": {**SHORT, "context": '{"cellSize":"MaxOf"}'},
}  # fmt: skip


@pytest.mark.parametrize("shape", DETECTIONS)
def test_a_detection_runs_from_what_was_recorded(recorder: Recorder, shape: str) -> None:
    target = recorder.output("featureService")
    value = recorder.run(DETECT, {**DETECTIONS[shape], "outputObjects": target})
    assert value["itemId"] == json.loads(target)["itemProperties"]["itemId"]
    assert value["url"] == json.loads(target)["serviceProperties"]["serviceUrl"]
    FeatureLayer(recorder.analytics.gis, f"{value['url']}/0").properties()


OUTPUTS: dict[str, Callable[[Recorder], str]] = {
    "name alone, as ArcGIS Pro": lambda recorder: json.dumps({"serviceProperties": {"name": recorder.name()}}),
    "item alone": lambda recorder: json.dumps({"itemProperties": _item_of(recorder.output("featureService"))}),
    "item id": lambda recorder: json.dumps(_item_of(recorder.output("featureService"))),
    "name": lambda recorder: json.dumps({"name": recorder.name()}),
    "bare name": lambda recorder: recorder.name(),
    "name with spaces": lambda recorder: f"{recorder.name()} of trees",
}


def _item_of(target: str) -> dict[str, str]:
    return json.loads(target)["itemProperties"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", OUTPUTS)
def test_an_output_may_be_named_in_each_way(recorder: Recorder, shape: str) -> None:
    value = recorder.run(DETECT, {**SHORT, "outputObjects": OUTPUTS[shape](recorder)})
    assert Item(recorder.analytics.gis, value["itemId"])["type"] == "Feature Service"


@pytest.mark.parametrize("place", ["top", "item"])
def test_an_output_lands_in_the_folder_it_names(recorder: Recorder, place: str) -> None:
    folder = recorder.analytics.content.create_folder(f"Recorded {place}")
    in_item = {"itemProperties": {"folderId": folder._folder}}
    where = {"folderId": folder._folder} if place == "top" else in_item
    target = json.dumps({"serviceProperties": {"name": recorder.name()}, **where})
    value = recorder.run(DETECT, {**SHORT, "outputObjects": target})
    assert folder.in_folder() == [value["itemId"]]


CLASSIFICATION = {
    "inputRaster": '{"url":"%IMAGERY%"}',
    "model": '{"uri":"/rasterStores/s/tiny.dlpk"}',
    "modelArguments": "{}",
    "processAllRasterItems": "false",
    "context": "",
}


@pytest.mark.parametrize("spelling", ["outputClassifiedRaster", "outputClassifedRaster"])
def test_a_classification_runs_from_what_was_recorded(recorder: Recorder, spelling: str) -> None:
    target = recorder.output("imageService")
    value = recorder.run(CLASSIFY, {**CLASSIFICATION, spelling: target})
    assert value["itemId"] == _item_of(target)["itemId"]
    assert ImageryLayer(recorder.analytics.gis, value["url"]).properties()["bandCount"] == 1


COLLECTION = {
    "layerDefinition": {"geometryType": "esriGeometryPoint", "fields": [
        {"name": "OBJECTID", "type": "esriFieldTypeOID"}, {"name": "plot", "type": "esriFieldTypeString"}]},
    "featureSet": {"geometryType": "esriGeometryPoint", "spatialReference": {"wkid": 32616}, "features": [
        {"attributes": {"OBJECTID": 1, "plot": "A"}, "geometry": {"x": 500_040.0, "y": 3_749_960.0}}]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("features", "count"),
    [
        ('{"url":"%TREES%/0"}', None),
        ('{"url":"%TREES%/0","serviceToken":"%TOKEN%","type":"FeatureLayer"}', None),
        ('{"url":"%TREES%/0","filter":"OBJECTID = 1"}', 1),
        ("%TREES%/0", None),
        ('<FeatureLayer url:"%TREES%/0">', None),
        (json.dumps(COLLECTION), 1),
    ],
)
def test_features_may_be_given_in_each_way(
    recorder: Recorder, add_package: Callable[[str], Item], features: str, count: int | None
) -> None:
    model = recorder.analytics.content.search("title:objects", "Deep Learning Package")
    form = {
        "inputRaster": '{"url":"%IMAGERY%"}',
        "inputFeatures": features,
        "outputFeatureClass": recorder.output("featureService"),
        "model": json.dumps({"itemId": (model[0] if model else add_package("objects")).id}),
        "modelArguments": "",
        "classLabelField": "ClassLabel",
        "processAllRasterItems": "false",
        "context": "",
    }
    value = recorder.run(OBJECTS, form)
    gis = recorder.analytics.gis
    found = FeatureLayer(gis, f"{value['url']}/0").query()
    assert len(found) == (count or len(FeatureLayer(gis, f"{recorder.trees['url']}/0").query()))


def test_a_change_detection_runs_with_the_names_of_the_client(recorder: Recorder) -> None:
    form = {
        "fromRaster": '{"url":"%SMALL%?token=%TOKEN%"}',
        "toRaster": '{"uri":"/rasterStores/s/after.tif"}',
        "outputClassifiedRasterName": recorder.output("imageService"),
        "modelDefinition": '{"uri":"/rasterStores/s/two_dates.dlpk"}',
        "modelArguments": "",
        "context": '{"cellSize":2}',
    }
    assert recorder.run("DetectChangeUsingDeepLearning", form)["url"].endswith("/ImageServer")


@pytest.mark.parametrize("report", ["", '{"name":"Recorded report"}'])
def test_an_accuracy_has_both_results_whether_a_report_is_asked_for_or_not(recorder: Recorder, report: str) -> None:
    form = {
        "detectedFeatures": '{"url":"%TREES%/0"}',
        "groundTruthFeatures": '{"type":"FeatureLayer","url":"%TREES%/0","serviceToken":"%TOKEN%"}',
        "outAccuracyTableName": json.dumps({"serviceProperties": {"name": recorder.name()}}),
        "outAccuracyReportName": report,
        "detectedClassValueField": "Class",
        "groundTruthClassValueField": "Class",
        "minIoU": "0.5",
        "maskFeatures": "",
        "context": "",
    }
    value = recorder.run("ComputeAccuracyforObjectDetection", form)
    assert value._fields == ("out_accuracy_table", "out_accuracy_report")
    assert bool(value.out_accuracy_report) == bool(report)


@pytest.mark.parametrize("model", ['{"itemId":"%DETECTOR%"}', '{"url":"%MODEL_URL%"}', "%MODEL_URL%", "%DETECTOR%"])
def test_a_model_is_installed_and_uninstalled_under_each_name(recorder: Recorder, model: str) -> None:
    where = recorder.run("InstallDeepLearningModel", {"modelPackage": model})
    assert recorder.detector.id in where
    assert recorder.run("UninstallDeepLearningModel", {"modelItemId": model}) == recorder.detector.id


def test_a_package_is_published_from_a_store(recorder: Recorder) -> None:
    form = {"modelLocation": "/rasterStores/s/landcover.dlpk", "outputName": '{"name":"From the store"}'}
    value = recorder.run("PublishDeepLearningModel", form)
    assert Item(recorder.analytics.gis, value["itemId"])["type"] == "Deep Learning Package"


def test_a_copy_runs_with_an_empty_context_and_no_cell_size(recorder: Recorder) -> None:
    form = {
        "inputRaster": '{"uri":"/rasterStores/s/before.tif"}',
        "outputName": recorder.output("imageService"),
        "outputCellsize": "",
        "resamplingMethod": "NEAREST",
        "clipSetting": "",
        "context": "{}",
    }
    assert recorder.run("CopyRaster", form)["url"].endswith("/ImageServer")


@pytest.mark.parametrize("shape", ["query", "form in the address", "json", "pjson"])
def test_jobs_are_submitted_in_each_way(recorder: Recorder, shape: str) -> None:
    connection, tools = recorder.analytics.gis.connection, recorder.analytics.tools
    form = {"dataStoreName": "s", "filter": "*.tif"}
    url = f"{tools.url}/ListDatastoreContent/submitJob"
    answer = {
        "query": lambda: connection.send("GET", url, query={"f": "json", **form}),
        "form in the address": lambda: connection.send("POST", url, {"f": "json"}, query=form),
        "json": lambda: connection.http.post(
            url, json={"f": "json", **form}, headers={"X-Esri-Authorization": f"Bearer {connection.token}"}
        ),
        "pjson": lambda: connection.send("POST", url, {"f": "pjson", **form}),
    }[shape]().json()
    assert answer.keys() == {"jobId", "jobStatus"}
    job = Job(connection, tools.url, tools.tasks["ListDatastoreContent"], answer["jobId"])
    assert job.result()["contentList"] == ["after.tif", "before.tif", "scene.tif", "strip.tif"]


def test_inputs_are_told_as_they_were_given(recorder: Recorder, server: LiveServer) -> None:
    client = RestClient(server.url, server.tokens["ann"], server.certificate)
    job = client.submit("ListDatastoreContent", {"dataStoreName": "s", "filter": ""})
    client.wait(job)
    assert client.get(f"{job}/inputs/dataStoreName") == {
        "paramName": "dataStoreName", "dataType": "GPString", "value": "s",
    }  # fmt: skip


def test_what_is_not_offered_is_not_listed(recorder: Recorder) -> None:
    """Clients then say that the tool does not exist, before they create an output."""
    tools = recorder.analytics.tools
    for task in TASKS.keys() - tools.tasks.keys():
        answer = recorder.analytics.gis.connection.send("POST", f"{tools.url}/{task}/submitJob", {"f": "json"}).json()
        assert answer["error"]["code"] == 400
