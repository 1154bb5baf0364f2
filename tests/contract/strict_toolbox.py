"""How the strict client makes Python of a toolbox, submits, polls and reads results (contract 5)."""

from __future__ import annotations

import json
import re
import time
from collections import namedtuple
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from strict_client import Connection, Document

RUNNING = {"esriJobNew", "esriJobSubmitted", "esriJobWaiting", "esriJobExecuting", "esriJobCancelling"}
ENDINGS = {"esriJobCancelled": "Job cancelled.", "esriJobTimedOut": "Job timed out."}
POLL_S = 0.1
"""The client waits a second; all else is as it does it."""
_OUTPUT = "esriGPParameterDirectionOutput"
_NEEDED = ("name", "dataType", "displayName", "direction", "defaultValue", "parameterType")


class JobEnded(Exception):
    """A job that did not succeed, in the words that a user reads."""


class PollsForEver(AssertionError):
    """The client would now poll until somebody ends it."""


def python_name(name: str) -> str:
    """Return the Python name of a task or parameter (contract 5.2)."""
    if "_" in name or " " in name:
        return name.lower()
    return re.sub("([a-z0-9])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()


def encode(value: object) -> str:
    """Return a value as it is sent (contract 5.3)."""
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list, tuple, bool)) else str(value)


def source_of(task: Document) -> str:
    """Return the function that the client writes for a task; names, words and defaults are pasted into it."""
    inputs = [given for given in task["parameters"] if given["direction"] != _OUTPUT]
    arguments = [f"{python_name(given['name'])}={_pasted(given)}" for given in inputs]
    lines = [
        f"def {python_name(task['name'])}({', '.join([*arguments, 'gis=None', 'future=False', 'estimate=False'])}):"
    ]
    told = [f"   {python_name(each['name'])}: {each['displayName']}. {_doubled(each)}" for each in task["parameters"]]
    lines += ['    """', task.get("description", ""), *told, '    """', "    given = dict(locals())"]
    lines += ["    for name in ('gis', 'future', 'estimate'): given.pop(name)"]
    lines += ["    return _submit(given, future)"]
    return "\n".join(lines)


def _doubled(parameter: Document) -> str:
    # Backslashes are fine in the descriptions of parameters (contract 1.10).
    return str(parameter.get("description", "")).replace("\\", "\\\\")


def _pasted(parameter: Document) -> str:
    default = parameter["defaultValue"]
    return f'"{default}"' if isinstance(default, str) and parameter["dataType"] == "GPString" else str(default)


@dataclass
class Toolbox:
    """The functions of one GPServer, written from its documents."""

    connection: Connection
    url: str
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    tasks: dict[str, Document] = field(default_factory=dict)

    def __post_init__(self) -> None:
        service = self.connection.send("GET", self.url, query={"f": "json"}).json()
        if "executionType" not in service:
            raise RecursionError(f"some 970 requests: {service}")
        assert service["executionType"] == "esriExecutionTypeAsynchronous"
        assert service["resultMapServerName"] == ""
        with ThreadPoolExecutor(8) as pool:
            for task in pool.map(self._read, service["tasks"]):
                self._add(task)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self.functions[name]
        except KeyError:
            raise AttributeError(name) from None

    def _read(self, name: str) -> Document:
        return self.connection.send("POST", f"{self.url}/{name}", {"f": "json"}).json()  # type: ignore[no-any-return]

    def _add(self, task: Document) -> None:
        for parameter in task["parameters"]:
            for key in _NEEDED:
                parameter[key]
        by_python_name = {python_name(each["name"]): each["name"] for each in task["parameters"]}

        def submit(given: Mapping[str, object], future: bool) -> Any:
            sent = {by_python_name[name]: value for name, value in given.items()}
            job = Job(self.connection, self.url, task, submit_job(self.connection, self.url, task["name"], sent))
            return job if future else job.result()

        space = {"_submit": submit}
        exec(compile(source_of(task), task["name"], "exec"), space)
        name = python_name(task["name"])
        self.functions[name], self.tasks[task["name"]] = space[name], task


def submit_job(connection: Connection, toolbox: str, task: str, given: Mapping[str, object]) -> str:
    """Submit and return the job's id; a KeyError is all that a user sees of an error (contract 1.5)."""
    form = {"f": "json", **{name: encode(value) for name, value in given.items()}}
    return str(connection.send("POST", f"{toolbox}/{task}/submitJob", form).json()["jobId"])


class Job:
    """A job, polled."""

    def __init__(self, connection: Connection, toolbox: str, task: Document, job_id: str) -> None:
        self.connection, self.toolbox, self.task, self.id = connection, toolbox, task, job_id
        self.url = f"{toolbox}/{task['name']}/jobs/{job_id}"
        self.messages: list[Document] = []
        self.polls = 0

    @property
    def outputs(self) -> list[str]:
        return [each["name"] for each in self.task["parameters"] if each["direction"] == _OUTPUT]

    def status(self) -> str:
        """Ask once, from outside of the polling."""
        document = self.connection.send("GET", self.url, query={"f": "json", "returnMessages": "True"}).json()
        return str(document["jobStatus"])

    def cancel(self) -> str:
        return str(self.connection.send("GET", f"{self.url}/cancel", query={"f": "json"}).json()["jobStatus"])

    def result(self) -> Any:
        """Poll until the end and return the value of the one output, or a named tuple of all."""
        document = self._poll()
        if "jobStatus" not in document:
            raise JobEnded("No job results.")
        while True:
            status = document["jobStatus"]
            if status == "esriJobSucceeded":
                break
            if status in ENDINGS:
                raise JobEnded(ENDINGS[status])
            if status == "esriJobFailed" and self.polls > 1:
                raise JobEnded(f"Job failed: {self.messages}")
            if status != "esriJobFailed" and status not in RUNNING:
                raise PollsForEver(status)
            time.sleep(POLL_S)
            document = self._poll()
            if "jobStatus" not in document:
                raise PollsForEver(str(document))
        return self._read(document)

    def _poll(self) -> Document:
        document: Document = self.connection.send("GET", self.url, query={"f": "json"}).json()
        self.polls += 1
        if self.polls > 1:
            for message in document.get("messages", [])[len(self.messages) :]:
                self.messages.append({"type": message["type"], "description": message["description"]})
        return document

    def _read(self, document: Document) -> Any:
        if "results" not in document:
            raise JobEnded("No job results.")
        values = {}
        for name in self.outputs:
            where = f"{self.url}/{document['results'][name]['paramUrl']}"
            values[name] = self.connection.send("GET", where, query={"f": "json"}).json()["value"]
        # Read again after every job, for the map server that we do not have.
        root = self.connection.send("GET", self.toolbox, query={"f": "json"}).json()
        assert root["resultMapServerName"] == ""
        if len(document["results"]) == 1:
            return values[self.outputs[0]]
        names = [python_name(name) for name in self.outputs]
        return namedtuple("FunctionOutput", names)(**dict(zip(names, values.values(), strict=True)))  # noqa: PYI024
