"""The contents of a package as checks see them: its files, its one definition, what its model file is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dlpk.archive import Member, Source
from dlpk.definition import Definition
from dlpk.errors import PackageRefused
from dlpk.findings import Finding, error, warning
from dlpk.functions import FunctionFacts, FunctionFault, inspect_function
from dlpk.model_types import infer_model_type
from dlpk.parse import parse_definition
from dlpk.strict_json import MAX_BYTES
from dlpk.weights import Weights, WeightsKind, identify

# How a reference to a raster function of other software begins, in lower case.
BUILT_IN = "[functions]"


@dataclass(frozen=True, slots=True)
class Root:
    """Where in a source the package lies."""

    prefix: str
    """Empty, or the folder of the definition with a `/` at its end."""
    emd: str
    """The definition, relative to the prefix."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a package holds, ready to be checked. Names are relative to the definition."""

    source: Source
    root: Root
    members: tuple[Member, ...]
    definition: Definition
    function: FunctionFacts | None = None

    def resolve(self, reference: str) -> str | None:
        """Give the member a reference names, exactly or else ignoring case; None when there is none."""
        names = [member.name for member in self.members]
        if reference in names:
            return reference
        return next((name for name in names if name.lower() == reference.lower()), None)

    def inside(self, folder: str) -> tuple[Member, ...]:
        """Give the members of a folder."""
        prefix = folder.rstrip("/").lower() + "/"
        return tuple(member for member in self.members if member.name.lower().startswith(prefix))

    def stream(self, name: str) -> Iterator[bytes]:
        """Give the content of one member in pieces."""
        return self.source.stream(self.root.prefix + name)

    @property
    def runs_function(self) -> bool:
        """Whether the package's own raster function does the work, and not a native runtime."""
        return self.function_name is not None and not self.declares_output

    @property
    def declares_output(self) -> bool:
        """Whether the definition says how the network's output is read, so that a native runtime can run it."""
        extension = self.definition.extension
        return extension is not None and extension.output is not None

    def identify_model(self) -> Weights | None:
        """Tell what the model file is; None when there is none."""
        reference = self.definition.model_file
        if reference is None:
            return None
        # TensorFlow 2 models are folders.
        inside = {member.name.rsplit("/", 1)[-1] for member in self.inside(reference)}
        if inside:
            return Weights(WeightsKind.SAVED_MODEL if "saved_model.pb" in inside else WeightsKind.UNKNOWN)
        name = self.resolve(reference)
        if name is None:
            return None
        with self.source.open(self.root.prefix + name) as file:
            return identify(file, name)

    @property
    def function_name(self) -> str | None:
        """The member that holds the package's own raster function, if it names one."""
        reference = self.definition.inference_function
        if reference is None or reference.lower().startswith(BUILT_IN):
            return None
        return self.resolve(reference)


def find_root(source: Source) -> tuple[Root, list[Finding]]:
    """Find the one definition: at the root, or else the only one in a folder of the root.

    Raises:
        PackageRefused: There is none, there are several, or it lies deeper.
    """
    names = [member.name for member in source.members()]
    definitions = [name for name in names if name.lower().endswith(".emd")]
    # People who zip a folder put everything one level down.
    for depth in (0, 1):
        here = [name for name in definitions if name.count("/") == depth]
        if len(here) > 1:
            message = f"there are {len(here)} model definitions: {', '.join(here[:5])}."
            raise PackageRefused([error("emd.ambiguous", "package", message, "Keep one .emd at the root.")])
        if here:
            folder, _, emd = here[0].rpartition("/")
            root = Root(f"{folder}/" if folder else "", emd)
            return root, list(_oddities(root, names, definitions))
    if definitions:
        hint = "Put the .emd at the root of the package."
        raise PackageRefused([error("emd.place", definitions[0], "the model definition lies too deep.", hint)])
    hint = "Put the .emd beside the model file at the root of the package."
    raise PackageRefused([error("emd.missing", "package", "there is no .emd file in the package.", hint)])


def _oddities(root: Root, names: list[str], definitions: list[str]) -> Iterator[Finding]:
    if root.prefix:
        outside = sum(not name.startswith(root.prefix) for name in names)
        message = f"the package lies in a folder; {outside} files outside of it are ignored."
        yield warning("zip.top_folder", root.prefix.rstrip("/"), message, "Pack the files, not their folder.")
    for name in definitions:
        if name.startswith(root.prefix) and name != root.prefix + root.emd:
            yield warning("emd.extra", name, f"it is ignored; {root.emd} is the definition.")


def read_contents(source: Source) -> tuple[Contents, list[Finding]]:
    """Find and read the definition and, when there is one, the raster function.

    Raises:
        PackageRefused: There is no definition that could be judged further.
    """
    root, findings = find_root(source)
    prefix = root.prefix
    members = tuple(
        Member(member.name.removeprefix(prefix), member.size)
        for member in source.members()
        if member.name.startswith(prefix)
    )
    parsed = parse_definition(_read_bounded(source, prefix + root.emd, MAX_BYTES + 1), root.emd)
    if parsed.definition is None:
        raise PackageRefused([*findings, *parsed.findings])
    contents = Contents(source, root, members, parsed.definition)
    contents, function_findings = _with_function(contents)
    contents, type_findings = _with_model_type(contents)
    return contents, [*findings, *parsed.findings, *function_findings, *type_findings]


def _read_bounded(source: Source, name: str, most: int) -> bytes:
    content = bytearray()
    for piece in source.stream(name):
        content += piece
        if len(content) >= most:
            break
    return bytes(content[:most])


def _with_function(contents: Contents) -> tuple[Contents, list[Finding]]:
    name = contents.function_name
    if name is None or not name.lower().endswith(".py"):
        return contents, []
    try:
        facts = inspect_function(_read_bounded(contents.source, contents.root.prefix + name, MAX_BYTES), name)
    except FunctionFault as fault:
        hint = "The class must be called as its file, or be the only one that defines getParameterInfo."
        return contents, [error(fault.code, name, str(fault), hint if fault.code == "function.class" else "")]
    return replace(contents, function=facts), []


def _with_model_type(contents: Contents) -> tuple[Contents, list[Finding]]:
    definition = contents.definition
    # A wrong type was reported already; only a missing one is inferred.
    if definition.model_type is not None or definition.keys.get("ModelType") is not None:
        return contents, []
    where = f"{contents.root.emd}: ModelType"
    kind = infer_model_type(definition, contents.function)
    if kind is None:
        hint = "Write ModelType: ObjectDetection, ImageClassification or another known type."
        return contents, [error("emd.model_type", where, "ModelType is missing and nothing tells it.", hint)]
    finding = warning("emd.model_type", where, f"ModelType is missing; {kind} is assumed.", f"Write {kind}.")
    return replace(contents, definition=replace(definition, model_type=kind)), [finding]
