"""Colour and class of every cell: ground, then objects, then shadow, haze, blur and sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene.dates import field_fate
from scene.landscape import MAX_STRIPS, Date, LandCover, Landscape, Site, Zone
from scene.noise import Floats32, Ints, Texture, Window, uniform
from scene.objects import Kind, Objects
from scene.relief import local_position

# Red, green, blue, near infrared as an 8-bit orthophoto shows them; judged by eye against real ones.
_WATER = (42, 62, 68, 24)
_MURKY = (74, 84, 66, 38)
_ASPHALT = (104, 103, 106, 96)
_PAVING = (158, 153, 146, 146)
_MARKING = (214, 212, 204, 196)
_SAND = (178, 162, 130, 172)
_VERGE = (108, 122, 76, 166)
_FIELD_STAGES = (
    (118, 92, 70, 104),
    (124, 112, 78, 132),
    (82, 112, 60, 196),
    (64, 106, 52, 216),
    (188, 170, 108, 172),
    (170, 152, 112, 142),
)
_LAWNS = ((78, 112, 58, 192), (104, 128, 70, 184), (142, 142, 90, 156))
_FOREST_FLOORS = ((72, 78, 52, 120), (98, 94, 66, 128))
_YARDS = ((146, 134, 116, 140), (168, 154, 134, 158))
_SOILS = ((142, 112, 84, 140), (174, 148, 116, 168))
_TREES = ((44, 74, 40, 168), (58, 92, 44, 196), (82, 108, 52, 206), (72, 84, 46, 150), (112, 110, 56, 188))
_ROOFS = ((150, 84, 66, 128), (112, 104, 100, 104), (168, 160, 150, 150), (128, 96, 80, 116), (84, 84, 92, 82))
_FLAT_ROOFS = ((198, 196, 190, 176), (132, 132, 130, 122), (226, 226, 222, 208), (158, 150, 140, 140))
_CARS = ((226, 226, 228, 204), (40, 42, 48, 40), (150, 32, 30, 96), (58, 78, 130, 84), (150, 152, 156, 140))
# What shadow leaves: sky light is blue and holds little near infrared.
_SHADE = np.array([0.36, 0.42, 0.54, 0.30], np.float32)
_FIXED = {"water": 0, "asphalt": 1, "paving": 2, "marking": 3, "sand": 4, "verge": 5}
_FIRST_STRIP = len(_FIXED)


@dataclass(frozen=True, slots=True)
class Brushes:
    """The textures of one scene."""

    grain: Texture
    sensor: Texture
    leaf: Texture
    clump: Texture
    patch: Texture
    sun: tuple[float, float, float]
    """Direction to the sun: rows, cols, up."""


@dataclass(frozen=True, slots=True)
class View:
    """A window with what stands in it and where light reaches."""

    window: Window
    objects: Objects
    top: Ints
    """Index of the object on top of a cell, -1 for none, `(rows, cols)`."""
    shadow: Floats32
    """0 in the sun, 1 in full shadow, `(rows, cols)`."""


@dataclass(frozen=True, slots=True)
class Palette:
    """What the ground is made of; one row for each material."""

    color: Floats32
    """`(materials, 4)`."""
    texture: Floats32
    """Relative strength of leaf, clump and patch texture, `(materials, 3)`."""
    rows: Floats32
    """Turns a metre along u, along v, and strength of the crop rows, `(materials, 3)`."""
    cover: NDArray[np.uint8]
    """Class, `(materials,)`."""


def paint(land: Landscape, view: View, brushes: Brushes) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint a window that is one cell wider on every side than what comes back.

    Returns:
        Pixels `(4, rows, cols)` and labels `(rows, cols)`.
    """
    window = view.window
    site = land.grid(window)
    material, palette = _materials(land, site)
    image = _ground(land, site, material, palette, window, brushes)
    labels = palette.cover[material]
    _add_objects(image, labels, view, brushes)
    light = 1 + np.float32(0.06) * land.light.grid(window).clip(-2.5, 2.5)
    for band, left in enumerate(_SHADE):
        image[band] *= light * (1 - (1 - left) * view.shadow)
    inner = slice(1, -1)
    return _sense(image, window, brushes), labels[inner, inner].copy()


def _materials(land: Landscape, site: Site) -> tuple[NDArray[np.int64], Palette]:
    """Material index of every cell, and the palette of this window."""
    i_first, j_first = int(site.i.min()), int(site.j.min())
    i_count, j_count = int(site.i.max()) - i_first + 1, int(site.j.max()) - j_first + 1
    palette = _palette(land, i_first, j_first, (i_count, j_count))
    material = _FIRST_STRIP + ((site.i - i_first) * j_count + (site.j - j_first)) * MAX_STRIPS + site.strip
    town = (site.zone == Zone.HOMES) | (site.zone == Zone.INDUSTRY)
    material[(site.edge < 1.2) & (site.zone == Zone.FARM)] = _FIXED["verge"]
    material[site.water > -0.035] = _FIXED["sand"]
    material[site.water > 0] = _FIXED["water"]
    dry = (site.water < 0) | (site.road + site.axis > 4.0)
    material[(site.road > -2.0) & dry] = _FIXED["verge"]
    material[(site.road > -2.0) & town & dry] = _FIXED["paving"]
    road = (site.road > 0) & dry
    material[road] = _FIXED["asphalt"]
    position = np.where(site.along_rows, site.u, site.v)
    dashed = (site.axis < 0.16) & (np.mod(position, 9.0) < 4.0)
    sideline = (site.road < 0.55) & (site.road > 0.3)
    material[road & (site.road + site.axis > 4.0) & (dashed | sideline)] = _FIXED["marking"]
    return material, palette


