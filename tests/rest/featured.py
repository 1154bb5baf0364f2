"""Feature results for tests: GeoPackages as jobs write them, and services that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from raster_analysis.layers.features import OgrFeatures
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import User
from raster_analysis.seams import FeatureTable

CLASSES = ("tree", "car", "roof")
LEFT, BOTTOM = 500_000.0, 5_000_000.0
UTM = 32633


def table(count: int, columns: int = 50) -> FeatureTable:
    """Return boxes of 7 x 5 m in rows, 10 m apart, every tenth with a hole."""
    rows = np.arange(count)
    x, y = LEFT + rows % columns * 10.0, BOTTOM + rows // columns * 10.0
    shapes = shapely.box(x, y, x + 7, y + 5)
    holed = rows % 10 == 0
    shapes[holed] = shapely.difference(
        shapes[holed], shapely.box(x[holed] + 1, y[holed] + 1, x[holed] + 2, y[holed] + 2)
    )
    return FeatureTable(
        geometries=shapes,
        crs=f"EPSG:{UTM}",
        columns={
            "Class": np.array(CLASSES, dtype=object)[rows % len(CLASSES)],
            "Confidence": rows * 37 % 1000 / 10,
        },
        layer="objects",
    )


def write_objects(path: Path, count: int) -> Path:
    """Write what a detection writes."""
    OgrFeatures().write(path, table(count))
    return path


def publish(portal: Portal, owner: User, name: str, file: Path | None) -> None:
    """Add a service of an owner, filled with a copy of the file, or with nothing."""
    draft = portal.items.draft(owner.name, ServiceKind.FEATURES.item_type, name)
    item = portal.services.create(ServiceName(ServiceKind.FEATURES, name), owner, draft)
    if file is not None:
        copy = file.with_name(f"copy-{name}.gpkg")
        copy.write_bytes(file.read_bytes())
        portal.items.replace_data(item.id, owner, portal.items.place(item.id, copy, f"{name}.gpkg"))


def share(portal: Portal, owner: User, name: str, access: object) -> None:
    """Change who may see a service."""
    item = portal.services.find(ServiceName(ServiceKind.FEATURES, name), owner)
    portal.items.change(item.id, owner, {"access": access})
