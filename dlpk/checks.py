"""The rules for what a package says, one small function a rule; all faults are collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dlpk.contents import BUILT_IN, Contents
from dlpk.definition import DETECTION_TYPES, PIXEL_TYPES, ModelType
from dlpk.extension import EXTENSION_KEY
from dlpk.findings import Finding, error, info, warning
from dlpk.imports import missing_imports
from dlpk.names import fault_of_name
from dlpk.runtime import check_runtime
from dlpk.weights import is_native_code

Rule = Callable[[Contents], Iterator[Finding]]

BIG_FILE_BYTES = 10 * 2**20
_PIXEL_METHOD, _FEATURE_METHOD = "updatePixels", "vectorize"


def check_contents(contents: Contents) -> list[Finding]:
    """Apply every rule."""
    return [finding for rule in RULES for finding in rule(contents)]


def _at(contents: Contents, key: str) -> str:
    return f"{contents.root.emd}: {key}"


def _is_absent(contents: Contents, key: str) -> bool:
    # What is there but of a wrong kind was reported when it was read; an empty text reads as absent.
    value = contents.definition.keys.get(key)
    return value is None or (isinstance(value, str) and not value.strip())


def check_image_size(contents: Contents) -> Iterator[Finding]:
    """ImageHeight and ImageWidth must be there; wrong ones were reported when read."""
    for key in ("ImageHeight", "ImageWidth"):
        # Wrong values were reported when they were read; this is about absence.
        if contents.definition.keys.get(key) is None:
            hint = "Write the side of the tile in pixels, for instance 256."
            yield error("emd.image_size", _at(contents, key), f"{key} is missing.", hint)


def check_extract_bands(contents: Contents) -> Iterator[Finding]:
    """ExtractBands must be there, except for functions, which may choose themselves."""
    if contents.definition.keys.get("ExtractBands") is None:
        severity = warning if contents.definition.inference_function else error
        message = "ExtractBands is missing; which bands in which order?"
        yield severity("emd.extract_bands", _at(contents, "ExtractBands"), message, "Write for instance [0, 1, 2].")


def check_framework(contents: Contents) -> Iterator[Finding]:
    """Framework must be there unless a function or our extension says how to run."""
    definition = contents.definition
    if definition.framework or definition.inference_function or not _is_absent(contents, "Framework"):
        return
    where, message = _at(contents, "Framework"), "Framework is missing."
    if definition.extension is None:
        yield error("emd.framework", where, message, f'Write "Framework": "ONNX", or add {EXTENSION_KEY}.')
    else:
        yield warning("emd.framework", where, message, "Other software needs it.")


def check_classes(contents: Contents) -> Iterator[Finding]:
    """Everything that names what it finds needs a class table."""
    value = contents.definition.keys.get("Classes")
    if value is None or value == []:
        hint = "Write [{Value, Name, Color}, ...] in the order of the network's classes."
        yield error("emd.classes", _at(contents, "Classes"), "Classes is missing or empty.", hint)


def check_model_file(contents: Contents) -> Iterator[Finding]:
    """ModelFile must name a file or folder in the package, or a function must do without."""
    definition = contents.definition
    where = _at(contents, "ModelFile")
    if definition.model_file is None:
        if contents.function is None and _is_absent(contents, "ModelFile"):
            yield error("model_file.missing", where, "ModelFile is missing.", "Name the trained model file.")
        elif _is_absent(contents, "ModelFile"):
            yield warning("model_file.missing", where, "ModelFile is missing; the function must find its weights.")
        return
    references = definition.model_files if definition.model_file in {".", ""} else (definition.model_file,)
    if not references:
        yield error("model_file.missing", where, "ModelFile is the folder itself.", "Name the model file.")
    for reference in references:
        yield from _check_reference(contents, reference, where, "model_file")


def _check_reference(contents: Contents, reference: str, where: str, family: str) -> Iterator[Finding]:
    if fault := fault_of_name(reference):
        hint = "Put the file into the package and name it relative to the .emd."
        yield error(f"{family}.path", where, f"{reference[:100]!a} cannot be in a package: {fault}.", hint)
        return
    found = contents.resolve(reference)
    if found is None and not contents.inside(reference):
        hint = "Add the file to the package, or correct the name."
        yield error(f"{family}.missing", where, f"{reference!r} is not in the package.", hint)
    elif found is not None and found != reference:
        message = f"{reference!r} is found as {found!r}."
        yield warning("model_file.case", where, message, "Write it as the file is called.")


def check_function(contents: Contents) -> Iterator[Finding]:
    """InferenceFunction must name a Python file of the package with the methods its type needs."""
    reference = contents.definition.inference_function
    if reference is None or reference.lower().startswith(BUILT_IN):
        return
    where = _at(contents, "InferenceFunction")
    if not reference.lower().endswith(".py"):
        hint = "Only Python source is accepted, no .pyc and no .pyd."
        yield error("function.path", where, f"{reference[:100]!a} is not a .py file.", hint)
        return
    if contents.declares_output and contents.function_name is None:
        yield info("function.ignored", where, f"{EXTENSION_KEY} says how to run the model; the function is not used.")
        return
    yield from _check_reference(contents, reference, where, "function")
    if contents.function is not None and contents.function_name is not None:
        yield from _check_methods(contents, contents.function_name)
        yield from _describe_code(contents, contents.function_name)


def _check_methods(contents: Contents, name: str) -> Iterator[Finding]:
    function, kind = contents.function, contents.definition.model_type
    # A base class in another file may bring the methods.
    if function is None or function.has_foreign_base:
        return
    # What the host calls for this type, and never more.
    needed = {"getParameterInfo"}
    if kind in PIXEL_TYPES:
        needed.add(_PIXEL_METHOD)
    elif kind in DETECTION_TYPES or kind is ModelType.OBJECT_CLASSIFICATION:
        needed.add(_FEATURE_METHOD)
    for method in sorted(needed - function.methods):
        yield error("function.class", name, f"class {function.class_name} has no method {method}, as {kind} needs.")


def _describe_code(contents: Contents, name: str) -> Iterator[Finding]:
    if contents.function is None:
        return
    listed = ", ".join(contents.function.imports) or "nothing"
    if not contents.runs_function:
        yield info("function.ignored", name, f"{EXTENSION_KEY} says how to run the model; the function is not used.")
        return
    message = f"the package runs Python code; it imports {listed}."
    yield warning("function.code", name, message, "It is not run here; a network exported as ONNX or torch.export is.")
    missing = missing_imports(contents.function.imports, contents.members)
    if missing:
        yield warning("function.imports", name, f"not available here: {', '.join(missing)}.")


def check_unused(contents: Contents) -> Iterator[Finding]:
    """Big files that the definition does not name make a package heavy for nothing."""
    if contents.function is not None:
        return
    text = repr(contents.definition.keys).lower()
    named = (contents.definition.model_file or "\0").lower()
    for member in contents.members:
        name = member.name.lower()
        if member.size > BIG_FILE_BYTES and not name.startswith(named) and name not in text:
            yield info("package.unused", member.name, f"{member.size} bytes that the definition does not name.")


def check_native_code(contents: Contents) -> Iterator[Finding]:
    """Libraries and TensorRT engines are machine code that nobody can look into."""
    for member in contents.members:
        if is_native_code(member.name):
            hint = "Remove it; engines are built on the machine that uses them."
            yield error("weights.native_code", member.name, "the package holds machine code.", hint)


RULES: tuple[Rule, ...] = (
    check_image_size,
    check_extract_bands,
    check_framework,
    check_classes,
    check_model_file,
    check_function,
    check_native_code,
    check_runtime,
    check_unused,
)
