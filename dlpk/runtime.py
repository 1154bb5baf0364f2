"""Rules for what can run a package here: which model files run natively, and the way out for the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from dlpk.contents import BUILT_IN, Contents
from dlpk.definition import DETECTION_TYPES, PIXEL_TYPES, Definition, ModelType
from dlpk.extension import EXTENSION_KEY, Decoder, NetworkInput
from dlpk.findings import Finding, error, warning
from dlpk.names import fault_of_name, normalize_reference
from dlpk.weights import Weights, WeightsKind

# What a native runtime can run, given the definition says enough.
NATIVE_KINDS = frozenset(
    {
        WeightsKind.ONNX,
        WeightsKind.EXPORTED_PROGRAM,
        WeightsKind.SAFETENSORS,
        WeightsKind.STATE_DICT,
    }
)

_NAMELESS_KINDS = frozenset({WeightsKind.SAFETENSORS, WeightsKind.STATE_DICT})
_ARCGIS_LEARN = "arcgis.learn"
_EXPORT_HINT = f"Export the network to ONNX or with torch.export, name that file in ModelFile, and add {EXTENSION_KEY}."
_TENSORFLOW_SUFFIXES = frozenset({".pb", ".h5", ".keras"})


def check_runtime(contents: Contents) -> Iterator[Finding]:
    """The model file must be what it claims, and something here must be able to run it."""
    weights = contents.identify_model()
    where = contents.definition.model_file or ""
    if weights is not None and weights.kind is WeightsKind.GIT_LFS:
        hint = "Run `git lfs pull` and build the package again."
        yield error("model_file.git_lfs", where, "the model file is a git-lfs pointer, not the weights.", hint)
        return
    if weights is not None:
        yield from _check_content(contents, weights, where)
    if contents.runs_function:
        yield from _check_for_function(contents, weights, where)
    elif weights is not None and not weights.faults:
        yield from _check_native(contents.definition, weights, where)
    elif weights is None and not contents.definition.inference_function:
        yield from _check_unread(contents.definition)


def _check_content(contents: Contents, weights: Weights, where: str) -> Iterator[Finding]:
    for fault in weights.faults:
        yield error("weights.damaged", where, f"the file is damaged: {fault}.", "Export or copy the file again.")
    if weights.kind in {WeightsKind.NATIVE_LIBRARY, WeightsKind.TENSORRT}:
        message = f"the model file is a {weights.kind}, which is machine code."
        yield error("weights.native_code", where, message, "Put the ONNX file it was built from into the package.")
    # ONNX counts these from the folder of the model, not of the package.
    base = where.rpartition("/")[0]
    for location in weights.external_files:
        name = normalize_reference(f"{base}/{location}" if base else location)
        if fault_of_name(name) or name not in {member.name for member in contents.members}:
            message = f"tensors lie in {location[:100]!a}, which is not in the package."
            yield error("weights.external_data", where, message, "Add the file beside the model file.")


def _check_for_function(contents: Contents, weights: Weights | None, where: str) -> Iterator[Finding]:
    """A function loads its own weights: say what that means, and refuse what cannot work."""
    if (contents.definition.framework or "").startswith(_ARCGIS_LEARN):
        yield _arcgis_learn(contents.definition, where)
    if weights is not None and weights.kind in {WeightsKind.PICKLE, WeightsKind.TORCHSCRIPT, WeightsKind.HDF5}:
        yield _code_in_weights(weights, where)


def _code_in_weights(weights: Weights, where: str) -> Finding:
    runs = f": {', '.join(weights.runs[:5])}" if weights.runs else ""
    message = f"loading this {weights.kind} can run code of its author{runs}."
    return warning("weights.code", where, message, "ONNX, safetensors or a plain state dict cannot.")


def _check_native(definition: Definition, weights: Weights, where: str) -> Iterator[Finding]:
    if weights.kind not in NATIVE_KINDS:
        yield _unsupported(definition, weights, where)
        return
    if definition.model_type is ModelType.PANOPTIC_SEGMENTER:
        message = "the package is sound, but panoptic models run only with a Python raster function."
        yield error("runtime.unsupported", where, message)
        return
    yield from _check_architecture(definition, weights, where)
    yield from _check_decoder(definition, where)
    yield from _check_inputs(definition, weights, where)


def _check_architecture(definition: Definition, weights: Weights, where: str) -> Iterator[Finding]:
    extension = definition.extension
    if weights.kind not in _NAMELESS_KINDS or (extension is not None and extension.architecture is not None):
        return
    if (definition.framework or "").startswith(_ARCGIS_LEARN):
        yield _arcgis_learn(definition, where)
        return
    message = f"a {weights.kind} holds numbers without the network they belong to."
    hint = f"Name the network in {EXTENSION_KEY}.Architecture, or export it to ONNX."
    yield error("runtime.architecture", where, message, hint)


def _check_decoder(definition: Definition, where: str) -> Iterator[Finding]:
    """Detectors differ in what they give, so theirs is never guessed; pixels and crops are plain scores."""
    kind = definition.model_type
    extension = definition.extension
    output = extension.output if extension else None
    # torchvision's detectors all give their boxes in one way, so naming one is enough.
    is_named = extension is not None and extension.architecture is not None
    key = f"{EXTENSION_KEY}.Output.Decoder"
    if kind in DETECTION_TYPES and output is None and not is_named:
        choices = ", ".join(decoder for decoder in Decoder if decoder is not Decoder.PIXELS)
        message = "the package is sound, but does not say how boxes are read from the network's output."
        yield error("runtime.decoder", where, message, f"Write {key}: one of {choices} (docs/extension.md).")
    elif output is not None and (output.decoder is Decoder.PIXELS) != (kind not in DETECTION_TYPES):
        yield error("runtime.decoder", where, f"the decoder {output.decoder} does not fit the type {kind}.")
    elif output is not None and kind in PIXEL_TYPES and output.box_units == "normalized":
        yield warning("runtime.decoder", where, "BoxUnits means nothing for a model that classifies pixels.")


def _check_inputs(definition: Definition, weights: Weights, where: str) -> Iterator[Finding]:
    """One tensor takes the bands, or two take those of the earlier and of the later date."""
    declared = definition.extension.input if definition.extension else NetworkInput()
    wanted = declared.names or ((declared.name,) if declared.name else ())
    key = f"{EXTENSION_KEY}.Input"
    if declared.names and (declared.name or declared.names[0] == declared.names[1]):
        message = "Names are two different tensors, those of the earlier and of the later date, and stand without Name."
        yield error("runtime.inputs", where, message, f"Write {key}.Names for two dates, {key}.Name for one tensor.")
        return
    count = len(weights.inputs) or len(wanted)
    if weights.inputs and (missing := [name for name in wanted if name not in weights.inputs]):
        listed = ", ".join(map(repr, weights.inputs))
        yield error("runtime.inputs", where, f"the network has no input {missing[0][:100]!a}; it has {listed}.")
    elif count > 2 or (count == 2 and (definition.model_type not in PIXEL_TYPES or len(wanted) == 1)):
        message = f"the network has {count} inputs; one is fed, or two of a model that finds changes in pixels."
        yield error("runtime.inputs", where, message, f"Name both dates in {key}.Names, or export it with one input.")
    elif count == 2 and len(definition.extract_bands or ()) % 2:
        message = f"ExtractBands names {len(definition.extract_bands or ())} bands, which cannot be two dates."
        yield error("runtime.inputs", where, message, "Name the bands of the earlier date, then those of the later.")


def _unsupported(definition: Definition, weights: Weights, where: str) -> Finding:
    if (definition.framework or "").startswith(_ARCGIS_LEARN):
        return _arcgis_learn(definition, where)
    if weights.kind is WeightsKind.PICKLE:
        names = ", ".join(weights.runs[:5])
        hint = "Export a state dict (`torch.save(model.state_dict(), ...)`), or better ONNX."
        return error("weights.code", where, f"loading this pickle runs code: it imports {names}.", hint)
    # Compressed joblib files are pickles that no scanner looks into.
    if weights.kind is WeightsKind.COMPRESSED:
        return error("runtime.unsupported", where, "the model file is compressed; what is in it is not looked at.")
    if weights.kind is WeightsKind.TORCHSCRIPT:
        message = "the package is sound, but TorchScript is code, which only a Python raster function may load."
        return error("runtime.unsupported", where, message, _EXPORT_HINT)
    framework = definition.framework or "an unknown framework"
    message = f"the package is sound, but no runtime here runs this {weights.kind} of {framework}."
    is_tensorflow = weights.kind is WeightsKind.SAVED_MODEL or PurePosixPath(where).suffix in _TENSORFLOW_SUFFIXES
    hint = f"Convert it with tf2onnx, name the ONNX file in ModelFile, and add {EXTENSION_KEY}."
    return error("runtime.unsupported", where, message, hint if is_tensorflow else _EXPORT_HINT)


def _arcgis_learn(definition: Definition, where: str) -> Finding:
    """These weights are a learner's state; only the exports beside them stand for themselves."""
    # Keys that its save() writes beside the learner's state.
    exports = []
    for key in ("ONNX", "TorchScript"):
        group = definition.keys.get(key)
        exports += [str(name) for name in group.values()] if isinstance(group, dict) else []
    hint = f"Save it with framework='onnx' or 'torchscript', name that file in ModelFile, and add {EXTENSION_KEY}."
    if exports:
        hint = f"Its export {exports[0][:100]!a} stands for itself: name it in ModelFile, and add {EXTENSION_KEY}."
    message = "the weights were saved by arcgis.learn and can only be read by it."
    return error("runtime.arcgis_learn", where or "ModelFile", message, hint)


def _check_unread(definition: Definition) -> Iterator[Finding]:
    """Nothing was found to run; a missing model file was reported already."""
    built_in = definition.keys.get("InferenceFunction")
    if isinstance(built_in, str) and built_in.lower().startswith(BUILT_IN):
        yield error(
            "runtime.unsupported", "InferenceFunction", f"{built_in[:80]!a} is not available here.", _EXPORT_HINT
        )
