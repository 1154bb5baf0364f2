"""Drawing features as SVG: what lies in a rectangle, each class in its colour, no finer than a pixel shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

MOST_FEATURES = 10_000
"""Drawn at most, the largest first; a browser takes a second or two for that many."""
_SMALLEST_PX = 0.5
_POINT_PX = 4

Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Canvas:
    """The rectangle of the map that a drawing shows, and its size in pixels."""

    bounds: tuple[float, float, float, float]
    height: int
    width: int

    @classmethod
    def around(cls, bounds: tuple[float, float, float, float], longest_px: int) -> Canvas:
        """Return a canvas that holds `bounds` with a margin, square pixels, `longest_px` along its longer side."""
        xmin, ymin, xmax, ymax = bounds
        # A single point has no extent, and would else be drawn on nothing.
        margin = 0.03 * max(xmax - xmin, ymax - ymin) or 1.0
        xmin, ymin, xmax, ymax = xmin - margin, ymin - margin, xmax + margin, ymax + margin
        scale = longest_px / max(xmax - xmin, ymax - ymin)
        height, width = (max(1, round(scale * side)) for side in (ymax - ymin, xmax - xmin))
        return cls((xmin, ymin, xmax, ymax), height, width)


def draw_svg(shapes: npt.NDArray[np.object_], colors: Sequence[Color], canvas: Canvas) -> bytes:
    """Return an SVG document of `(n,)` shapely geometries in the canvas's reference, one colour each."""
    pixels = _to_pixels(shapes, canvas)
    order = np.argsort(-_sizes(pixels), kind="stable")[:MOST_FEATURES]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{canvas.width}" height="{canvas.height}" '
        f'viewBox="0 0 {canvas.width} {canvas.height}">'
    )
    drawn = (_draw(pixels[index], colors[index]) for index in order)
    return "".join((head, *drawn, "</svg>")).encode("ascii")


def write_svg(words: str) -> bytes:
    """Return an SVG document that says what there is where nothing can be drawn; `words` are ours."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="480" height="80" viewBox="0 0 480 80">'
        '<rect width="480" height="80" fill="#fff"/>'
        '<text x="240" y="46" text-anchor="middle" font-family="sans-serif" font-size="18" fill="#333">'
        f"{words}</text></svg>"
    ).encode("ascii")


def _to_pixels(shapes: npt.NDArray[np.object_], canvas: Canvas) -> npt.NDArray[np.object_]:
    xmin, ymin, xmax, ymax = canvas.bounds
    scale = np.array([canvas.width / (xmax - xmin), canvas.height / (ymin - ymax)])
    moved = shapely.transform(shapes, lambda points: (points - (xmin, ymax)) * scale)
    return np.asarray(shapely.simplify(moved, _SMALLEST_PX / 2))


def _sizes(pixels: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    bounds = shapely.bounds(pixels)
    return np.nan_to_num((bounds[:, 2] - bounds[:, 0]) + (bounds[:, 3] - bounds[:, 1]))


def _draw(shape: shapely.Geometry, color: Color) -> str:
    if shapely.is_missing(shape) or shapely.is_empty(shape):
        return ""
    paint = "#{:02x}{:02x}{:02x}".format(*color)
    if shapely.get_dimensions(shape) == 0:
        places = shapely.get_coordinates(shape)
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_POINT_PX}" fill="{paint}"/>' for x, y in places)
    path = "".join(_lines(shape))
    is_area = shapely.get_dimensions(shape) == 2
    fill = f'fill="{paint}" fill-opacity=".25" fill-rule="evenodd"' if is_area else 'fill="none"'
    return f'<path d="{path}" {fill} stroke="{paint}" stroke-width="1.5"/>'


def _lines(shape: shapely.Geometry) -> Iterator[str]:
    """Yield each line or ring of a shape as path commands."""
    for part in shapely.get_parts(shape):
        rings = shapely.get_rings(part) if shapely.get_dimensions(part) == 2 else [part]
        end = "Z" if shapely.get_dimensions(part) == 2 else ""
        for ring in rings:
            yield "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shapely.get_coordinates(ring)) + end
