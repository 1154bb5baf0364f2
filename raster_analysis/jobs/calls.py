"""What the server itself does for a job: resolve its parameters, answer from the portal, publish. Runs in a pool."""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass

from pydantic import JsonValue

from raster_analysis.errors import JobError, ParameterError, RasterAnalysisError
from raster_analysis.jobs.folders import JobFolders
from raster_analysis.jobs.run import Prepared, Run
from raster_analysis.jobs.store import Store
from raster_analysis.tool import Output, Portal, Publication

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one dispatcher. They read a run and never change it."""

    store: Store
    portal: Portal
    folders: JobFolders

    def prepare(self, run: Run) -> Prepared:
        """Check the parameters, resolve what they name, and find what earlier claims of the job left behind.

        A resumed job keeps its first handles: their stamps notice an input that was replaced in between.
        """
        self.folders.make(run.job_id, run.fence)
        parameters = run.tool.parse(run.form)
        kept = self.store.kept(run.job_id)
        if kept is None:
            pinned = self.store.pinned(run.job_id)
            bound = self.portal.bind(run.tool, parameters, run.user, pinned)
            return Prepared(parameters, self.folders.hold(run.job_id, bound))
        return Prepared(parameters, kept.handles, kept.plan, self.folders.intact(run.job_id, kept.results))

    def sweep(self) -> None:
        """Remove files that no unfinished job has: the server died after the end of a job and before this."""
        for job_id in self.store.without_use(self.folders.jobs()):
            self.folders.remove(job_id)

    def answer(self, run: Run) -> tuple[Output, ...]:
        """Run a tool that needs nothing but the portal's catalog."""
        if run.tool.answer is None or run.prepared is None:
            raise JobError(f"the tool {run.tool.name} does not answer in the server")
        return run.tool.answer(run.prepared.parameters, self.portal.catalog(run.user))

    def publish(self, run: Run) -> dict[str, JsonValue]:
        """Hand the outputs to the portal; return their wire values."""
        if run.prepared is None:
            raise JobError(f"job {run.job_id} has nothing to publish yet")
        outputs = self.folders.confine(run.folder, run.outputs)
        return self.portal.publish(Publication(run.job_id, run.tool, run.prepared.parameters, outputs, run.user))


def explain(error: BaseException, job_id: str) -> tuple[str, ...]:
    """Return what a user is told about an error; what nobody foresaw goes to the log only."""
    if isinstance(error, ParameterError):
        return error.faults
    if isinstance(error, RasterAnalysisError):
        return (str(error),)
    _LOG.error("job %s: unexpected error in the server", job_id, exc_info=error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ("there is no space left on the server's disk",)
    return (f"unexpected {type(error).__name__} in the server; its log says more about job {job_id}",)
