"""The toolbox service: tasks, submitJob, jobs, results (contract 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import JsonValue
from starlette.responses import RedirectResponse, Response

from raster_analysis.errors import JobError, ParameterError
from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.envelope import Refusal
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.rest.jobs import (
    STATUS,
    input_document,
    job_document,
    message_documents,
    missing_document,
    result_document,
    submitted_document,
)
from raster_analysis.rest.preview import FindInput, previewed_outputs
from raster_analysis.rest.tasks import task_document, toolbox_document
from raster_analysis.rest.urls import TOOLBOX, Urls
from raster_analysis.tool import Tool

_EXAMPLES = {
    "raster": '/rasterStores/store/scene.tif, an item id as {"itemId":"..."}, or a URL',
    "model": '{"itemId":"..."} or /fileShares/store/model.dlpk',
    "package": "/fileShares/store/model.dlpk",
    "output": "a name for the result",
    "context": '{"extent":{"xmin":0,"ymin":0,"xmax":10,"ymax":10},"cellSize":0.5}',
    "arguments": '{"threshold":"0.5","padding":"64"}',
}
"""What the form shows in an empty field, by kind of parameter."""
_NOT_PARAMETERS = {"f", "token", "csrf", "callback"}


class Dispatcher(Protocol):
    """What the service asks of the jobs room."""

    def submit(self, tool: str, form: Mapping[str, JsonValue], user: str) -> Job:
        """Take a job; faults in its parameters are told by the job's messages."""

    def get(self, job_id: str) -> Job | None:
        """Return a job, None for an unknown id."""

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; raises JobError when it has ended."""

    def jobs(self, user: str) -> Sequence[Job]:
        """Return a user's jobs, newest first."""


