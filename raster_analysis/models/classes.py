"""The class rule: which raster value an index of the network stands for (dlpk 1.3)."""

from __future__ import annotations

from collections.abc import Sequence

from dlpk.definition import ClassEntry
from raster_analysis.errors import ModelError


def pixel_values(classes: Sequence[ClassEntry], channels: int | None) -> tuple[tuple[int, ...], str]:
    """Return the raster value of each network index and the rule that gave it, in words.

    `channels` is the number of scores per pixel where the model file tells; it decides between
    the documented rules, which otherwise are: with a Value 0, by position; without, index 0 is background.
    """
    values = tuple(entry.value for entry in classes)
    if not values:
        raise ModelError("the definition has no Classes, which a pixel classifier needs")
    # One score stands for two indexes: background and the class.
    scores = 2 if channels == 1 else channels
    with_background = 0 not in values
    if scores == len(values):
        return values, "index i is the Value of Classes[i]: as many scores as classes"
    if with_background and scores in (None, len(values) + 1):
        return (0, *values), "index 0 is background (0), index i is the Value of Classes[i-1]: no class has Value 0"
    if scores is None:
        return values, "index i is the Value of Classes[i]: a class has Value 0"
    expected = f"{len(values)} or {len(values) + 1}" if with_background else f"{len(values)}"
    raise ModelError(
        f"the network gives {channels} scores per pixel and the definition lists {len(values)} classes; "
        f"{expected} scores would fit"
    )


def has_background(classes: Sequence[ClassEntry], values: Sequence[int]) -> bool:
    """Return whether index 0 is background that no entry of `Classes` names."""
    return len(values) == len(classes) + 1


def predicts_background(classes: Sequence[ClassEntry], values: Sequence[int]) -> bool:
    """Return the default of `predict_background`: False for several classes of which none has Value 0 (dlpk 4.7)."""
    return not (has_background(classes, values) and len(classes) > 1)
