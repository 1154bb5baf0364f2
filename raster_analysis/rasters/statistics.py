"""The range of a raster's values, for definitions that stretch pixels (`DataRange`, dlpk 1.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.io import DatasetReader


def find_value_range(dataset: DatasetReader, dtype: str) -> tuple[float, float]:
    """Return lowest and highest value over all data bands.

    Stored statistics where every data band has them; else the range of the pixel type, in the bits
    that are used (12 bits in a uint16: 0 to 4095). Floating point types have no range worth the name:
    without statistics it is 0 to 1, the convention for reflectance and for scaled images.
    """
    stored = [_stored_range(dataset, index) for index in dataset.indexes if not _is_alpha(dataset, index)]
    known = [limits for limits in stored if limits is not None]
    if known and len(known) == len(stored):
        return min(low for low, _ in known), max(high for _, high in known)
    return _type_range(dataset, np.dtype(dtype))


def _is_alpha(dataset: DatasetReader, index: int) -> bool:
    return bool(dataset.colorinterp[index - 1].name == "alpha")


def _stored_range(dataset: DatasetReader, index: int) -> tuple[float, float] | None:
    tags = dataset.tags(index)
    try:
        low, high = float(tags["STATISTICS_MINIMUM"]), float(tags["STATISTICS_MAXIMUM"])
    except (KeyError, ValueError):
        return None
    # Where both are equal there is nothing to stretch, and a division by 0 to come.
    return (low, high) if np.isfinite([low, high]).all() and low < high else None


def _type_range(dataset: DatasetReader, kind: np.dtype[Any]) -> tuple[float, float]:
    if kind.kind == "f":
        return 0.0, 1.0
    bounds = np.iinfo(kind)
    bits = dataset.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", "")
    if kind.kind == "u" and bits.isdigit() and 0 < int(bits) < bounds.bits:
        return 0.0, float(2 ** int(bits) - 1)
    return float(bounds.min), float(bounds.max)
