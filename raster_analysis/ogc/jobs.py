"""Jobs: listed, asked about, dismissed, and their results."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.jobs.job import Job, JobStatus
from raster_analysis.ogc.links import Link, Links
from raster_analysis.ogc.negotiation import Accepted
from raster_analysis.ogc.problem import FAILED, NO_SUCH_JOB, NOT_READY, Problem
from raster_analysis.ogc.results import Results, results_document
from raster_analysis.ogc.route import ANY, change, route, whole
from raster_analysis.ogc.status import FILTERS, Filter, explain, status_document
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint
from raster_analysis.rest.formats import Answer, Format
from raster_analysis.tool import Tool

MOST_JOBS = 1000
_DEFAULT_JOBS = 100
_PAGE = 500
_MOST_READ = 10_000
"""Jobs that one list looks at: a filter that fits none of a million ends there (guess)."""


class Dispatcher(Protocol):
    """What this room asks of the jobs room."""

    def submit(self, tool: str, form: Mapping[str, JsonValue], user: str) -> Job:
        """Take a job."""

    def get(self, job_id: str) -> Job | None:
        """Return a job, None for an unknown id."""

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; one that is over stays as it is."""

    def jobs(self, user: str | None, *, limit: int = 100, before: str | None = None) -> Sequence[Job]:
        """Return a user's jobs, or everybody's, newest first."""

    def wait(self, job_id: str, timeout_s: float) -> Job | None:
        """Return the job as soon as it is over, or as it is after a time."""


class Jobs:
    """Serves the jobs of the caller; an administrator has them all."""

    def __init__(self, tools: Mapping[str, Tool[Any]], dispatcher: Dispatcher, links: Links) -> None:
        self._tools = tools
        self._dispatcher = dispatcher
        self._links = links
        self._results = Results(links)

    def endpoints(self) -> list[Endpoint]:
        """Return the routes."""
        return [
            route("/jobs", self.index, Policy.USER, queries=(*FILTERS, "limit", "before")),
            route("/jobs/{job}", self.status, Policy.USER),
            change("/jobs/{job}", self.dismiss, "DELETE"),
            route("/jobs/{job}/results", self.results, Policy.USER, formats=ANY),
            route("/jobs/{job}/results/{output}", self.result, Policy.USER, formats=(Format.JSON,)),
        ]

    def index(self, call: Call) -> Answer:
        """List jobs, newest first."""
        limit = min(whole(call, "limit", _DEFAULT_JOBS, low=1), MOST_JOBS)
        found, more = self._select(call, Filter.of(call), limit)
        links: list[Link] = self._links.of_itself("jobs", title="Jobs", query=call.fields)
        if more and found:
            asked = {name: value for name, value in call.fields.items() if name not in ("f", "token")}
            following = self._links.url("jobs", **{**asked, "before": found[-1].id})
            links.append({**links[0], "href": following, "rel": "next"})
        rows: list[JsonValue] = [status_document(job, self._links) for job in found]
        path = call.request.url.path
        view = {
            "title": "Jobs",
            "rows": [(job.id, f"{path}/{job.id}", f"{job.tool}: {job.status.value}") for job in found],
        }
        return Answer({"jobs": rows, "links": [*links]}, "ogc.html", view)

    def status(self, call: Call) -> Answer:
        """Tell how a job gets on."""
        job = self._job(call)
        return Answer(status_document(job, self._links), "ogc.html", {"title": f"Job {job.id}", "lead": explain(job)})

    def dismiss(self, call: Call) -> Answer:
        """Stop a job that runs."""
        job = self._job(call)
        if job.status.is_final and job.status is not JobStatus.CANCELLED:
            raise Problem(409, f"Job {job.id} is over; it is kept until it expires, and its results stay yours.")
        document = status_document(self._dispatcher.cancel(job.id), self._links)
        # It stops at the next tile; from here on it counts as dismissed.
        return Answer(document | {"status": "dismissed", "message": "The job is dismissed."})

    def results(self, call: Call) -> Answer | Response:
        """Return the results of a job, as its execute request wanted them."""
        job = self._job(call)
        if call.format is Format.HTML:
            self._check_done(job)
            document = results_document(self._results.of(job, self._tools[job.tool]))
            return Answer(document, "ogc.html", {"title": "Results"})
        return self.respond(job, call)

    def result(self, call: Call) -> Response:
        """Return one output alone; of an item, the way to it."""
        job = self._job(call)
        name = call.path["output"]
        if name not in {output.name for output in self._tools[job.tool].outputs}:
            raise Problem(404, f"Process {job.tool} has no output {name[:100]!r}.")
        self._check_done(job)
        result = self._results.one(job, self._tools[job.tool], name)
        if result.link["href"] != self._links.url("jobs", job.id, "results", name):
            return Response(status_code=303, headers={"location": str(result.link["href"])})
        content, media_type = result.body(Accepted.of(call.request.headers.get("accept", "")))
        return Response(content, media_type=media_type)

    def respond(self, job: Job, call: Call) -> Answer | Response:
        """Return the results of a job that is over; raises Problem for one that failed or was dismissed."""
        self._check_done(job)
        return self._results.respond(job, self._tools[job.tool], Accepted.of(call.request.headers.get("accept", "")))

    def _check_done(self, job: Job) -> None:
        if not job.status.is_final:
            raise Problem(404, f"Job {job.id} has no results yet; it is {job.status.value}.", type=NOT_READY)
        if job.status is JobStatus.CANCELLED:
            raise Problem(410, f"Job {job.id} was dismissed; it has no results.", type=FAILED)
        if job.status is not JobStatus.SUCCEEDED:
            raise Problem(422, explain(job), type=FAILED)

    def _job(self, call: Call) -> Job:
        job = self._dispatcher.get(call.path["job"])
        # The same for a missing job and for somebody else's: ids are not to be tried out.
        if job is None or job.tool not in self._tools or not (call.user.is_administrator or call.user.name == job.user):
            raise Problem(404, f"Job {call.path['job'][:64]!r} does not exist or is not yours.", type=NO_SUCH_JOB)
        return job

    def _select(self, call: Call, wanted: Filter, limit: int) -> tuple[list[Job], bool]:
        """Return the jobs that a filter wants, and whether there may be more."""
        owner = None if call.user.is_administrator else call.user.name
        found: list[Job] = []
        before = call.fields.get("before")
        now = dt.datetime.now(dt.UTC)
        for _ in range(_MOST_READ // _PAGE):
            page = self._dispatcher.jobs(owner, limit=_PAGE, before=before)
            found += [job for job in page if job.tool in self._tools and wanted.wants(job, now)]
            if len(found) > limit or len(page) < _PAGE:
                break
            before = page[-1].id
        return found[:limit], len(found) > limit
