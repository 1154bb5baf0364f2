"""Two dates of one place: what stood only before, what stands only after, which fields were worked in between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scene.landscape import MAX_STRIPS, Date
from scene.noise import Floats, Ints, uniform
from scene.objects import Objects

# Share of trees, houses, halls and cars that is there at one of the dates only; cars rarely stay. Chosen by eye.
_SHARES = np.array([0.16, 0.3, 0.3, 0.9])
_TURNED = 0.22
"""Share of the strips of fields that stand in another stage at the later date."""
_BARE, _WORKED = 0, 1


def standing(objects: Objects, seed: int, date: Date) -> NDArray[np.bool_]:
    """Tell which objects are there at a date; wings come and go with their building."""
    groups, first = np.unique(objects.group, return_index=True)
    leader = np.where(objects.group > 0, first[np.searchsorted(groups, objects.group)], np.arange(len(objects)))
    fate = uniform(seed, 600, *_key(objects))[leader]
    half = _SHARES[objects.kind] / 2
    return fate >= half if date is Date.BEFORE else fate < 1 - half


def field_fate(fate: Floats, seed: int, strip: Ints, j: Ints) -> Floats:
    """Give the later stage (0 to 1) of strips from the earlier one; what is no field is not asked for."""
    later = np.mod(fate + 0.35 + 0.3 * uniform(seed, 602, strip, j), 1.0)
    return np.where(_is_turned(seed, strip, j), later, fate)


def see_things(objects: Objects, top: NDArray[np.int64], worked: NDArray[np.bool_], *, seed: int) -> NDArray[np.int64]:
    """Give a number for what is seen in every cell, the same number at both dates if it is the same thing.

    Args:
        objects: What stands there.
        top: Index of the object on top of a cell, -1 for none, `(rows, cols)`.
        worked: Whether a cell is field that was worked between the dates, `(rows, cols)`.
        seed: Seed of the scene.
    """
    names = np.append(2 + (uniform(seed, 601, *_key(objects)) * 2**40).astype(np.int64), 0)
    return np.where(top >= 0, names[top], np.where(worked, _WORKED, _BARE))


def is_worked(seed: int, i: Ints, j: Ints, strip: Ints) -> NDArray[np.bool_]:
    """Tell which strips of fields stand in another stage at the later date."""
    return _is_turned(seed, i * MAX_STRIPS + strip, j)


def _is_turned(seed: int, strip: Ints, j: Ints) -> NDArray[np.bool_]:
    return uniform(seed, 603, strip, j) < _TURNED


def _key(objects: Objects) -> tuple[Ints, Ints]:
    """Whole numbers that tell objects apart: their middles in hundredths of a cell."""
    return np.floor(objects.row * 100).astype(np.int64), np.floor(objects.col * 100).astype(np.int64)
