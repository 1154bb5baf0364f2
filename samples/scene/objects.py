"""What stands on the land: trees, buildings and cars, placed by hashes of lattice cells."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scene.landscape import BLOCK_COLS_M, BLOCK_ROWS_M, Landscape, Site, Zone
from scene.noise import Floats, Ints, Window, uniform

Points = tuple[Floats, Floats]

TREE_PITCH_M = 3.6
MAX_CROWN_M = 6.2
MAX_REACH_M = 32.0
MAX_HEIGHT_M = 13.5
_LOTS = (6, 5)
_CAR_PITCH_M = 7.0


class Kind(IntEnum):
    """What an object is."""

    TREE = 0
    HOUSE = 1
    HALL = 2
    CAR = 3


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects as columns of equal length; lengths are in cells."""

    kind: NDArray[np.int64]
    row: Floats
    col: Floats
    length: Floats
    """Half the extent along the object's own axis (the larger radius of a crown)."""
    width: Floats
    """Half the extent across it."""
    cos: Floats
    """Cosine and sine of the angle from the row axis to the object's axis."""
    sin: Floats
    height: Floats
    tint: Floats
    """A number in 0..1 that picks the colour."""
    shape: Floats
    """A number in 0..1 that picks the form: roof, roughness of a crown."""
    group: NDArray[np.int64]
    """Wings of one building share a number; 0: stands alone."""

    def __len__(self) -> int:
        return len(self.row)

    def take(self, which: NDArray[np.generic]) -> Objects:
        """Select by mask or index."""
        return Objects(*(getattr(self, column.name)[which] for column in fields(self)))


def merge(parts: list[Objects]) -> Objects:
    """Put the columns of several tables below each other."""
    return Objects(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Objects)))


def place_objects(land: Landscape, window: Window) -> Objects:
    """Find all objects that may touch a window."""
    crown = int(np.ceil(MAX_CROWN_M / land.cell_size)) + 1
    buildings = place_buildings(land, window.pad(crown))
    trees = place_trees(land, window)
    trees = trees.take(~_inside_any(buildings, trees.row, trees.col, 0.8 / land.cell_size))
    return merge([trees, buildings, place_cars(land, window)])


def place_trees(land: Landscape, window: Window) -> Objects:
    """Find the trees that may touch a window, thinned so that crowns overlap little."""
    reach = int(np.ceil(MAX_CROWN_M / land.cell_size)) + 1
    i, j = _lattice_cells(window.pad(reach), TREE_PITCH_M / land.cell_size, margin=4)
    trees, priority = _propose_trees(land, i, j)
    shape = (int(i.max() - i.min()) + 1, int(j.max() - j.min()) + 1)
    kept = trees.take(_thin(trees, priority, shape))
    near = window.pad(reach).contains(kept.row, kept.col)
    return kept.take(near)


def _propose_trees(land: Landscape, i: Ints, j: Ints) -> tuple[Objects, Floats]:
    seed, cell = land.seed, land.cell_size
    pitch = TREE_PITCH_M / cell
    row = (i + uniform(seed, 100, i, j)) * pitch
    col = (j + uniform(seed, 101, i, j)) * pitch
    site = land.at(row, col)
    cluster = land.cluster.at(row, col)
    grows = uniform(seed, 102, i, j) < _tree_share(land, site, cluster)
    small_gardens = np.where(site.zone == Zone.HOMES, 0.8, 1.0)
    radius = (1.3 + 3.6 * uniform(seed, 103, i, j) ** 1.6) * small_gardens * (1 + 0.14 * cluster.clip(-2, 2))
    radius = radius.clip(1.2, MAX_CROWN_M / 1.15) / cell
    stretch = 0.86 + 0.28 * uniform(seed, 104, i, j)
    turn = np.pi * uniform(seed, 105, i, j)
    height = ((2.0 + 1.1 * radius * cell + 3.0 * uniform(seed, 106, i, j)).clip(2, MAX_HEIGHT_M)) / cell
    # Trees of one neighbourhood are mostly of one kind: the tint follows the block, then the tree.
    tint = 0.55 * uniform(seed, 107, site.i, site.j) + 0.45 * uniform(seed, 108, i, j)
    trees = Objects(
        kind=np.full(row.shape, Kind.TREE),
        row=row,
        col=col,
        length=radius * np.maximum(stretch, 1 / stretch),
        width=radius * np.minimum(stretch, 1 / stretch),
        cos=np.cos(turn),
        sin=np.sin(turn),
        height=height,
        tint=tint,
        shape=uniform(seed, 109, i, j),
        group=np.zeros(row.shape, np.int64),
    )
    return trees, np.where(grows, uniform(seed, 110, i, j) + 0.1 * radius * cell, -1.0)


