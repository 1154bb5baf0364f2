"""A package that passed its checks: what it says, what it holds, and how to get at it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from dlpk.archive import Member, Source, open_source
from dlpk.checks import check_contents
from dlpk.contents import Contents, read_contents
from dlpk.definition import Definition
from dlpk.errors import DlpkError, NotUnpacked, PackageRefused
from dlpk.extraction import unpack
from dlpk.findings import Finding, Severity, error, errors_of
from dlpk.limits import DEFAULT_LIMITS, Limits
from dlpk.weights import Weights
from dlpk.zip_layout import CHUNK_BYTES

MAX_READ_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Package:
    """A package that may be used. Names are relative to the definition and use `/`."""

    definition: Definition
    members: tuple[Member, ...]
    """Every file with its size, sorted by name, without debris."""
    emd_name: str
    findings: tuple[Finding, ...]
    """Warnings and notes; there are no errors."""
    _contents: Contents = field(repr=False)

    @property
    def folder(self) -> Path | None:
        """The folder that references are relative to, or None when the package lies in an archive."""
        base = self._contents.source.folder
        return None if base is None else base / self._contents.root.prefix

    @property
    def model_name(self) -> str | None:
        """The member (or folder of members) that is the trained model."""
        reference = self.definition.model_file
        if reference is None or self._contents.inside(reference):
            return reference
        return self._contents.resolve(reference)

    @property
    def function_name(self) -> str | None:
        """The member that is the package's own Python raster function."""
        return self._contents.function_name

    @property
    def function_class(self) -> str | None:
        """The class of the raster function."""
        return self._contents.function.class_name if self._contents.function else None

    @property
    def runs_function(self) -> bool:
        """Whether the package's own raster function does the work, and not a native runtime."""
        return self._contents.runs_function

    @cached_property
    def weights(self) -> Weights | None:
        """What the trained model is, found without loading it; None when the definition names none."""
        return self._contents.identify_model()

    @property
    def holds_code(self) -> bool:
        """Whether using the package runs code of its author, so that its digest must be trusted."""
        return any(finding.code in {"function.code", "weights.code"} for finding in self.findings)

    @property
    def emd_path(self) -> Path:
        """Where the definition lies.

        Raises:
            NotUnpacked: The package lies in an archive.
        """
        return self.path_of(self.emd_name)

    @property
    def model_path(self) -> Path | None:
        """Where the trained model lies, None when the definition names none.

        Raises:
            NotUnpacked: The package lies in an archive.
        """
        return None if self.model_name is None else self.path_of(self.model_name)

    @property
    def function_path(self) -> Path | None:
        """Where the raster function lies, None when the package has none.

        Raises:
            NotUnpacked: The package lies in an archive.
        """
        return None if self.function_name is None else self.path_of(self.function_name)

    def path_of(self, name: str) -> Path:
        """Give the path of a member.

        Raises:
            NotUnpacked: The package lies in an archive.
        """
        if self.folder is None:
            raise NotUnpacked(f"{name} lies in an archive; unpack the package first")
        return self.folder / name

    def stream(self, name: str) -> Iterator[bytes]:
        """Give the content of a member in pieces, verified as it is read."""
        self._require(name)
        return self._contents.stream(name)

    def read(self, name: str) -> bytes:
        """Give the content of a small member.

        Raises:
            DlpkError: There is no such member, or it is larger than 64 MB.
        """
        if self._require(name).size > MAX_READ_BYTES:
            raise DlpkError(f"{name} is larger than {MAX_READ_BYTES} bytes; stream it")
        return b"".join(self.stream(name))

    def _require(self, name: str) -> Member:
        for member in self.members:
            if member.name == name:
                return member
        raise DlpkError(f"the package has no member {name!r}")

    @cached_property
    def digest(self) -> str:
        """The sha256 of the canonical list of names and content digests.

        It is the same for an archive, the folder it was packed from and the folder it is unpacked to.
        """
        return digest_of(self._contents)

    def extract(self, folder: Path | str) -> Path:
        """Unpack into a new folder, all or nothing, and give its path; files become read-only.

        Raises:
            TargetExists: The folder is already there.
            PackageRefused: The content is not what it was when the package was opened.
        """
        return unpack(self, Path(folder))


def digest_of(contents: Contents) -> str:
    """Read every member and give the digest of all; damaged content is refused on the way."""
    total = hashlib.sha256()
    for member in contents.members:
        content = hashlib.sha256()
        for piece in contents.stream(member.name):
            content.update(piece)
        # Sizes, dates and modes stay out: they differ between equal contents.
        total.update(digest_line(member.name, content.hexdigest()))
    return total.hexdigest()


def digest_line(name: str, content_digest: str) -> bytes:
    """Give the line of the canonical list for one member; names cannot hold line ends."""
    return f"{content_digest}  {name}\n".encode()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a check has to say."""

    findings: tuple[Finding, ...]
    package: Package | None = None
    """The package when it is valid."""
    definition: Definition | None = None
    """The definition as far as it could be read."""

    @property
    def valid(self) -> bool:
        """Whether there is no error."""
        return not errors_of(self.findings)

    def as_dict(self) -> dict[str, JsonValue]:
        """Give plain data for JSON."""
        counts: dict[str, JsonValue] = {str(kind): 0 for kind in Severity}
        for kind in Severity:
            counts[str(kind)] = sum(finding.severity is kind for finding in self.findings)
        listed: list[JsonValue] = [dict(finding.as_dict()) for finding in self.findings]
        return {"valid": self.valid, "counts": counts, "findings": listed}


def open_package(path: Path | str, *, sha256: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Package:
    """Open a `.dlpk`, a folder or a `.emd` and check it.

    An archive is read once in full, so that damage shows here; a folder is not, its digest is computed when asked for.

    Args:
        path: The package.
        sha256: What the archive file must hash to, when the sender told it.
        limits: How much the package may hold.

    Raises:
        PackageRefused: The package has errors; the exception carries all findings.
    """
    report = check_package(path, sha256=sha256, limits=limits)
    if report.package is None:
        raise PackageRefused(report.findings)
    return report.package


def check_package(path: Path | str, *, sha256: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Report:
    """Check a package in one pass and report everything found, instead of raising."""
    try:
        if sha256 is not None:
            _require_digest(Path(path), sha256)
        return check_source(open_source(Path(path), limits))
    except PackageRefused as refusal:
        return Report(refusal.findings)
    except OSError as fault:
        message = f"it cannot be read: {fault.strerror or type(fault).__name__}."
        return Report((error("archive.missing", Path(path).name, message),))


def _require_digest(path: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    if digest.hexdigest() != expected.lower():
        message = f"the file hashes to {digest.hexdigest()}, not to the promised {expected[:64]!a}."
        raise PackageRefused([error("archive.kind", "archive", message, "Copy or upload the file again.")])


def check_source(source: Source) -> Report:
    """Check what a source holds."""
    try:
        contents, findings = read_contents(source)
    except PackageRefused as refusal:
        return Report(refusal.findings)
    findings += check_contents(contents)
    package = Package(contents.definition, contents.members, contents.root.emd, tuple(findings), contents)
    # Every byte of an archive is unpacked once before anyone uses it: sizes and CRCs are true from here on.
    if source.folder is None and not errors_of(findings):
        try:
            _ = package.digest
        except PackageRefused as refusal:
            findings += refusal.findings
    usable = None if errors_of(findings) else package
    return Report(tuple(findings), usable, contents.definition)
