"""Batch runs from Python, with no server: one raster, one model, one output file."""

from __future__ import annotations

import difflib
import glob
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from raster_analysis.errors import OutputError, OutputExists, ParameterError
from raster_analysis.handle import Handle
from raster_analysis.inference.arguments import ArgumentValues, find_argument
from raster_analysis.inference.preparation import TASK_OF_TOOL, check_request
from raster_analysis.layers.features import DRIVERS
from raster_analysis.model_info import ModelInfo, Task
from raster_analysis.perform import perform_all
from raster_analysis.rasters.resolver import resolve_features, resolve_mask, resolve_package, resolve_raster
from raster_analysis.rasters.staging import disk_errors
from raster_analysis.seams import Level, Reporter
from raster_analysis.settings import Settings
from raster_analysis.tool import Context, Output
from raster_analysis.tools import TOOLS
from raster_analysis.worker import Bench, make_bench

ArgumentValue = str | int | float | bool | Sequence[float] | Mapping[str, JsonValue] | None

SUFFIXES: Mapping[Task, tuple[str, ...]] = {
    Task.OBJECTS: tuple(DRIVERS),
    Task.CROPS: tuple(DRIVERS),
    Task.PIXELS: (".tif", ".tiff"),
}
"""What an output file may end in."""
CONTEXT_ARGUMENTS = {
    "extent": "extent",
    "cell_size": "cellSize",
    "out_sr": "outSR",
    "device": "device",
    "precision": "precision",
    "runtime": "runtime",
}
TOOL_ARGUMENTS: Mapping[Task, Mapping[str, str]] = {
    Task.OBJECTS: {
        "run_nms": "runNMS",
        "max_overlap_ratio": "maxOverlapRatio",
        "class_value_field": "classValueField",
    },
    Task.CROPS: {"label_field": "classLabelField"},
    Task.PIXELS: {},
}
FILE_ARGUMENTS: Mapping[Task, tuple[str, ...]] = {
    Task.OBJECTS: ("mask",),
    Task.CROPS: ("mask", "features", "filter"),
    Task.PIXELS: ("mask",),
}
"""Arguments that name features, and which of them."""
STALE_SUFFIXES = (".aux.xml", ".ovr", ".msk", "-journal", "-wal", "-shm")
"""Files beside an output that GDAL or SQLite would apply to the one that replaces it."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    path: Path
    statistics: Mapping[str, JsonValue]
    messages: tuple[str, ...]


@dataclass(slots=True)
class Collector:
    """A reporter that keeps messages and passes everything on to another, when there is one."""

    also: Reporter | None = None
    messages: list[str] = field(default_factory=list)

    def message(self, text: str, level: Level = "info") -> None:
        """Keep a message."""
        self.messages.append(text)
        if self.also:
            self.also.message(text, level)

    def progress(self, fraction: float) -> None:
        """Pass progress on."""
        if self.also:
            self.also.progress(fraction)

    def check_cancelled(self) -> None:
        """Raise Cancelled when the other reporter was asked to stop."""
        if self.also:
            self.also.check_cancelled()


def detect_objects(
    raster: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    report: Reporter | None = None,
    **arguments: ArgumentValue,
) -> Result:
    """Detect objects and write them as features; the suffix of `output` names the format.

    Args:
        raster: a raster file.
        model: a .dlpk, a folder with an .emd, or an .emd.
        output: .gpkg, .parquet, .fgb or .geojson; refused when it exists, unless `overwrite=True`.
        report: told of messages and progress.
        arguments: the model's own (`threshold`, `padding`, `batch_size`, `tile_size`, `nms_overlap`, ...);
            `run_nms`, `max_overlap_ratio`, `class_value_field` to thin out the whole output; `extent`
            (xmin, ymin, xmax, ymax), `cell_size`, `out_sr` (an EPSG code), `mask` (a file of polygons) for
            where; `device`, `precision`, `runtime` for how.

    Raises:
        InputError, OutputError, BudgetError: nothing is left behind.
    """
    return run_file_tool("DetectObjectsUsingDeepLearning", Files(raster, model, output), arguments, report=report)


def classify_pixels(
    raster: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    report: Reporter | None = None,
    **arguments: ArgumentValue,
) -> Result:
    """Classify every pixel and write a Cloud Optimized GeoTIFF.

    Arguments and errors are those of `detect_objects`, less what thins out features; `merge="blend"`
    averages probabilities where tiles overlap.
    """
    return run_file_tool("ClassifyPixelsUsingDeepLearning", Files(raster, model, output), arguments, report=report)


def classify_objects(
    raster: str | Path,
    features: str | Path | Mapping[str, JsonValue] | None,
    model: str | Path,
    output: str | Path,
    *,
    report: Reporter | None = None,
    **arguments: ArgumentValue,
) -> Result:
    """Give every feature the class of the picture around it, and write all features with their attributes.

    Args:
        raster: a raster file that shows the features.
        features: a file of points, lines or polygons, or a feature set or GeoJSON as an object; None: the whole
            raster is one feature.
        model: a package whose model classifies objects.
        arguments: `label_field` names the field of the label (`ClassLabel`); `filter` is a where clause that
            chooses features of a GeoPackage; others and errors are those of `detect_objects`.
    """
    given = {**arguments, "features": features if features is None or isinstance(features, Mapping) else str(features)}
    return run_file_tool("ClassifyObjectsUsingDeepLearning", Files(raster, model, output), given, report=report)


def detect_change(
    before: str | Path,
    after: str | Path,
    model: str | Path,
    output: str | Path,
    *,
    report: Reporter | None = None,
    **arguments: ArgumentValue,
) -> Result:
    """Classify what changed between two rasters of one place and write a Cloud Optimized GeoTIFF.

    They may differ in cell size, extent and coordinate system: the result lies on the cells of `after`, over the
    area that both cover. Arguments and errors are those of `classify_pixels`.
    """
    files = Files(after, model, output, before)
    return run_file_tool("DetectChangeUsingDeepLearning", files, arguments, report=report)


@dataclass(frozen=True, slots=True)
class Files:
    """The paths of a run."""

    raster: str | Path
    model: str | Path
    output: str | Path
    before: str | Path | None = None
    """The raster of the earlier date, for tools that compare two."""


@contextmanager
def local_bench() -> Iterator[Bench]:
    """Keep loaded models warm over many runs; unpacked packages are removed at the end."""
    settings = Settings()
    with tempfile.TemporaryDirectory(prefix="raster-analysis-packages-") as packages:
        yield make_bench(settings.memory_limit, Path(packages), threads=settings.threads)


def run_file_tool(
    name: str,
    files: Files,
    arguments: Mapping[str, ArgumentValue],
    *,
    report: Reporter | None = None,
    bench: Bench | None = None,
) -> Result:
    """Run one of the tools that turn a raster and a model into a file."""
    if bench is None:
        with local_bench() as own:
            return run_file_tool(name, files, arguments, report=report, bench=own)
    # Whatever can be refused is refused before hours of work, not when its result is written.
    output, overwrite = Path(files.output), bool(arguments.get("overwrite"))
    check_output(output, TASK_OF_TOOL[name])
    _check_place(files, arguments, overwrite=overwrite)
    form = check_run(name, files.model, arguments, bench)
    collector = Collector(report)
    with _work_folder(output) as folder:
        context = Context(
            folder=folder, handles=_resolve(files, arguments), report=collector,
            result=folder / "result" / output.name, rasters=bench.rasters, models=bench.models,
            features=bench.features, memory_limit=bench.memory_limit, threads=bench.threads,
        )  # fmt: skip
        (produced,) = perform_all(TOOLS[name], {**form, **_names(files)}, context)
        with disk_errors(output):
            _move_into_place(produced, output, overwrite=overwrite)
    return Result(output, produced.statistics, tuple(collector.messages))


def check_output(output: Path, task: Task) -> None:
    """Raise ParameterError when no file of a tool for `task` can be made under this name, whatever the raster."""
    wanted = SUFFIXES[task]
    faults = []
    if output.suffix.lower() not in wanted:
        faults.append(f"output {str(output)!r} does not end in {', '.join(wanted[:-1])} or {wanted[-1]}")
    if not output.parent.is_dir():
        faults.append(f"output folder {str(output.parent)!r} does not exist; create it first")
    if faults:
        raise ParameterError(faults)


def check_run(
    name: str, model: str | Path, arguments: Mapping[str, ArgumentValue], bench: Bench
) -> dict[str, JsonValue]:
    """Return the form of a run, less its file names; raises InputError for what is wrong whatever the raster.

    That is a model that cannot be run or is for another tool, an argument that does not exist or does not
    parse, a mask that is no file of features.
    """
    task = TASK_OF_TOOL[name]
    info = _describe(model, bench)
    _resolve_features(arguments)
    apart = (*FILE_ARGUMENTS[task], "overwrite")
    form = _form(task, {key: value for key, value in arguments.items() if key not in apart})
    form |= _features_form(arguments) if task is Task.CROPS else {}
    given = form["modelArguments"]
    parameters = TOOLS[name].parse({**form, **_names(Files("raster", "model", "output"))})
    if info.task is task:
        _check_names(info, task, given)
    check_request(info, task, given, memory_limit=bench.memory_limit, processing=parameters.context)
    return form


def _describe(model: str | Path, bench: Bench) -> ModelInfo:
    handle = resolve_package(str(model))
    try:
        return bench.models.describe(handle)
    except OSError as error:
        # An archive is unpacked into the folder for temporary files, which may be full.
        raise OutputError(f"package {handle.title!r} could not be unpacked: {error.strerror or error}") from error


def _check_names(info: ModelInfo, task: Task, given: Mapping[str, str]) -> None:
    own = [*TOOL_ARGUMENTS[task], *_context_arguments(task), *FILE_ARGUMENTS[task], "overwrite"]
    offered = [argument.name for argument in info.arguments]
    faults = []
    for name in given:
        if find_argument(info, name) is not None:
            continue
        if name in ArgumentValues.__dataclass_fields__:
            faults.append(f"argument {name!r} is not for this model")
        else:
            close = difflib.get_close_matches(name, [*offered, *own], n=1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            faults.append(f"argument {name!r} does not exist{meant}")
    if faults:
        has = ", ".join(offered) or "no arguments of its own"
        raise ParameterError([*faults, f"model {info.name!r} has {has}; every run takes {', '.join(own)}"])


def _check_place(files: Files, arguments: Mapping[str, ArgumentValue], *, overwrite: bool) -> None:
    output, rasters = Path(files.output), [Path(path) for path in (files.raster, files.before) if path is not None]
    if not output.exists():
        return
    if output.is_dir():
        raise ParameterError([f"output {str(output)!r} is a folder; name a file"])
    if any(_is_input(output, raster) for raster in rasters):
        raise ParameterError([f"output {str(output)!r} is the input raster; choose another name"])
    others = [Path(value) for name in ("features", "mask") if isinstance(value := arguments.get(name), (str, Path))]
    if any(other.exists() and output.samefile(other) for other in others):
        raise ParameterError([f"output {str(output)!r} is an input of the same run; choose another name"])
    if not overwrite:
        raise OutputExists(f"output {str(output)!r} exists; choose another name or ask for it to be overwritten")


def _is_input(output: Path, raster: Path) -> bool:
    """Tell whether a file is the raster, or one of a folder of rasters."""
    if not raster.exists():
        return False
    return output.samefile(raster) or (raster.is_dir() and output.parent.samefile(raster))


@contextmanager
def _work_folder(output: Path) -> Iterator[Path]:
    """Make a hidden folder beside the output, so that the result gets its name by a rename and no copy."""
    with disk_errors(output):
        folder = tempfile.TemporaryDirectory(prefix=".raster-analysis-", dir=output.parent)
    with folder as text:
        with disk_errors(output):
            (Path(text) / "result").mkdir()
        yield Path(text)


def _resolve(files: Files, arguments: Mapping[str, ArgumentValue]) -> dict[str, Handle]:
    raster, model = resolve_raster(str(files.raster)), resolve_package(str(files.model))
    handles = {"inputRaster": raster, "model": model}
    if files.before is not None:
        handles = {"fromRaster": resolve_raster(str(files.before)), "toRaster": raster, "modelDefinition": model}
    return {**handles, **_resolve_features(arguments)}


def _resolve_features(arguments: Mapping[str, ArgumentValue]) -> dict[str, Handle]:
    """Return the handles of the files of features that arguments name; raises InputError when one is none."""
    named = {"context.mask": arguments.get("mask"), "inputFeatures": arguments.get("features")}
    return {
        wire_name: (resolve_mask if wire_name == "context.mask" else resolve_features)(str(value))
        for wire_name, value in named.items()
        if value is not None and not isinstance(value, Mapping)
    }


def _features_form(arguments: Mapping[str, ArgumentValue]) -> dict[str, JsonValue]:
    """Return the features of a run as a client of the server would write them down."""
    features, chosen = arguments.get("features"), arguments.get("filter")
    if features is None:
        if chosen:
            raise ParameterError(["filter chooses features, but no features are given"])
        return {}
    if isinstance(features, Mapping):
        return {"inputFeatures": {"collection": dict(features), "filter": str(chosen or "")}}
    return {"inputFeatures": {"uri": str(features), "filter": str(chosen or "")}}


def _names(files: Files) -> dict[str, JsonValue]:
    target: dict[str, JsonValue] = {"name": Path(files.output).stem}
    return {
        "inputRaster": {"uri": str(files.raster)},
        "model": {"uri": str(files.model)},
        "fromRaster": {"uri": str(files.before or files.raster)},
        "toRaster": {"uri": str(files.raster)},
        "modelDefinition": {"uri": str(files.model)},
        "outputClassifiedRasterName": target,
        "outputObjects": target,
        "outputClassifiedRaster": target,
        "outputFeatureClass": target,
    }


def _form(task: Task, arguments: Mapping[str, ArgumentValue]) -> dict[str, Any]:
    """Write the run down the way a client of the server would."""
    given = {key: value for key, value in arguments.items() if value is not None}
    places, own = _context_arguments(task), TOOL_ARGUMENTS[task]
    where = {places[key]: _extent(value) if key == "extent" else value for key, value in given.items() if key in places}
    chosen = {own[key]: value for key, value in given.items() if key in own}
    model = {key: str(value) for key, value in given.items() if key not in places and key not in own}
    return {"modelArguments": model, "context": where, **chosen}


def _context_arguments(task: Task) -> Mapping[str, str]:
    return {**CONTEXT_ARGUMENTS, "merge": "merge"} if task is Task.PIXELS else CONTEXT_ARGUMENTS


def _extent(value: ArgumentValue) -> ArgumentValue:
    """Return four numbers as an Esri extent, and anything else as it is."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    if len(value) != 4:
        raise ParameterError([f"extent {tuple(value)} is not xmin, ymin, xmax, ymax"])
    return dict(zip(("xmin", "ymin", "xmax", "ymax"), value, strict=True))


def _move_into_place(produced: Output, output: Path, *, overwrite: bool) -> None:
    """Rename the result and its side files to where they were asked for: same folder, so no copy."""
    made = Path(produced.path or "")
    if output.exists() and not overwrite:
        raise OutputExists(f"output {str(output)!r} appeared while the job ran; it was left as it is")
    for suffix in STALE_SUFFIXES:
        output.with_name(output.name + suffix).unlink(missing_ok=True)
    for side in sorted(made.parent.glob(f"{glob.escape(made.name)}.*")):
        side.replace(output.parent / side.name)
    made.replace(output)
