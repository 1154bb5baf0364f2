"""Deep learning packages (.dlpk): read, check, build and unpack them. No server, no torch."""

from __future__ import annotations

from dlpk.archive import Member
from dlpk.definition import ClassEntry, Definition, ModelType, class_values
from dlpk.errors import DlpkError, NotUnpacked, PackageRefused, TargetExists
from dlpk.findings import Finding, Severity
from dlpk.limits import Limits
from dlpk.package import Package, Report
from dlpk.package import check_package as check
from dlpk.package import open_package as open  # noqa: A004 - `dlpk.open` is the documented name
from dlpk.parse import parse_definition

__all__ = [
    "ClassEntry",
    "Definition",
    "DlpkError",
    "Finding",
    "Limits",
    "Member",
    "ModelType",
    "NotUnpacked",
    "Package",
    "PackageRefused",
    "Report",
    "Severity",
    "TargetExists",
    "check",
    "class_values",
    "open",
    "parse_definition",
]
