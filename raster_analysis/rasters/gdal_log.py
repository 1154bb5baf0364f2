"""GDAL's log as errors: some failures of a write are told nowhere else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from raster_analysis.errors import OutputError

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises for an error of GDAL: the second escapes from its warping and transforming (measured)."""

# Where rasterio passes on what GDAL signals, at level INFO (measured, rasterio 1.4.4 and 1.5.2).
_LOGGER = logging.getLogger("rasterio._err")


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that says an error number other than 0."""
        message = record.getMessage()
        if "err_no=0," not in message:
            self.messages.append(message)


def quiet_gdal() -> None:
    """Settle these libraries in a process of ours: neither a log of normal work nor a search for cloud credentials.

    Their errors are raised anyway.
    """
    for name in ("rasterio", "pyogrio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # One line for each driver that is to be left out and that this build never had: some 170.
    logging.getLogger("rasterio._env").setLevel(logging.ERROR)
    # Set, even to nothing, they make rasterio start a session of boto3 at each call, where that is installed: a tile
    # took 55 ms instead of 10.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        os.environ.pop(name, None)


@contextmanager
def gdal_errors_raise(what: str) -> Iterator[None]:
    """Raise OutputError at the end of the block when GDAL signalled an error within it."""
    recorder, level = _Recorder(), _LOGGER.level
    _LOGGER.addHandler(recorder)
    _LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOGGER.removeHandler(recorder)
        _LOGGER.setLevel(level)
    if recorder.messages:
        raise OutputError(f"{what} could not be written: {recorder.messages[0]}")
