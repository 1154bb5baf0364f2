"""Tables without a geometry: rows in a GeoPackage, complete or not there. For slots: uses GDAL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FieldError

from raster_analysis.errors import OutputError
from raster_analysis.rasters.staging import disk_errors, staged
from raster_analysis.seams import Columns

_DATE = "1970-01-01T00:00:00.000Z"
"""What GeoPackages say they were made on, so that the same rows give the same bytes."""


def write_rows(path: Path, layer: str, columns: Columns) -> None:
    """Write rows as a GeoPackage's attribute table; NaN becomes null. The same rows give the same bytes.

    Raises:
        OutputExists: the output is there already.
        OutputError: the suffix is another, the columns differ in length, or the disk refuses.
    """
    if path.suffix.lower() != ".gpkg":
        raise OutputError(f"output {path.name!r} is a table without geometries; write .gpkg")
    arrays = {name: _as_array(values) for name, values in columns.items()}
    if len({len(array) for array in arrays.values()}) != 1:
        raise OutputError(f"columns of table {layer!r} differ in length: { {n: len(a) for n, a in arrays.items()} }")
    with staged(path) as draft:
        _write(draft, layer, arrays)


def _as_array(values: npt.NDArray[np.generic] | Sequence[str]) -> npt.NDArray[np.generic]:
    return np.asarray(values, None if isinstance(values, np.ndarray) else object)


def _write(path: Path, layer: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
    previous = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        with disk_errors(path):
            pyogrio.raw.write(path, None, list(arrays.values()), list(arrays), layer=layer, driver="GPKG")
            wanted, found = len(next(iter(arrays.values()))), pyogrio.read_info(path)["features"]
    except (DataSourceError, DataLayerError, FieldError) as error:
        reason = str(error).replace(str(path), path.name)
        raise OutputError(f"output {path.name!r} could not be written: {reason}") from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": previous})
    if found != wanted:
        raise OutputError(f"output {path.name!r} holds {found} rows where {wanted} were written")
