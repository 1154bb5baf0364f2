"""A small client of a GPServer and a portal, on the standard library: what the demo uses, and a pattern for scripts."""

from __future__ import annotations

import json
import shutil
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raster_analysis.errors import JobError

POLL_S = 0.2
RUNNING = {"esriJobNew", "esriJobSubmitted", "esriJobWaiting", "esriJobExecuting", "esriJobCancelling"}

Document = dict[str, Any]
Watcher = Callable[[Mapping[str, Any]], None]
"""Hears every poll of a job, the last one too."""


@dataclass(frozen=True, slots=True)
class RestClient:
    """Speaks to one server with one token."""

    url: str
    token: str
    certificate: Path | None = None
    """The server's own certificate when no authority signed it; None for plain HTTP or a public one."""

    @property
    def toolbox(self) -> str:
        """Return the URL of the GPServer."""
        return f"{self.url}/arcgis/rest/services/System/RasterAnalysisTools/GPServer"

    def get(self, url: str, form: Mapping[str, str] | None = None) -> Document:
        """Return an answer as JSON, by POST when there is a form; raises JobError for an error envelope."""
        body = urllib.parse.urlencode({"f": "json", **form}).encode() if form is not None else None
        with self._open(url if body else f"{url}?f=json", body) as answer:
            document: Document = json.load(answer)
        if "error" in document:
            faults = [document["error"].get("message"), *document["error"].get("details", [])]
            raise JobError(f"{url}: {'; '.join(str(fault) for fault in dict.fromkeys(faults) if fault)}")
        return document

    def submit(self, tool: str, parameters: Mapping[str, object]) -> str:
        """Submit a job and return its URL; what is no text is sent as JSON."""
        form = {name: v if isinstance(v, str) else json.dumps(v) for name, v in parameters.items()}
        return f"{self.toolbox}/{tool}/jobs/{self.get(f'{self.toolbox}/{tool}/submitJob', form)['jobId']}"

    def wait(self, job: str, watch: Watcher | None = None) -> Document:
        """Poll a job until it ends, well or not, and return its document."""
        while True:
            document = self.get(job)
            if watch:
                watch(document)
            if document["jobStatus"] not in RUNNING:
                return document
            time.sleep(POLL_S)

    def cancel(self, job: str) -> Document:
        """Ask a job to stop."""
        return self.get(f"{job}/cancel", {})

    def run(self, tool: str, parameters: Mapping[str, object], watch: Watcher | None = None) -> Document:
        """Submit a job, watch it to its end and return the value of each output.

        Raises JobError with the job's messages when it does not succeed.
        """
        job = self.submit(tool, parameters)
        document = self.wait(job, watch)
        if document["jobStatus"] != "esriJobSucceeded":
            messages = "\n".join(message["description"] for message in document.get("messages", []))
            raise JobError(f"{tool} ended as {document['jobStatus']}:\n{messages}")
        return {name: self.get(f"{job}/{link['paramUrl']}")["value"] for name, link in document["results"].items()}

    def item(self, item_id: str) -> Document:
        """Return a portal item."""
        return self.get(f"{self.url}/portal/sharing/rest/content/items/{item_id}")

    def search(self, query: str) -> list[Document]:
        """Return the first items that a query finds."""
        found: list[Document] = self.get(f"{self.url}/portal/sharing/rest/search", {"q": query, "num": "100"})[
            "results"
        ]
        return found

    def download(self, item_id: str, path: Path) -> Path:
        """Write an item's data to a file; raises JobError when the server refuses."""
        url = f"{self.url}/portal/sharing/rest/content/items/{item_id}/data"
        with self._open(url, None) as answer:
            # Data comes as an attachment; what does not is the reason why there is none.
            if "attachment" not in answer.headers.get("Content-Disposition", ""):
                raise JobError(f"{url}: {answer.read(1000).decode(errors='replace')}")
            with path.open("wb") as sink:
                shutil.copyfileobj(answer, sink, 1 << 20)
        return path

    def _open(self, url: str, body: bytes | None) -> Any:
        # The header that ArcGIS clients send; a token in the URL would end up in logs.
        headers = {"X-Esri-Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - the server we were made for
        context = ssl.create_default_context(cafile=str(self.certificate)) if self.certificate else None
        return urllib.request.urlopen(request, context=context, timeout=60)  # noqa: S310
