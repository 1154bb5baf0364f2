"""Processes: the tools, listed, described and executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from starlette.responses import Response

from raster_analysis.jobs.job import Job
from raster_analysis.ogc.descriptions import description, summary
from raster_analysis.ogc.dialect import body_of
from raster_analysis.ogc.execution import preferences, read_execution, wait_s
from raster_analysis.ogc.jobs import Dispatcher, Jobs
from raster_analysis.ogc.links import Link, Links
from raster_analysis.ogc.problem import NO_SUCH_PROCESS, Problem
from raster_analysis.ogc.route import change, route, whole
from raster_analysis.ogc.status import status_document
from raster_analysis.rest.access import Policy
from raster_analysis.rest.endpoint import Call, Endpoint, Waiting
from raster_analysis.rest.formats import Answer
from raster_analysis.tool import Tool

MOST_PROCESSES = 1000


class Processes:
    """Serves what can be executed."""

    def __init__(self, tools: Mapping[str, Tool[Any]], dispatcher: Dispatcher, jobs: Jobs, links: Links) -> None:
        self._tools = tools
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._links = links

    def endpoints(self) -> list[Endpoint]:
        """Return the routes; descriptions are open, as clients read them before they sign in."""
        return [
            route("/processes", self.index, Policy.OPEN, queries=("limit", "offset")),
            route("/processes/{process}", self.describe, Policy.OPEN),
            change("/processes/{process}/execution", self.execute, "POST"),
        ]

    def index(self, call: Call) -> Answer:
        """List the processes."""
        limit = whole(call, "limit", MOST_PROCESSES, low=1)
        start = whole(call, "offset", 0)
        names = [*self._tools][start : start + min(limit, MOST_PROCESSES)]
        rows: list[JsonValue] = [summary(self._tools[name], self._links) for name in names]
        links: list[Link] = self._links.of_itself("processes", title="Processes", query=call.fields)
        if start + len(names) < len(self._tools):
            following = {"limit": str(limit), "offset": str(start + limit)}
            links.append({**links[0], "href": self._links.url("processes", **following), "rel": "next"})
        view = {
            "title": "Processes",
            "rows": [
                (tool.title, f"{call.request.url.path}/{tool.name}", tool.help)
                for tool in (self._tools[name] for name in names)
            ],
        }
        return Answer({"processes": rows, "links": [*links]}, "ogc.html", view)

    def describe(self, call: Call) -> Answer:
        """Describe one process."""
        tool = self._tool(call)
        return Answer(description(tool, self._links), "ogc.html", {"title": tool.title, "lead": tool.help})

    def execute(self, call: Call) -> Answer | Waiting:
        """Take a job, and wait for its end when the client wants to and the process allows it."""
        tool = self._tool(call)
        form, _wanted = read_execution(tool, body_of(call.request))
        patience_s = wait_s(tool, call.request)
        job = self._dispatcher.submit(tool.name, form, call.user.name)
        if not patience_s:
            return self._created(call, job)
        return Waiting(lambda: self._wait(call, job, patience_s))

    def _wait(self, call: Call, job: Job, patience_s: float) -> Answer | Response:
        over = self._dispatcher.wait(job.id, patience_s)
        if over is None or not over.status.is_final:
            # Longer than the client wants to wait: it gets the job instead.
            return self._created(call, over or job)
        answer = self._jobs.respond(over, call)
        monitor = f"<{self._links.url('jobs', job.id)}>; rel=monitor"
        if isinstance(answer, Answer):
            return Answer(answer.document, answer.page, headers={"link": monitor})
        others = answer.headers.get("link")
        answer.headers["link"] = f"{monitor}, {others}" if others else monitor
        return answer

    def _created(self, call: Call, job: Job) -> Answer:
        headers = {"location": self._links.url("jobs", job.id)}
        if "respond-async" in preferences(call.request):
            headers["preference-applied"] = "respond-async"
        return Answer(status_document(job, self._links), status=201, headers=headers)

    def _tool(self, call: Call) -> Tool[Any]:
        name = call.path["process"]
        if name not in self._tools:
            raise Problem(
                404, f"Process {name[:100]!r} does not exist; there are {', '.join(self._tools)}.", type=NO_SUCH_PROCESS
            )
        return self._tools[name]
