"""Results that a server of these tests has: a feature layer, an empty one, and a raster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from raster_analysis.layers.features import OgrFeatures
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.seams import FeatureTable

COUNT = 250
CLASSES = ("tree", "car", 'o\'hara "roof"')


def objects() -> FeatureTable:
    """Boxes of 2 m in rows of 50, 10 m apart, in the system of UTM zone 33."""
    number = np.arange(COUNT)
    x, y = 500_000 + number % 50 * 10, 5_000_000 + number // 50 * 10
    return FeatureTable(
        geometries=shapely.box(x, y, x + 2, y + 2),
        crs="EPSG:32633",
        columns={
            "Class": [CLASSES[i % 3] for i in range(COUNT)],
            "Confidence": np.round(number / COUNT * 100, 4),
            "Number": number.astype(np.int64),
        },
        layer="objects",
        geometry_type="Polygon",
    )


def publish_results(portal: Portal, folder: Path) -> None:
    """Publish everything as ann's, for herself only."""
    OgrFeatures().write(folder / "objects.gpkg", objects())
    (folder / "cover.tif").write_bytes(b"II*\0")
    _publish(portal, ServiceName(ServiceKind.FEATURES, "objects"), folder / "objects.gpkg")
    _publish(portal, ServiceName(ServiceKind.IMAGERY, "cover"), folder / "cover.tif")
    _publish(portal, ServiceName(ServiceKind.FEATURES, "unfilled"), None)


def _publish(portal: Portal, service: ServiceName, path: Path | None) -> None:
    ann = portal.users.get("ann")
    draft = portal.items.draft(ann.name, service.kind.item_type, service.name)
    item = portal.services.create(service, ann, draft)
    if path is None:
        return
    data = portal.items.place(item.id, path, path.name)
    with portal.database.write() as connection:
        portal.items.save(connection, item, data)
