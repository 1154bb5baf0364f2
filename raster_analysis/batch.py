"""Many rasters through one tool: a bad file does not stop the others, and the end says what failed."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from raster_analysis.api import ArgumentValue, Files, Result, local_bench, run_file_tool
from raster_analysis.errors import Cancelled, ParameterError, RasterAnalysisError
from raster_analysis.progress import show_progress
from raster_analysis.worker import Bench


@dataclass(frozen=True, slots=True)
class Batch:
    """What the command line asked for."""

    tool: str
    rasters: tuple[str, ...]
    """Paths and patterns."""
    model: str
    out: Path
    """A file for one raster, a folder for several."""
    suffix: str
    """Of the files in that folder."""
    arguments: Mapping[str, ArgumentValue]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one raster."""

    raster: str
    output: Path
    result: Result | None = None
    error: RasterAnalysisError | None = None

    def as_json(self) -> dict[str, JsonValue]:
        """Return the outcome for `--json`."""
        if self.result is None:
            return {"raster": self.raster, "error": str(self.error)}
        return {"raster": self.raster, "output": str(self.output), "statistics": dict(self.result.statistics)}


def run_batch(batch: Batch, *, quiet: bool) -> Iterator[Outcome]:
    """Yield an outcome for each raster, in order; raises ParameterError when there is nothing to run.

    Once a run is interrupted, the rasters that were not begun are not.
    """
    rasters = expand(batch.rasters)
    outputs = _outputs(batch, rasters)
    with local_bench() as bench:
        for raster, output in zip(rasters, outputs, strict=True):
            outcome = _run_one(batch, Files(raster, batch.model, output), bench, quiet=quiet)
            yield outcome
            if isinstance(outcome.error, Cancelled):
                return


def expand(patterns: tuple[str, ...]) -> list[str]:
    """Return the files that the patterns name, each once, in order; a plain path stands for itself."""
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
        if not matches:
            raise ParameterError([f"no file matches {pattern!r}"])
        found.update(dict.fromkeys(matches))
    return list(found)


def _outputs(batch: Batch, rasters: list[str]) -> list[Path]:
    if len(rasters) == 1 and not batch.out.is_dir():
        return [batch.out]
    if batch.out.suffix and not batch.out.is_dir():
        raise ParameterError([f"output {str(batch.out)!r} is one file for {len(rasters)} rasters; name a folder"])
    outputs = [batch.out / f"{Path(raster).stem}{batch.suffix}" for raster in rasters]
    twice = sorted({str(output) for output in outputs if outputs.count(output) > 1})
    if twice:
        raise ParameterError([f"more than one raster would be written to {', '.join(twice)}"])
    batch.out.mkdir(parents=True, exist_ok=True)
    return outputs


def _run_one(batch: Batch, files: Files, bench: Bench, *, quiet: bool) -> Outcome:
    raster, output = str(files.raster), Path(files.output)
    with show_progress(Path(raster).name, quiet=quiet) as reporter:
        try:
            result = run_file_tool(batch.tool, files, batch.arguments, report=reporter, bench=bench)
        except RasterAnalysisError as error:
            return Outcome(raster, output, error=error)
        reporter.progress(1.0)
        return Outcome(raster, output, result)