def _tree_share(land: Landscape, site: Site, cluster: Floats) -> Floats:
    """Chance that a lattice cell bears a tree."""
    by_zone = np.array([0.003, 0.02, 0.75, 0.14, 0.02, 0.01, 0.28])
    patchiness = np.array([0.0, 1.5, 0.45, 0.7, 0.7, 1.0, 1.3])
    share = by_zone[site.zone] * np.exp(patchiness[site.zone] * cluster - 0.25 * patchiness[site.zone] ** 2)
    hedge = (site.zone == Zone.FARM) & (site.edge < 5) & (uniform(land.seed, 111, site.i, site.j) < 0.4)
    share = np.where(hedge, 0.45, share)
    avenue = (site.road > -4.5) & (site.zone == Zone.HOMES)
    share = np.where(avenue, 0.3, share)
    bank = (site.water > -0.12) & (site.water < -0.03)
    share = np.where(bank, np.maximum(share, 0.3), share)
    return np.where((site.road > -1.6) | (site.water > -0.03), 0.0, share)


def _thin(trees: Objects, priority: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Drop trees too close to one of higher priority: Matérn's rule, which asks neighbours alone, so windows agree."""
    side = 3
    rows, cols, radius, rank = (
        np.pad(column.reshape(shape), side, constant_values=value)
        for column, value in ((trees.row, -1e9), (trees.col, -1e9), (trees.width, 0.0), (priority, -1.0))
    )
    alive = np.ones(shape, dtype=bool)
    inner = (slice(side, -side), slice(side, -side))
    for down in range(-side, side + 1):
        for right in range(-side, side + 1):
            there = (slice(side + down, side + down + shape[0]), slice(side + right, side + right + shape[1]))
            away = (rows[inner] - rows[there]) ** 2 + (cols[inner] - cols[there]) ** 2
            close = away < (0.72 * (radius[inner] + radius[there])) ** 2
            alive &= ~(close & (rank[there] > rank[inner]))
    return (alive & (priority.reshape(shape) > 0)).ravel()


def place_buildings(land: Landscape, window: Window) -> Objects:
    """Find the buildings that may touch a window."""
    i, j = land.block_range(window.pad(int(MAX_REACH_M / land.cell_size)))
    zone = land.zone(i, j)
    houses = _place_houses(land, i[zone == Zone.HOMES], j[zone == Zone.HOMES])
    halls = _place_halls(land, i[zone == Zone.INDUSTRY], j[zone == Zone.INDUSTRY])
    farms = _place_farmyards(land, i[zone == Zone.FARM], j[zone == Zone.FARM])
    found = merge([houses, halls, farms])
    near = window.pad(int(np.ceil(MAX_REACH_M / land.cell_size))).contains(found.row, found.col)
    return found.take(near)


def _place_houses(land: Landscape, i: Ints, j: Ints) -> Objects:
    """Homes on the lots of a block, the middle ones being mostly gardens; a third of them have a wing."""
    seed = land.seed
    a, b = np.meshgrid(np.arange(_LOTS[0]), np.arange(_LOTS[1]), indexing="ij")
    lot_i = (i[:, None] * _LOTS[0] + a.ravel()).ravel()
    lot_j = (j[:, None] * _LOTS[1] + b.ravel()).ravel()
    inner = np.tile(((a > 0) & (a < _LOTS[0] - 1) & (b > 0) & (b < _LOTS[1] - 1)).ravel(), len(i))
    built = uniform(seed, 200, lot_i, lot_j) < np.where(inner, 0.2, 0.85)
    lot_i, lot_j = lot_i[built], lot_j[built]
    margin, jitter = 12.0, 5.0
    inside_u = (BLOCK_ROWS_M - 2 * margin) / _LOTS[0]
    inside_v = (BLOCK_COLS_M - 2 * margin) / _LOTS[1]
    u = (lot_i // _LOTS[0]) * BLOCK_ROWS_M + margin + (lot_i % _LOTS[0] + 0.5) * inside_u
    v = (lot_j // _LOTS[1]) * BLOCK_COLS_M + margin + (lot_j % _LOTS[1] + 0.5) * inside_v
    u = u + jitter * (uniform(seed, 201, lot_i, lot_j) - 0.5)
    v = v + jitter * (uniform(seed, 202, lot_i, lot_j) - 0.5)
    length = 4.5 + 4.0 * uniform(seed, 203, lot_i, lot_j)
    width = np.minimum(length, 3.6 + 2.2 * uniform(seed, 204, lot_i, lot_j))
    mains = _stand(land, Kind.HOUSE, (u, v), (length, width), (lot_i, lot_j))
    return _add_wings(land, mains, (lot_i, lot_j))


def _add_wings(land: Landscape, mains: Objects, lots: tuple[Ints, Ints]) -> Objects:
    winged = uniform(land.seed, 205, *lots) < 0.35
    dry = _buildable(land, mains, MAX_REACH_M / 4)
    mains, winged = mains.take(dry), winged[dry]
    group = np.where(winged, 1 + np.arange(len(mains)), 0)
    mains = Objects(*(group if c.name == "group" else getattr(mains, c.name) for c in fields(mains)))
    body = mains.take(winged)
    side = np.where(body.shape > 0.5, 1.0, -1.0)
    # The wing stands across one end of the body; together they make an L.
    forward, sideways = side * (body.length - body.width * 0.75), body.width * 0.9
    wings = Objects(
        kind=body.kind,
        row=body.row + forward * body.cos - sideways * body.sin,
        col=body.col + forward * body.sin + sideways * body.cos,
        length=body.width * 1.15,
        width=body.width * 0.75,
        cos=-body.sin,
        sin=body.cos,
        height=body.height * 0.9,
        tint=body.tint,
        shape=body.shape,
        group=body.group,
    )
    return merge([mains, wings])


def _place_halls(land: Landscape, i: Ints, j: Ints) -> Objects:
    """Two by two big flat roofs a block."""
    a, b = (axis.ravel() for axis in np.meshgrid(np.arange(2), np.arange(2), indexing="ij"))
    lot_i, lot_j = (i[:, None] * 2 + a).ravel(), (j[:, None] * 2 + b).ravel()
    built = uniform(land.seed, 210, lot_i, lot_j) < 0.75
    lot_i, lot_j = lot_i[built], lot_j[built]
    u = (lot_i + 0.5) * BLOCK_ROWS_M / 2 + 6 * (uniform(land.seed, 211, lot_i, lot_j) - 0.5)
    v = (lot_j + 0.5) * BLOCK_COLS_M / 2 + 6 * (uniform(land.seed, 212, lot_i, lot_j) - 0.5)
    length = 12 + 13 * uniform(land.seed, 213, lot_i, lot_j)
    width = 7 + 9 * uniform(land.seed, 214, lot_i, lot_j)
    halls = _stand(land, Kind.HALL, (u, v), (length, width), (lot_i, lot_j))
    return halls.take(_buildable(land, halls, MAX_REACH_M))


def _place_farmyards(land: Landscape, i: Ints, j: Ints) -> Objects:
    """One or two barns near a corner of a few farm blocks."""
    lot_i, lot_j = np.repeat(i, 2) * 2 + np.tile([0, 1], len(i)), np.repeat(j, 2)
    built = uniform(land.seed, 220, lot_i // 2, lot_j) < 0.12
    lot_i, lot_j = lot_i[built], lot_j[built]
    u = (lot_i // 2) * BLOCK_ROWS_M + 22 + 24 * (lot_i % 2)
    v = lot_j * BLOCK_COLS_M + 20 + 4 * uniform(land.seed, 221, lot_i, lot_j)
    length, width = 7 + 5 * uniform(land.seed, 222, lot_i, lot_j), 4.5 + 2 * uniform(land.seed, 223, lot_i, lot_j)
    barns = _stand(land, Kind.HOUSE, (u, v), (length, width), (lot_i, lot_j))
    return barns.take(_buildable(land, barns, MAX_REACH_M / 4))


def _stand(
    land: Landscape,
    kind: Kind,
    at_uv: tuple[Floats, Floats],
    half_size_m: tuple[Floats, Floats],
    lot: tuple[Ints, Ints],
) -> Objects:
    """Put rectangles on the land, along or across the nearest bend of the blocks."""
    seed, cell = land.seed, land.cell_size
    u, v = at_uv
    row, col = land.locate(u, v)
    ahead_row, ahead_col = land.locate(u + 4.0, v)
    away = np.hypot(ahead_row - row, ahead_col - col)
    cos, sin = (ahead_row - row) / away, (ahead_col - col) / away
    across = uniform(seed, 230 + kind, *lot) < 0.5
    height = 3.2 + (3.5 if kind == Kind.HOUSE else 7.0) * uniform(seed, 240 + kind, *lot)
    return Objects(
        kind=np.full(row.shape, kind),
        row=row,
        col=col,
        length=half_size_m[0] / cell,
        width=half_size_m[1] / cell,
        cos=np.where(across, -sin, cos),
        sin=np.where(across, cos, sin),
        height=height / cell,
        tint=uniform(seed, 250 + kind, *lot),
        shape=uniform(seed, 260 + kind, *lot),
        group=np.zeros(row.shape, np.int64),
    )


def _buildable(land: Landscape, objects: Objects, clearance_m: float) -> NDArray[np.bool_]:
    """Tell which objects stand clear of roads and water at their middle and corners."""
    free = np.ones(len(objects), dtype=bool)
    scale = 1 + 0.1 * clearance_m / MAX_REACH_M
    for forward, sideways in ((0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        along, across = forward * objects.length * scale, sideways * objects.width * scale
        site = land.at(
            objects.row + along * objects.cos - across * objects.sin,
            objects.col + along * objects.sin + across * objects.cos,
        )
        free &= (site.road < -2.5) & (site.water < -0.06)
    return free


def place_cars(land: Landscape, window: Window) -> Objects:
    """Find the cars on roads that may touch a window."""
    cell = land.cell_size
    i, j = _lattice_cells(window.pad(int(4 / cell) + 1), _CAR_PITCH_M / cell, margin=1)
    seen = uniform(land.seed, 300, i, j) < 0.12
    i, j = i[seen], j[seen]
    row = (i + uniform(land.seed, 301, i, j)) * _CAR_PITCH_M / cell
    col = (j + uniform(land.seed, 302, i, j)) * _CAR_PITCH_M / cell
    site = land.at(row, col)
    cos, sin = land.heading()
    on_road = (site.road > 1.1) & (site.axis > 1.0) & (site.water < 0)
    along_cos = np.where(site.along_rows, cos, -sin)
    along_sin = np.where(site.along_rows, sin, cos)
    cars = Objects(
        kind=np.full(row.shape, Kind.CAR),
        row=row,
        col=col,
        length=(2.1 + 0.5 * uniform(land.seed, 303, i, j)) / cell,
        width=np.full(row.shape, 0.9 / cell),
        cos=along_cos,
        sin=along_sin,
        height=np.full(row.shape, 1.5 / cell),
        tint=uniform(land.seed, 304, i, j),
        shape=uniform(land.seed, 305, i, j),
        group=np.zeros(row.shape, np.int64),
    )
    return cars.take(on_road)


def _inside_any(rectangles: Objects, row: Floats, col: Floats, margin: float) -> NDArray[np.bool_]:
    """Tell which points lie in one of the rectangles, grown by a margin."""
    down, right = row[:, None] - rectangles.row, col[:, None] - rectangles.col
    along = np.abs(down * rectangles.cos + right * rectangles.sin) < rectangles.length + margin
    across = np.abs(right * rectangles.cos - down * rectangles.sin) < rectangles.width + margin
    return np.any(along & across, axis=1)


def _lattice_cells(window: Window, pitch: float, margin: int) -> tuple[Ints, Ints]:
    i = np.arange(np.floor(window.row / pitch) - margin, np.floor((window.row + window.height) / pitch) + 1 + margin)
    j = np.arange(np.floor(window.col / pitch) - margin, np.floor((window.col + window.width) / pitch) + 1 + margin)
    mesh_i, mesh_j = np.meshgrid(i.astype(np.int64), j.astype(np.int64), indexing="ij")
    return mesh_i.ravel(), mesh_j.ravel()
