"""Every error that Raster Analysis raises on purpose.

RasterAnalysisError
├── InputError           something a user gave cannot be used; the message says what would be right
│   ├── ParameterError   a tool's parameters: all faults of one request in one error
│   ├── RasterError      a raster that cannot be read, or not by this model
│   │   └── NoOverlap    where to work and what to read have no area in common
│   ├── ModelError       a package that cannot be run here
│   ├── InputChanged     an input file was replaced while the job ran
│   ├── AccessError      missing, or not for this user: one answer for both
│   └── NotPermitted     the user's role does not allow it
├── LoginError           it is not known who asks, or not proven
│   ├── BadCredentials   unknown user or wrong password: one answer for both
│   ├── TokenRequired    nobody signed in
│   ├── InvalidToken     unknown, expired or revoked
│   └── TooManyLogins    wait before trying again
├── OutputError          a result could not be written, or does not read back as written
│   └── OutputExists     the output is there already
├── BudgetError          the work does not fit: both figures are in the message
├── Cancelled            the job was asked to stop
├── StoreError           a database of the server cannot be read or written at the moment
└── JobError             a job cannot do what was asked of it
    ├── SlotLost         the process that ran a task ended before it answered
    └── StaleFence       another claim of the same job has taken over
"""

from __future__ import annotations

from collections.abc import Sequence


class RasterAnalysisError(Exception):
    """Base class: its text is meant for the user and holds no path of the server."""


class InputError(RasterAnalysisError):
    """Something a user gave cannot be used."""


class ParameterError(InputError):
    """The parameters of one request are wrong; `faults` names each of them."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class RasterError(InputError):
    """A raster cannot be read, or not by this model."""


class NoOverlap(RasterError):
    """Where to work, or another raster, has no area in common with a raster."""


class ModelError(InputError):
    """A package cannot be run here."""


class InputChanged(InputError):
    """An input file was replaced, shortened or deleted while the job ran."""


class AccessError(InputError):
    """A thing is missing or not for this user; both read the same."""


class NotPermitted(InputError):
    """The user's role does not allow what was asked."""


class LoginError(RasterAnalysisError):
    """It is not known who asks, or not proven."""


class BadCredentials(LoginError):
    """The user is unknown or the password is wrong; both read the same."""


class TokenRequired(LoginError):
    """Only somebody who signed in may do this."""


class InvalidToken(LoginError):
    """The token is unknown, expired or revoked."""


class TooManyLogins(LoginError):
    """Too many sign-ins failed; more are refused for a while."""


class OutputError(RasterAnalysisError):
    """A result could not be written, or does not read back as it was written."""


class OutputExists(OutputError):
    """The output is there already and overwriting was not asked for."""


class BudgetError(RasterAnalysisError):
    """The work does not fit into memory or disk; the message gives need and limit."""


class Cancelled(RasterAnalysisError):
    """The job was asked to stop."""


class StoreError(RasterAnalysisError):
    """A database of the server cannot be read or written at the moment: locked, full, damaged or gone."""


class JobError(RasterAnalysisError):
    """A job cannot do what was asked of it in its present state."""


class SlotLost(JobError):
    """The process that ran a task ended, or had to be ended, before it answered."""


class StaleFence(JobError):
    """A later claim of the same job has taken over; this writer's work is dropped."""
