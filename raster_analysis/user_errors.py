"""What a command does with an error that is meant for the user: one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from pydantic import ValidationError
from pydantic_settings import SettingsError

from raster_analysis.errors import RasterAnalysisError


@contextmanager
def user_errors() -> Iterator[None]:
    """End the process with one line for an error that a user can do something about."""
    try:
        yield
    except RasterAnalysisError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:  # of a data folder that is full, read-only or not there
        click.echo(f"error: {error.filename or 'the disk'}: {error.strerror or error}", err=True)
        sys.exit(2)
    except SettingsError as error:  # text in the environment that is not JSON
        click.echo(f"error: {error}: {error.__cause__}", err=True)
        sys.exit(2)
    except ValidationError as error:  # of the settings: each fault names its setting
        for fault in error.errors():
            click.echo(f"error: setting {'.'.join(map(str, fault['loc']))}: {fault['msg']}", err=True)
        sys.exit(2)
