"""The error tree of `dlpk`.

DlpkError
├── PackageRefused      the package is unsafe, broken or cannot be used; carries every finding
├── NotUnpacked         a path was asked of a package that lies in an archive
└── TargetExists        the place to unpack or build to is already taken
"""

from __future__ import annotations

from collections.abc import Iterable

from dlpk.findings import Finding, errors_of

_SHOWN = 8


class DlpkError(Exception):
    """Base of all errors of this library."""


class PackageRefused(DlpkError):
    """A package was refused; `findings` holds every reason, and the warnings beside them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        reasons = [str(finding) for finding in errors_of(self.findings)]
        more = [f"and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
        super().__init__("; ".join(reasons[:_SHOWN] + more))


class NotUnpacked(DlpkError):
    """A member has no path because the package lies in an archive."""


class TargetExists(DlpkError):
    """The target is already there and is not overwritten."""
