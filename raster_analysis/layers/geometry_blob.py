"""Geometries as GeoPackages keep them: a header with the bounds, then WKB."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely

from raster_analysis.errors import InputError

HEAD_BYTES = 40
"""The header with bounds in x and y, which is what most files have."""
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)
_EMPTY = 0x10


def decode(blobs: Sequence[object]) -> npt.NDArray[np.object_]:
    """Return shapes in x and y; None for none and for empty ones."""
    found = shapely.from_wkb([_wkb(blob) for blob in blobs], on_invalid="ignore")
    shapes = np.asarray(shapely.force_2d(np.asarray(found, dtype=object)), dtype=object)
    shapes[shapely.is_empty(shapes)] = None
    return shapes


def bounds_of_heads(heads: Sequence[bytes | None]) -> npt.NDArray[np.float64] | None:
    """Return `(n, 4)` xmin, ymin, xmax, ymax of the first `HEAD_BYTES` of blobs; None when some do not say."""
    full = [head for head in heads if head]
    if not full or any(len(head) != HEAD_BYTES or (head[3] & 0x1F) != 0x03 for head in full):
        return None
    boxes = np.frombuffer(b"".join(full), dtype=np.uint8).reshape(len(full), HEAD_BYTES)[:, 8:]
    xmin, xmax, ymin, ymax = np.ascontiguousarray(boxes).view("<f8").T
    return np.column_stack([xmin, ymin, xmax, ymax])


def _wkb(blob: object) -> bytes | None:
    if not blob:
        return None
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < 8:
        raise InputError("the layer holds something that is no GeoPackage geometry")
    flags = blob[3]
    kind = (flags >> 1) & 7
    if kind >= len(_ENVELOPE_BYTES):
        raise InputError("the layer holds a geometry with an unknown header")
    return None if flags & _EMPTY else blob[8 + _ENVELOPE_BYTES[kind] :]
