"""The functions of the strict client that run models: service first, then the job, then the item (contract 6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from strict_client import Document, Gis
from strict_content import Content, Item
from strict_layers import ImageryLayer
from strict_toolbox import Job, Toolbox

Raster = str | Document | ImageryLayer | Item


@dataclass
class RunningJob:
    """What a function with `future=True` returns; a thread polls."""

    job: Job
    output: Item | None
    outcome: Future[Any]

    def result(self, timeout_s: float = 60) -> Any:
        return self.outcome.result(timeout_s)

    def cancel(self) -> bool:
        """Cancel, and delete the output item at once, whatever the worker does (contract 5.6)."""
        self.job.cancel()
        return self.output.delete() if self.output else True


@dataclass
class Analytics:
    """`arcgis.learn` and `arcgis.raster.analytics` as one portal sees them."""

    gis: Gis
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    @cached_property
    def content(self) -> Content:
        return Content(self.gis)

    @cached_property
    def tools(self) -> Toolbox:
        return Toolbox(self.gis.connection, self.gis.toolbox_url)

    @cached_property
    def version(self) -> float:
        version = self.gis.connection.post(self.gis.toolbox_url)["currentVersion"]
        assert version >= 10.8
        return float(version)

    def list_models(self) -> list[Item]:
        return [Item(self.gis, each["id"]) for each in self.tools.list_deep_learning_models() if "id" in each]

    def query_info(self, model: Item | str) -> Document:
        told = self.tools.query_deep_learning_model_info(model=self._model(model))
        return json.loads(told["modelInfo"])  # type: ignore[no-any-return]

    def install(self, model: Item) -> str:
        return str(self.tools.install_deep_learning_model(model_package={"itemId": model.id}))

    def uninstall(self, model: Item) -> str:
        return str(self.tools.uninstall_deep_learning_model(model_item_id={"itemId": model.id}))

    def detect_objects(
        self,
        raster: Raster,
        model: Item | str,
        name: str,
        *,
        arguments: dict[str, str] | None = None,
        run_nms: bool = False,
        max_overlap_ratio: float = 0,
        context: Document | None = None,
        folder: str | None = None,
        future: bool = False,
    ) -> Any:
        assert self.version >= 10.8
        bound = self._raster(raster)
        output = self._create("featureService", name, "Detect Objects Using Deep Learning", folder)
        # The folder of a feature output is at the top level (contract 9.2).
        target = _target(output) | ({"folderId": folder} if folder else {})
        # When features are not thinned out, the client blanks what says how.
        thinning = {"confidence_score_field": "Confidence", "class_value_field": "Class"}
        thinning |= {"max_overlap_ratio": max_overlap_ratio}  # type: ignore[dict-item]
        return self._run(
            self.tools.detect_objects_using_deep_learning, output, future=future,
            input_raster=bound, output_objects=target, model=self._model(model), model_arguments=arguments,
            run_nms=run_nms, **(thinning if run_nms else dict.fromkeys(thinning)),
            process_all_raster_items=False, context=context,
        )  # fmt: skip

    def classify_pixels(
        self, raster: Raster, model: Item | str, name: str, *, context: Document | None = None, future: bool = False
    ) -> Any:
        assert self.version >= 10.8
        bound = self._raster(raster)
        output = self._create("imageService", name, "Classify Pixels Using Deep Learning")
        return self._run(
            self.tools.classify_pixels_using_deep_learning, output, future=future,
            input_raster=bound, output_classified_raster=_target(output), model=self._model(model),
            model_arguments=None, process_all_raster_items=False, context=context,
        )  # fmt: skip

    def classify_objects(self, raster: Raster, features: Document, model: Item | str, name: str) -> Any:
        output = self._create("featureService", name, "Classify Objects Using Deep Learning")
        return self._run(
            self.tools.classify_objects_using_deep_learning, output,
            input_raster=self._raster(raster), input_features=features, output_feature_class=_target(output),
            model=self._model(model), model_arguments=None, class_label_field="ClassLabel",
            process_all_raster_items=False, context=None,
        )  # fmt: skip

    def detect_change(self, before: Raster, after: Raster, model: Item | str, name: str) -> Any:
        output = self._create("imageService", name, "Detect Change Using Deep Learning")
        return self._run(
            self.tools.detect_change_using_deep_learning, output,
            from_raster=self._raster(before), to_raster=self._raster(after), model_arguments=None, context=None,
            output_classified_raster_name=_target(output), model_definition=self._model(model),
        )  # fmt: skip

    def copy_raster(self, raster: Raster | Path, name: str) -> Any:
        self.gis.connection.post(f"{self.gis.rest}content/users/{self.gis.username}")["folders"]
        bound = self.upload(raster) if isinstance(raster, Path) else self._raster(raster)
        output = self._create("imageService", name, "Copy Raster")
        return self._run(
            self.tools.copy_raster, output, input_raster=bound, output_name=_target(output), output_cellsize=None,
            resampling_method="NEAREST", clip_setting=None, context={},
        )  # fmt: skip

    def compute_accuracy(self, found: Document, truth: Document, table: str, report: str | None = None) -> Any:
        return self._run(
            self.tools.compute_accuracyfor_object_detection, None,
            detected_features=found, ground_truth_features=truth,
            out_accuracy_table_name={"serviceProperties": {"name": table}},
            out_accuracy_report_name={"name": report} if report else None,
            detected_class_value_field=None, ground_truth_class_value_field=None, min_io_u=None,
            mask_features=None, context=None,
        )  # fmt: skip

    def list_datastore_content(self, store: str, filter: str | None = None) -> list[str]:
        listed = self.tools.list_datastore_content(data_store_name=store, filter=filter)["contentList"]
        return json.loads(listed) if isinstance(listed, str) else listed  # type: ignore[no-any-return]

    def upload(self, path: Path) -> Document:
        """Send a local file for a job, and return it as the raster of that job (contract 5.6)."""
        form = {"f": "json", "filename": path.name, "overwrite": "true"}
        with path.open("rb") as file:
            url = f"{self.gis.toolbox_url}/uploads/upload"
            answer = self.gis.connection.send("POST", url, form, files={"file": (path.name, file)}).json()
        return {"itemIds": [answer["item"]["itemID"]], "itemsOnServer": True}

    def _run(self, tool: Callable[..., Job], output: Item | None, *, future: bool = False, **given: Any) -> Any:
        job = tool(**given, future=True)
        running = RunningJob(job, output, self.threads.submit(self._finish, job, output, not future))
        return running if future else running.result()

    def _finish(self, job: Job, output: Item | None, deletes: bool) -> Any:
        try:
            return self._value(job, job.result())
        except Exception:
            if output is not None and deletes:
                output.delete()
            raise

    def _value(self, job: Job, value: Any) -> Any:
        """Return what the user gets of a result (contract 5.5)."""
        if isinstance(value, tuple):
            kept = [self._value(job, each) for each in value if each]
            return kept[0] if len(kept) == 1 else kept
        if isinstance(value, dict) and "itemId" in value:
            item = Item(self.gis, value["itemId"])
            told = {"jobUrl": job.url, "jobType": "GPServer", "jobId": job.id, "jobStatus": "completed"}
            assert item.update(properties=told)
            return item
        return value["url"] if isinstance(value, dict) and "url" in value else value

    def _create(self, kind: str, name: str, tool: str, folder: str | None = None) -> Item:
        words = {"description": f"Made by {tool}", "tags": f"Analysis Result, {tool}", "snippet": f"Made by {tool}"}
        return Content(self.gis, folder).create_service(kind, name, words)

    def _raster(self, raster: Raster) -> Document:
        if isinstance(raster, dict):
            return raster
        if isinstance(raster, str):
            return {"url" if raster.startswith(("http:", "https:")) else "uri": raster}
        return self._layer(raster["url"] if isinstance(raster, Item) else raster.url)

    def _layer(self, url: str) -> Document:
        """Return a layer with the token in its URL when the service takes it there (contract 2.2)."""
        connection = self.gis.connection
        answer = connection.send("GET", url, query={"f": "json", "token": connection.token}, token=False)
        takes_it = answer.status_code == 200 and "invalid token" not in answer.text.lower()
        return {"type": "ImageryLayer", "url": f"{url}?token={connection.token}" if takes_it else url}

    def _model(self, model: Item | str) -> Document:
        if isinstance(model, Item):
            return {"itemId": model.id}
        return {"url" if model.startswith("http") else "uri": model}


def _target(output: Item) -> Document:
    return {
        "serviceProperties": {"name": output["name"], "serviceUrl": output["url"]},
        "itemProperties": {"itemId": output.id},
    }