def _palette(land: Landscape, i_first: int, j_first: int, counts: tuple[int, int]) -> Palette:
    i = np.repeat(i_first + np.arange(counts[0]), counts[1] * MAX_STRIPS)
    j = np.tile(np.repeat(j_first + np.arange(counts[1]), MAX_STRIPS), counts[0])
    strip = np.tile(np.arange(MAX_STRIPS), counts[0] * counts[1])
    zone = land.zone(i, j)
    # Strips of a field differ; gardens and woods are of one piece.
    one_piece = np.where(zone == Zone.FARM, strip, 0)
    fate, tone = (uniform(land.seed, salt, i * MAX_STRIPS + one_piece, j) for salt in (500, 501))
    if land.date is Date.AFTER:
        fate = np.where(zone == Zone.FARM, field_fate(fate, land.seed, i * MAX_STRIPS + strip, j), fate)
    choices = (_FIELD_STAGES, _LAWNS, _FOREST_FLOORS, _LAWNS, _YARDS, _SOILS, _LAWNS)
    color = np.empty((len(zone), 4), np.float32)
    for use, colors in enumerate(choices):
        color[zone == use] = blend(colors, fate[zone == use])
    color *= (0.88 + 0.24 * tone)[:, None].astype(np.float32)
    farm = zone == Zone.FARM
    period = 1.8 + 2.2 * uniform(land.seed, 502, i, j * MAX_STRIPS + one_piece)
    lengthwise = uniform(land.seed, 503, i, j) < 0.7
    rows = np.stack([farm * lengthwise / period, farm * ~lengthwise / period, farm * (0.1 + 0.14 * tone)], axis=1)
    texture = np.array([[0.05, 0.03, 0.04], [0.08, 0.08, 0.13], [0.12, 0.14, 0.2], [0.07, 0.06, 0.08]])
    texture = np.concatenate([texture, [[0.06, 0.03, 0.07], [0.07, 0.06, 0.13], [0.09, 0.1, 0.16]]])[zone]
    cover = np.where(farm, LandCover.FIELD, LandCover.OPEN)
    fixed = np.array([_WATER, _ASPHALT, _PAVING, _MARKING, _SAND, _VERGE], np.float32)
    age = float(uniform(land.seed, 504, np.array([0]), np.array([0]))[0])
    fixed[0] = blend((_WATER, _MURKY), np.array([age]))[0]
    fixed_cover = [LandCover.WATER, LandCover.ROAD, LandCover.ROAD, LandCover.ROAD, LandCover.OPEN, LandCover.OPEN]
    fixed_texture = [[0.02, 0.02, 0.05], [0.03, 0.02, 0.05], [0.05, 0.02, 0.05], [0.05, 0, 0], [0.05, 0.03, 0.06]]
    return Palette(
        np.concatenate([fixed, color]),
        np.concatenate([[*fixed_texture, [0.08, 0.08, 0.1]], texture]).astype(np.float32),
        np.concatenate([np.zeros((_FIRST_STRIP, 3)), rows]).astype(np.float32),
        np.concatenate([fixed_cover, cover]).astype(np.uint8),
    )


def blend(colors: tuple[tuple[int, ...], ...], position: NDArray[np.float64]) -> Floats32:
    """Mix neighbouring colours of a scale; 0 is the first, 1 the last. Gives `(n, bands)`."""
    scale = np.array(colors, np.float32)
    place = position.clip(0, 1) * (len(colors) - 1)
    low = np.minimum(place.astype(np.int64), len(colors) - 2)
    share = (place - low).astype(np.float32)[:, None]
    mixed: Floats32 = scale[low] * (1 - share) + scale[low + 1] * share
    return mixed


def _ground(
    land: Landscape, site: Site, material: Ints, palette: Palette, window: Window, brushes: Brushes
) -> Floats32:
    """Base colours modulated by texture, crop rows and dry patches, `(4, rows, cols)`."""
    strength = palette.texture.T
    tone = strength[0][material] * brushes.leaf.grid(window)
    tone += strength[1][material] * brushes.clump.grid(window)
    patch = strength[2][material] * (brushes.patch.grid(window) + land.patch.grid(window))
    crops = np.flatnonzero(palette.rows[:, 2][material])
    if crops.size:
        along_u, along_v, depth = palette.rows[material.ravel()[crops]].T
        turns = site.u.ravel()[crops] * along_u + site.v.ravel()[crops] * along_v
        tone.ravel()[crops] += depth * np.sin(np.float32(2 * np.pi) * (turns - np.floor(turns)))
    # Dry patches turn red up and infrared down; texture alone changes brightness.
    swing = (0.72, 0.45, 0.42, -0.3)
    image = np.empty((4, *material.shape), np.float32)
    for band in range(4):
        np.multiply(palette.color[:, band][material], 1 + tone + np.float32(swing[band]) * patch, out=image[band])
    return image


