"""A tool: one declaration that feeds REST metadata, HTML forms, the command line and other dialects."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from raster_analysis.errors import ParameterError
from raster_analysis.grid import Window
from raster_analysis.handle import Handle
from raster_analysis.inputs import ProcessingContext, with_environment
from raster_analysis.seams import Features, Images, Models, Rasters, Reporter


class Kind(StrEnum):
    """What a parameter holds, beyond its wire type."""

    VALUE = "value"
    RASTER = "raster"
    FEATURES = "features"
    MODEL = "model"
    PACKAGE = "package"
    OUTPUT = "output"
    CONTEXT = "context"
    ARGUMENTS = "arguments"


class Parameters(BaseModel):
    """Base of every tool's parameters: fields carry wire names as aliases; unknown names are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


def parameter(
    wire_name: str, help: str, *, kind: Kind = Kind.VALUE, default: Any = ..., choices: tuple[str, ...] = ()
) -> Any:
    """Declare one parameter of a tool; without a default it is required."""
    extra: dict[str, JsonValue] = {"kind": kind.value, "choices": list(choices)}
    checked = default is not ...
    return Field(default, alias=wire_name, description=help, json_schema_extra=extra, validate_default=checked)


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One parameter as dialects need it."""

    name: str
    data_type: Literal["GPString", "GPBoolean", "GPDouble", "GPLong"]
    kind: Kind
    help: str
    required: bool
    default: JsonValue
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutputInfo:
    """One declared output of a tool."""

    name: str
    help: str
    source: str | None = None
    """The parameter that names where it goes."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of a value, for dialects that tell it; None: any JSON."""


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of work, checkpoint and distribution: many tiles."""

    index: int
    window: Window


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job will do: plain data, made without reading pixels but for the few that settle a precision."""

    blocks: tuple[Block, ...]
    state: dict[str, JsonValue]
    """What `run_block` and `finish` need to know besides the parameters."""
    memory_bytes: int
    """The bill: working memory of one slot above the loaded model."""


@dataclass(frozen=True, slots=True)
class BlockResult:
    """A finished block: a file in the job's folder, its digest, and figures for the job's messages."""

    index: int
    file: str
    sha256: str
    statistics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a finished job, before anybody published it."""

    name: str
    kind: Literal["value", "features", "imagery", "package", "table", "report", "installation", "uninstallation"]
    """`table`: rows without a geometry; `report`: a page to read; the last two: what changes for a model item."""
    value: JsonValue = None
    path: str | None = None
    """The file, where the kind is one of a file."""
    statistics: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """All that a tool may touch while it works."""

    folder: Path
    """The job's own folder; block files and results go here."""
    handles: Mapping[str, Handle]
    """What the resolver made of each raster, feature and model parameter, by wire name."""
    report: Reporter
    rasters: Rasters
    models: Models
    features: Features
    memory_limit: int
    """Bytes that one slot may use above the loaded model."""
    threads: int = 0
    """CPU threads that a network may use; 0: all cores."""
    images: Images | None = None
    """Image services of other servers; None: none may be read."""
    result: Path | None = None
    """The file that the result is to become; None: one in the job's folder. Never a text of a remote user."""

    def handle(self, wire_name: str) -> Handle:
        """Return the handle of a parameter that was given."""
        return self.handles[wire_name]


P = TypeVar("P", bound=Parameters)
T = TypeVar("T")


class Catalog(typing.Protocol):
    """What a tool that answers from the portal may ask; bound to the job's user."""

    def models(self) -> list[dict[str, JsonValue]]:
        """Return the Deep Learning Packages that the user can read, as items; each says whether it is installed."""

    def stored(self, place: str, pattern: str) -> list[str]:
        """Return the names in a folder of a store that match a pattern; raises InputError."""


