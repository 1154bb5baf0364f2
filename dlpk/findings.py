"""What a check has to say about a package, and the list of everything it can say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: a package with an error is refused."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


# Every code with its meaning. Codes are stable: scripts depend on them.
CODES: dict[str, str] = {
    "archive.missing": "The path does not exist or cannot be read.",
    "archive.kind": "The file is not a ZIP archive, or does not carry the promised digest.",
    "archive.7zip": "The file is a 7-Zip archive; only ZIP is read.",
    "archive.git_lfs": "The file is a git-lfs pointer instead of the content.",
    "zip.truncated": "The archive has no end record: cut off, or followed by much else.",
    "zip.damaged": "A record of the archive cannot be read, or a member fails its CRC.",
    "zip.prepended": "There are bytes before the first member, as in joined archives.",
    "zip.trailing": "There are bytes after the end record.",
    "zip.gap": "There are bytes between members that belong to none.",
    "zip.overlap": "Two members claim the same bytes.",
    "zip.mismatch": "The central directory and a member's own header disagree.",
    "zip.zip64": "The 64-bit records of the archive contradict the others.",
    "zip.spanned": "The archive is one part of several.",
    "zip.encrypted": "A member is encrypted.",
    "zip.method": "A member uses a compression other than stored or deflate.",
    "zip.size": "A member unpacks to more or fewer bytes than it declares.",
    "zip.ratio": "A member or the archive unpacks to suspiciously many times its size.",
    "zip.limit": "Too many members, or too many bytes unpacked.",
    "zip.path": "The name of a member is unsafe on some operating system, too long or too deep.",
    "zip.encoding": "The name of a member is neither ASCII nor marked as UTF-8.",
    "zip.duplicate": "Two members have the same name, or the same by case or Unicode form.",
    "zip.link": "A member is a link.",
    "zip.type": "A member is a device, a pipe, set-user-id, or a folder that is a file.",
    "zip.top_folder": "The package lies in a folder inside the archive.",
    "emd.missing": "There is no model definition.",
    "emd.ambiguous": "There are several model definitions where one is expected.",
    "emd.extra": "Further model definitions lie deeper in the package; they are ignored.",
    "emd.place": "The only model definition lies too deep.",
    "emd.size": "The model definition is larger than 16 MB.",
    "emd.encoding": "The model definition is not UTF-8.",
    "emd.json": "The model definition is not a JSON object.",
    "emd.depth": "The model definition is nested more than 64 levels deep.",
    "emd.number": "A number is NaN, infinite, or has hundreds of digits.",
    "emd.duplicate_key": "A key occurs twice in one object.",
    "emd.text": "A text holds half of a surrogate pair.",
    "emd.template": "This is the description of exported training chips, not a model.",
    "emd.value": "A key has a value of the wrong type or out of range.",
    "emd.model_type": "ModelType is missing, misspelt, unknown or not for rasters.",
    "emd.framework": "Framework is missing where no Python raster function replaces it.",
    "emd.model_configuration": "ModelConfiguration is neither a name nor an object with one.",
    "emd.image_size": "ImageHeight or ImageWidth is missing or not a sensible number of pixels.",
    "emd.extract_bands": "ExtractBands is missing or not a list of band indexes or well-known names.",
    "emd.data_range": "DataRange is not two ascending numbers.",
    "emd.batch_size": "BatchSize is not a sensible whole number.",
    "emd.model_padding": "ModelPadding is negative or leaves nothing of the tile.",
    "emd.normalization_stats": "NormalizationStats does not cover the bands, or a maximum is not above its minimum.",
    "emd.classes": "Classes is missing, or an entry lacks a whole-number Value or a Name.",
    "emd.class_alias": "Classes uses the old names ClassValue and ClassName.",
    "emd.class_color": "A class has no usable Color; one is chosen.",
    "emd.class_name": "Several classes have the same name.",
    "emd.extension": "The RasterAnalysis object does not have the documented form.",
    "model_file.missing": "The file that ModelFile names is not in the package, or none is named.",
    "model_file.path": "ModelFile is absolute, a URL, or leaves the package.",
    "model_file.case": "ModelFile is found only when upper and lower case are ignored.",
    "model_file.git_lfs": "The model file is a git-lfs pointer instead of the weights.",
    "function.missing": "The file that InferenceFunction names is not in the package.",
    "function.path": "InferenceFunction is absolute, leaves the package, or is not a .py file.",
    "function.syntax": "The raster function is not valid Python.",
    "function.class": "The raster function has no class with the required methods.",
    "function.code": "The package holds Python code, which no runtime here executes.",
    "function.ignored": "The package tells how to run its model natively, so its raster function is not used.",
    "function.imports": "The raster function imports modules that are not available here.",
    "weights.damaged": "The model file is damaged or contradicts itself.",
    "weights.external_data": "The ONNX file keeps tensors in files that are missing or outside the package.",
    "weights.code": "Loading the model file can run code of its author.",
    "weights.native_code": "The package holds machine code: a library or a TensorRT engine.",
    "runtime.arcgis_learn": "The weights can only be read by arcgis.learn.",
    "runtime.unsupported": "No runtime here can run this kind of model file.",
    "runtime.decoder": "The package does not say how to read the network's output.",
    "runtime.inputs": "The network's inputs are neither one tensor nor two dates, or are not those that are named.",
    "runtime.architecture": "The package does not say which network the weights belong to.",
    "package.unused": "A big file is named by nothing in the definition.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about a package: what, where, how bad, and what would be right."""

    code: str
    severity: Severity
    where: str
    """A member, `file: Key` or `file:line:column`; never a path of the machine."""
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"finding code {self.code!r} is not documented in CODES")

    def __str__(self) -> str:
        hint = f" {self.hint}" if self.hint else ""
        return f"[{self.code}] {self.where}: {self.message}{hint}"

    def as_dict(self) -> dict[str, str]:
        """Give plain data for JSON."""
        return {key: str(value) for key, value in asdict(self).items()}


def error(code: str, where: str, message: str, hint: str = "") -> Finding:
    """Make a finding that refuses the package."""
    return Finding(code, Severity.ERROR, where, message, hint)


def warning(code: str, where: str, message: str, hint: str = "") -> Finding:
    """Make a finding that the author should know."""
    return Finding(code, Severity.WARNING, where, message, hint)


def info(code: str, where: str, message: str, hint: str = "") -> Finding:
    """Make a finding that only informs."""
    return Finding(code, Severity.INFO, where, message, hint)


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Give those findings that refuse the package."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)