def _add_objects(image: Floats32, labels: NDArray[np.uint8], view: View, brushes: Brushes) -> None:
    """Paint what stands on the ground over it, lit from the sun's side."""
    objects, window, sun = view.objects, view.window, brushes.sun
    cells = np.flatnonzero(view.top >= 0)
    if not cells.size:
        return
    which = view.top.ravel()[cells]
    rows, cols = np.divmod(cells, window.width)
    along, across = local_position(objects, which, rows + window.row, cols + window.col)
    leaf, clump = brushes.leaf.grid(window)[rows, cols], brushes.clump.grid(window)[rows, cols]
    tree = objects.kind[which] == Kind.TREE
    tone = np.empty(len(cells), np.float32)
    tone[tree] = _crown_tone(objects, which[tree], along[tree], across[tree], sun) * (
        1 + 0.13 * leaf[tree] + 0.17 * clump[tree]
    )
    built = ~tree
    tone[built] = _roof_tone(objects, which[built], along[built], across[built], sun) * (1 + 0.03 * leaf[built])
    colors = _object_colors(objects)
    for band, layer in enumerate(image):
        layer.ravel()[cells] = colors[:, band][which] * tone
    cover = np.array([LandCover.TREE, LandCover.BUILDING, LandCover.BUILDING, LandCover.ROAD], np.uint8)
    labels.ravel()[cells] = cover[objects.kind[which]]


def _crown_tone(
    objects: Objects, which: Ints, along: Floats32, across: Floats32, sun: tuple[float, float, float]
) -> Floats32:
    cos, sin = objects.cos[which].astype(np.float32), objects.sin[which].astype(np.float32)
    down, right = along * cos - across * sin, along * sin + across * cos
    up = np.sqrt((1.05 - down**2 - right**2).clip(0.05, 1))
    lit = (down * sun[0] + right * sun[1] + up * sun[2]).astype(np.float32)
    tone: Floats32 = np.float32(0.5) + np.float32(0.75) * lit.clip(0, 1)
    return tone


def _roof_tone(
    objects: Objects, which: Ints, along: Floats32, across: Floats32, sun: tuple[float, float, float]
) -> Floats32:
    """Two slopes of a gable differ; flat roofs carry a darker rim; cars a dark windscreen."""
    cos, sin = objects.cos[which].astype(np.float32), objects.sin[which].astype(np.float32)
    toward = np.sign(across) * (-sin * sun[0] + cos * sun[1])
    kind = objects.kind[which]
    gable = (kind == Kind.HOUSE) & (objects.shape[which] > 0.25)
    rim = np.maximum(np.abs(along), np.abs(across)) > 0.93
    screen = (kind == Kind.CAR) & (np.abs(along - 0.25) < 0.14)
    tone = np.where(gable, 0.95 + 0.3 * toward, np.where(rim, 0.85, 1.0))
    return np.where(screen, 0.45, tone).astype(np.float32)


def _object_colors(objects: Objects) -> Floats32:
    """Colour of every object, `(objects, 4)`."""
    colors = np.empty((len(objects), 4), np.float32)
    for kind, scale in ((Kind.TREE, _TREES), (Kind.HOUSE, _ROOFS), (Kind.HALL, _FLAT_ROOFS), (Kind.CAR, _CARS)):
        mine = objects.kind == kind
        position = objects.tint[mine]
        # Trees shade into each other; roofs and cars come in distinct colours.
        if kind != Kind.TREE:
            position = np.round(position * (len(scale) - 1)) / (len(scale) - 1)
        colors[mine] = blend(scale, position) * (0.9 + 0.2 * objects.shape[mine])[:, None]
    return colors


def _sense(image: Floats32, window: Window, brushes: Brushes) -> NDArray[np.uint8]:
    """What the camera makes of it: a slight blur, haze, noise, eight bits."""
    pixels = np.empty((4, window.height - 2, window.width - 2), np.uint8)
    inner = Window(window.row + 1, window.col + 1, window.height - 2, window.width - 2)
    own = brushes.sensor.grid(inner)
    haze = (9.0, 10.0, 13.0, 4.0)
    for number, band in enumerate(image):
        tall = band[:-2] + band[2:]
        tall += 4 * band[1:-1]
        flat = tall[:, :-2] + tall[:, 2:]
        flat += 4 * tall[:, 1:-1]
        flat *= np.float32(0.92 / 36)
        other = Window(inner.row + 331 * number, inner.col + 173 * number, inner.height, inner.width)
        flat += np.float32(2.0) * brushes.grain.grid(other) + np.float32(1.2) * own
        flat += np.float32(haze[number] + 0.5)
        np.clip(flat, 1, 255, out=flat)
        pixels[number] = flat.astype(np.uint8)
    return pixels