@dataclass(frozen=True)
class Tool(Generic[P]):
    """A geoprocessing task.

    With pixels: `plan`, `run_block` and `finish`, which run in slots. Without: `run` in a slot, or
    `answer` in the server when only its catalog is needed.
    """

    name: str
    title: str
    help: str
    parameters: type[P]
    outputs: tuple[OutputInfo, ...]
    plan: Callable[[P, Context], Plan] | None = None
    run_block: Callable[[Block, Plan, P, Context], BlockResult] | None = None
    finish: Callable[[Plan, Sequence[BlockResult], P, Context], tuple[Output, ...]] | None = None
    run: Callable[[P, Context], tuple[Output, ...]] | None = None
    answer: Callable[[P, Catalog], tuple[Output, ...]] | None = None
    synonyms: Mapping[str, str] = field(default_factory=dict)
    """Other spellings that clients send, to wire names."""

    def parse(self, form: Mapping[str, object]) -> P:
        """Return the typed parameters; raises ParameterError with every fault. Empty text means not given."""
        try:
            given = self._with_environment(self.given(form))
            return self.parameters.model_validate(given)
        except ValidationError as error:
            raise ParameterError([_fault(self.name, detail) for detail in error.errors()]) from None
        except (ValueError, RecursionError) as error:
            raise ParameterError([f"{self.name}: {error}"]) from None

    def given(self, form: Mapping[str, T]) -> dict[str, T]:
        """Return what a form says, by wire names: whatever the case, synonyms too, without what is empty."""
        wanted = {info.name.lower(): info.name for info in self.describe()}
        wanted |= {other.lower(): name for other, name in self.synonyms.items()}
        return {wanted.get(k.lower(), k): v for k, v in form.items() if v is not None and v != ""}

    def wire_name(self, name: str) -> str | None:
        """Return the parameter that a name or a synonym stands for, None for no parameter."""
        (found,) = self.given({name: True})
        return found if found in {info.name for info in self.describe()} else None

    def _with_environment(self, given: dict[str, object]) -> dict[str, object]:
        for info in self.describe():
            if info.kind is Kind.CONTEXT:
                context = with_environment(given.get(info.name), given)
                return {**given, info.name: context} if context is not None else given
        return given

    def processing(self, parameters: P) -> ProcessingContext:
        """Return the context among the parameters, an empty one for tools that take none."""
        values = (getattr(parameters, name) for name in type(parameters).model_fields)
        return next((value for value in values if isinstance(value, ProcessingContext)), ProcessingContext())

    def describe(self) -> tuple[ParameterInfo, ...]:
        """Return the input parameters in order."""
        return tuple(_parameter_info(name, self.parameters) for name in self.parameters.model_fields)


@dataclass(frozen=True, slots=True)
class Publication:
    """A finished job's outputs on their way to the portal."""

    job_id: str
    tool: Tool[Any]
    parameters: Parameters
    outputs: tuple[Output, ...]
    user: str


class Portal(typing.Protocol):
    """What the dispatcher asks of the portal, in the server process."""

    def pin(self, tool: Tool[Any], parameters: Parameters, user: str) -> dict[str, Handle]:
        """Return the handles of models as they are when a job is submitted; quick, and only those known at once.

        What happens to a model while its job waits does not touch the job then.
        """

    def bind(
        self, tool: Tool[Any], parameters: Parameters, user: str, pinned: Mapping[str, Handle]
    ) -> dict[str, Handle]:
        """Return a handle for each raster, feature, model and package parameter given, by wire name.

        Raises InputError (all faults collected) when one is missing, unsafe or not for this user.
        """

    def catalog(self, user: str) -> Catalog:
        """Return what tools that answer in the server may ask, with this user's rights."""

    def publish(self, publication: Publication) -> dict[str, JsonValue]:
        """Make items and layers of the outputs; return the wire value of each output by name.

        Files are copied or linked: those of the job go when it has ended.
        Publishing the same job twice gives the same items: a crash in between does no harm.
        """


_WIRE_TYPES: dict[type, Literal["GPString", "GPBoolean", "GPDouble", "GPLong"]] = {
    bool: "GPBoolean",
    float: "GPDouble",
    int: "GPLong",
}


def _parameter_info(name: str, parameters: type[Parameters]) -> ParameterInfo:
    info = parameters.model_fields[name]
    extra: dict[str, Any] = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    kinds = _members(info.annotation)
    data_type = next((wire for python, wire in _WIRE_TYPES.items() if python in kinds), "GPString")
    default = info.default if not info.is_required() else None
    return ParameterInfo(
        name=info.alias or name,
        data_type=typing.cast(Any, data_type),
        kind=Kind(extra["kind"]),
        help=info.description or "",
        required=info.is_required(),
        default=default if isinstance(default, (bool, int, float, str)) else None,
        choices=tuple(extra["choices"]),
    )


def _members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _fault(tool: str, detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return f"{tool}: required parameter {where} is missing"
    return f"{tool}: parameter {where} = {_shorten(detail['input'])}: {detail['msg'].removeprefix('Value error, ')}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
