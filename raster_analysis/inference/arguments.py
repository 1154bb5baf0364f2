"""Model arguments: from the text that clients send to typed values, checked against what the model offers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raster_analysis.errors import ParameterError
from raster_analysis.model_info import Argument, ModelInfo

_TRUE = {"true", "1", "t", "y", "yes"}
_FALSE = {"false", "0", "f", "n", "no"}


@dataclass(frozen=True, slots=True)
class ArgumentValues:
    """What the user chose; None where the model's own value is to be used (dlpk 4.7)."""

    padding: int | None = None
    batch_size: int | None = None
    tile_size: int | None = None
    threshold: float | None = None
    nms_overlap: float | None = None
    exclude_pad_detections: bool = True
    predict_background: bool | None = None
    return_bboxes: bool = False


def find_argument(info: ModelInfo, name: str) -> Argument | None:
    """Return the argument of that name, without regard to case; `score_threshold` is the old name of `threshold`."""
    wanted = _alias(name)
    return next((argument for argument in info.arguments if argument.name.lower() == wanted), None)


def parse_arguments(info: ModelInfo, given: Mapping[str, str]) -> ArgumentValues:
    """Return the typed values; raises ParameterError naming every argument that is unknown or does not parse.

    Empty text means not given.
    """
    values: dict[str, int | float | bool | str] = {}
    faults: list[str] = []
    for name, text in given.items():
        argument = find_argument(info, name)
        # Looked for first: a text without a value may be another spelling of all of them.
        if argument is None:
            faults.append(_unknown(name, info))
            continue
        if not text.strip():
            continue
        try:
            values[argument.name] = _convert(argument, text.strip())
        except ValueError as error:
            faults.append(f"model argument {name} = {text!r}: {error}")
    if faults:
        raise ParameterError(faults)
    # An argument may be offered by a family (dlpk 1.6) that the native runtimes have no use for.
    known = {name: value for name, value in values.items() if name in ArgumentValues.__dataclass_fields__}
    return ArgumentValues(**known)  # type: ignore[arg-type]


def _alias(name: str) -> str:
    lowered = name.lower()
    return "threshold" if lowered == "score_threshold" else lowered


def _unknown(name: str, info: ModelInfo) -> str:
    offered = ", ".join(argument.name for argument in info.arguments) or "no arguments"
    return f"model argument {name!r} does not exist; model {info.name!r} has {offered}"


def _convert(argument: Argument, text: str) -> int | float | bool | str:
    if argument.domain and text.lower() not in {choice.lower() for choice in argument.domain}:
        raise ValueError(f"must be one of {', '.join(argument.domain)}")
    if isinstance(argument.default, bool) or {choice.lower() for choice in argument.domain} == {"true", "false"}:
        return _boolean(text)
    return _CONVERSIONS.get(argument.name, str)(text)


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError("must be True or False")


def _whole(minimum: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        # Clients that keep numbers as floats send 8.0.
        if not re.fullmatch(r"[+-]?\d+(\.0*)?", text):
            raise ValueError("must be a whole number")
        value = int(text.partition(".")[0])
        if value < minimum:
            raise ValueError(f"must be at least {minimum}")
        return value

    return convert


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("must be a number from 0 to 1") from None
    if not 0 <= value <= 1:
        raise ValueError("must be a number from 0 to 1")
    return value


_CONVERSIONS: dict[str, Callable[[str], int | float | bool | str]] = {
    "padding": _whole(0),
    "batch_size": _whole(1),
    "tile_size": _whole(1),
    "threshold": _share,
    "nms_overlap": _share,
    "exclude_pad_detections": _boolean,
    "predict_background": _boolean,
    "return_bboxes": _boolean,
}