class GPServer:
    """Serves the tools as the tasks of one asynchronous geoprocessing service."""

    def __init__(
        self, tools: Mapping[str, Tool[Any]], dispatcher: Dispatcher, urls: Urls, find_input: FindInput
    ) -> None:
        self._tools = tools
        self._dispatcher = dispatcher
        self._urls = urls
        self._find_input = find_input

    def endpoints(self) -> list[Endpoint]:
        """Return every route of the service. Metadata is open: clients read it before they sign in."""
        task = f"{TOOLBOX}/{{task}}"
        job = f"{task}/jobs/{{job}}"
        return [
            Endpoint(TOOLBOX, self.root, Policy.OPEN),
            Endpoint(f"{TOOLBOX}/jobs", self.jobs, Policy.USER),
            Endpoint(task, self.task, Policy.OPEN),
            Endpoint(f"{task}/submitJob", self.submit, Policy.USER, changes=True),
            Endpoint(job, self.job, Policy.USER),
            Endpoint(f"{job}/messages", self.messages, Policy.USER),
            Endpoint(f"{job}/inputs/{{name}}", self.input, Policy.USER),
            Endpoint(f"{job}/results/{{name}}", self.result, Policy.USER),
            Endpoint(f"{job}/cancel", self.cancel, Policy.USER, changes=True),
        ]

    def root(self, _call: Call) -> Answer:
        """Describe the service."""
        return Answer(toolbox_document(self._tools), "toolbox.html", {"tools": self._tools.values()})

    def task(self, call: Call) -> Answer:
        """Describe one task; its page holds the form that submits it."""
        # A link may have fields filled in: an item's page leads here with the item.
        return self._task_answer(self._tool(call), values=call.fields, faults=())

    def submit(self, call: Call) -> Answer | Response:
        """Take a job. What is wrong with it is told by the job's messages, which reach the user; a form shows it."""
        tool = self._tool(call)
        form = {name: value for name, value in call.fields.items() if name not in _NOT_PARAMETERS}
        # A person can correct the form; a program would only meet a missing jobId (contract 1.5).
        if call.format is Format.HTML:
            try:
                tool.parse(form)
            except ParameterError as error:
                return self._task_answer(tool, values=form, faults=error.faults)
        job = self._dispatcher.submit(tool.name, form, call.user.name)
        if call.format is Format.HTML:
            return RedirectResponse(f"{self._urls.path}{TOOLBOX}/{tool.name}/jobs/{job.id}", 303)
        return Answer(submitted_document(job))

    def jobs(self, call: Call) -> Answer:
        """List the user's own jobs."""
        jobs = self._dispatcher.jobs(call.user.name)
        rows: list[JsonValue] = [{"jobId": job.id, "task": job.tool, "jobStatus": STATUS[job.status]} for job in jobs]
        return Answer({"jobs": rows}, "jobs.html", {"jobs": jobs})

    def job(self, call: Call) -> Answer:
        """Tell how a job gets on."""
        job = self._find(call)
        if job is None:
            return Answer(missing_document(call.path["job"]), "missing.html")
        # Thousands of polls read the document, a few people the page.
        view = self._job_view(job) if call.format is Format.HTML else {}
        return Answer(job_document(job, self._tools[job.tool]), "job.html", view)

    def messages(self, call: Call) -> Answer:
        """Return a job's messages alone."""
        job = self._find(call)
        if job is None:
            return Answer(missing_document(call.path["job"]), "missing.html")
        return Answer({"jobId": job.id, "jobStatus": STATUS[job.status], "messages": message_documents(job)})

    def input(self, call: Call) -> Answer:
        """Return one input of a job."""
        job = self._existing(call)
        tool = self._tools[job.tool]
        wanted = tool.wire_name(call.path["name"])
        for info in tool.describe():
            if info.name == wanted:
                return Answer(input_document(job, tool, info), "value.html")
        raise _no_parameter(call)

    def result(self, call: Call) -> Answer:
        """Return one result of a job that succeeded."""
        job = self._existing(call)
        if call.path["name"] not in {output.name for output in self._tools[job.tool].outputs}:
            raise _no_parameter(call)
        if job.status is not JobStatus.SUCCEEDED:
            raise Refusal(400, f"Job {job.id} has no results: it is {STATUS[job.status]}.")
        return Answer(result_document(job, call.path["name"]), "value.html")

    def cancel(self, call: Call) -> Answer | Response:
        """Ask a job to stop; one that has ended stays as it is."""
        job = self._find(call)
        if job is None:
            return Answer(missing_document(call.path["job"]), "missing.html")
        try:
            job = self._dispatcher.cancel(job.id)
        except JobError:
            job = self._existing(call)
        if call.format is Format.HTML:
            return RedirectResponse(f"{self._urls.path}{TOOLBOX}/{job.tool}/jobs/{job.id}", 303)
        return Answer({"jobId": job.id, "jobStatus": STATUS[job.status], "messages": message_documents(job)})

    def _tool(self, call: Call) -> Tool[Any]:
        name = call.path["task"]
        if name not in self._tools:
            raise Refusal(400, f"Task {name[:100]!r} does not exist; there are {', '.join(self._tools)}.")
        return self._tools[name]

    def _find(self, call: Call) -> Job | None:
        """Return the job if it exists, is of this task, and is for this user to see."""
        job = self._dispatcher.get(call.path["job"])
        # The same for a missing job and for somebody else's: ids are not to be tried out (A04).
        if job is None or job.tool != self._tool(call).name:
            return None
        return job if call.user.is_administrator or call.user.name == job.user else None

    def _existing(self, call: Call) -> Job:
        job = self._find(call)
        if job is None:
            raise Refusal(400, f"Job {call.path['job'][:64]} does not exist or is inaccessible.")
        return job

    def _task_answer(self, tool: Tool[Any], *, values: Mapping[str, str], faults: Sequence[str]) -> Answer:
        document = task_document(tool, f"{self._urls.toolbox}/{tool.name}?f=html")
        view = {"tool": tool, "inputs": tool.describe(), "values": values, "faults": faults, "examples": _EXAMPLES}
        return Answer(document, "task.html", view)

    def _job_view(self, job: Job) -> dict[str, Any]:
        tool = self._tools[job.tool]
        return {
            "job": job,
            "tool": tool,
            "inputs": {info.name: input_document(job, tool, info)["value"] for info in tool.describe()},
            "results": {output.name: job.outputs.get(output.name) for output in tool.outputs},
            "ended": job.status.is_final,
            "previews": previewed_outputs(job, self._find_input),
        }


def _no_parameter(call: Call) -> Refusal:
    return Refusal(400, f"Task {call.path['task'][:100]!r} has no parameter {call.path['name'][:100]!r} here.")
