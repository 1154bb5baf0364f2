"""Colours for classes whose result keeps none: far apart for the first dozen, then repeated in other shades."""

from __future__ import annotations

from collections.abc import Sequence

Color = tuple[int, int, int]

_FIRST: Sequence[Color] = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75),
    (227, 119, 194), (188, 189, 34), (23, 190, 207), (0, 77, 64), (255, 193, 7), (96, 96, 96),
)  # fmt: skip
_SHADES = (1.0, 0.7, 1.3, 0.5, 1.15, 0.85)


def color_of(place: int) -> Color:
    """Return the colour of the class at a place in a list."""
    shade = _SHADES[place // len(_FIRST) % len(_SHADES)]
    red, green, blue = (min(255, round(part * shade)) for part in _FIRST[place % len(_FIRST)])
    return red, green, blue
