"""From the text of a definition to the typed value, with a finding for each key that cannot be taken as it is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue, ValidationError

from dlpk import strict_json
from dlpk.class_table import read_classes
from dlpk.definition import (
    WELL_KNOWN_BANDS,
    Definition,
    NormalizationStats,
)
from dlpk.extension import EXTENSION_KEY, Extension
from dlpk.findings import Finding, error
from dlpk.model_types import read_model_type
from dlpk.names import normalize_reference

# The largest tile side, a guess: 3 GB of float32 with three bands.
MAX_SIDE = 16_384
MAX_BANDS = 1_024
MAX_BATCH = 4_096
MAX_TEXT = 100_000

_BAND_KEY_MARK = "WellKnownBandNames"
_PLACEHOLDER_KEYS = ("Framework", "ModelConfiguration", "ModelType", "ModelFile", "ExtractBands")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A definition as far as it could be read, and what is wrong with it."""

    definition: Definition | None
    findings: tuple[Finding, ...]


def parse_definition(data: bytes | str, name: str = "model.emd") -> Parsed:
    """Read a definition. `name` is what findings call the file.

    A byte order mark and Windows line ends are accepted. Unknown keys are kept in `Definition.keys`.
    """
    try:
        keys = strict_json.parse(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    except strict_json.JsonFault as fault:
        where = f"{name}:{fault.line}:{fault.column}" if fault.line else name
        return Parsed(None, (error(fault.code, where, fault.message, fault.hint),))
    if not isinstance(keys, dict):
        message = f"the definition is {_kind(keys)} instead of an object."
        return Parsed(None, (error("emd.json", f"{name}:1:1", message, "It must begin with `{`."),))
    if is_template(keys):
        message = "this describes exported training chips, it is not a model."
        hint = "Use the .emd that was written beside the trained model file."
        return Parsed(None, (error("emd.template", name, message, hint),))
    reader = KeyReader(keys, name)
    return Parsed(_read(reader), tuple(reader.findings))


def is_template(keys: Mapping[str, JsonValue]) -> bool:
    """Tell whether this is `esri_model_definition.emd`, written beside exported training chips."""
    placeholders = (keys.get(key) for key in _PLACEHOLDER_KEYS)
    # The older form has placeholders, the newer real numbers.
    if any(isinstance(value, str) and value.startswith("e.g. ") for value in placeholders):
        return True
    return "ModelFile" not in keys and any(key.startswith(_BAND_KEY_MARK) for key in keys)


@dataclass(slots=True)
class KeyReader:
    """Takes typed values from the keys of a definition and notes what it could not take."""

    keys: Mapping[str, JsonValue]
    name: str
    findings: list[Finding] = field(default_factory=list)

    def refuse(self, code: str, key: str, message: str, hint: str = "") -> None:
        """Note an error about a key."""
        self.findings.append(error(code, f"{self.name}: {key}", message, hint))

    def text(self, key: str, code: str = "emd.value") -> str | None:
        """Take a text; an empty one counts as absent."""
        value = self.keys.get(key)
        if isinstance(value, str) and len(value) <= MAX_TEXT:
            return value.strip() or None
        if value is not None:
            self.refuse(code, key, f"{key} is {_kind(value)}; a text is expected.")
        return None

    def whole(self, key: str, code: str, *, low: int, high: int) -> int | None:
        """Take a whole number within bounds; 256.0 counts, `"256"` and true do not."""
        value = self.keys.get(key)
        if value is None:
            return None
        # JavaScript and R write 256.0.
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, int) and not isinstance(number, bool) and low <= number <= high:
            return number
        self.refuse(code, key, f"{key} is {_kind(value)}; a whole number from {low} to {high} is expected.")
        return None

    def number(self, key: str, *, low: float, high: float) -> float | None:
        """Take a number within bounds."""
        value = self.keys.get(key)
        if value is None:
            return None
        if _is_number(value) and low <= float(value) <= high:  # type: ignore[arg-type]
            return float(value)  # type: ignore[arg-type]
        self.refuse("emd.value", key, f"{key} is {_kind(value)}; a number from {low:g} to {high:g} is expected.")
        return None

    def flag(self, key: str) -> bool | None:
        """Take a truth value; 0 and 1 count."""
        value = self.keys.get(key)
        if value is None:
            return None
        if isinstance(value, (bool, int, float)) and value in {0, 1}:
            return bool(value)
        self.refuse("emd.value", key, f"{key} is {_kind(value)}; 0, 1, true or false is expected.")
        return None

    def numbers(self, values: JsonValue) -> tuple[float, ...] | None:
        """Take a list of numbers, or None when it is anything else."""
        if isinstance(values, list) and all(_is_number(value) for value in values):
            return tuple(float(value) for value in values)  # type: ignore[arg-type]
        return None


def _read(reader: KeyReader) -> Definition:
    classes, class_findings = read_classes(reader.keys.get("Classes"), reader.name)
    reader.findings += class_findings
    bands = _read_bands(reader)
    model_type, type_findings = read_model_type(reader.keys.get("ModelType"), reader.name)
    reader.findings += type_findings
    height = reader.whole("ImageHeight", "emd.image_size", low=1, high=MAX_SIDE)
    width = reader.whole("ImageWidth", "emd.image_size", low=1, high=MAX_SIDE)
    return Definition(
        model_type=model_type,
        framework=reader.text("Framework", "emd.framework"),
        model_configuration=_read_configuration(reader),
        model_name=reader.text("ModelName"),
        model_file=_read_reference(reader, "ModelFile", "model_file.path"),
        model_files=_read_references(reader, "ModelFiles"),
        inference_function=_read_reference(reader, "InferenceFunction", "function.path"),
        image_height=height or 0,
        image_width=width or 0,
        extract_bands=bands,
        data_range=_read_data_range(reader),
        batch_size=reader.whole("BatchSize", "emd.batch_size", low=1, high=MAX_BATCH),
        model_padding=_read_model_padding(reader, min(height or MAX_SIDE, width or MAX_SIDE)),
        padding=reader.whole("Padding", "emd.value", low=0, high=MAX_SIDE),
        threshold=reader.number("Threshold", low=0, high=1),
        classes=classes,
        normalization_stats=_read_stats(reader, bands),
        is_multispectral=bool(reader.flag("IsMultispectral")),
        supports_variable_tile_size=bool(reader.flag("SupportsVariableTileSize")),
        min_cell_size=_read_cell_size(reader, "MinCellSize"),
        max_cell_size=_read_cell_size(reader, "MaxCellSize"),
        crop_size_fixed=reader.flag("CropSizeFixed"),
        blacken_around_feature=reader.flag("BlackenAroundFeature"),
        image_space=reader.text("ImageSpaceUsed"),
        description=reader.text("Description"),
        version=_read_version(reader),
        extension=_read_extension(reader),
        keys=dict(reader.keys),
    )


def _read_configuration(reader: KeyReader) -> str | None:
    value = reader.keys.get("ModelConfiguration")
    if isinstance(value, dict):
        value = value.get("Name")
    if value is None or isinstance(value, str):
        return value.strip() or None if value else None
    message = f"ModelConfiguration is {_kind(value)}; a name, or an object with Name, is expected."
    reader.refuse("emd.model_configuration", "ModelConfiguration", message)
    return None


def _read_reference(reader: KeyReader, key: str, code: str) -> str | None:
    value = reader.text(key, code)
    # `[Functions]System\...` names a built-in of other software, not a file.
    return normalize_reference(value) if value else None


def _read_references(reader: KeyReader, key: str) -> tuple[str, ...]:
    values = reader.keys.get(key)
    if values is None:
        return ()
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return tuple(normalize_reference(str(value)) for value in values)
    reader.refuse("model_file.path", key, f"{key} is {_kind(values)}; a list of file names is expected.")
    return ()


def _read_bands(reader: KeyReader) -> tuple[int | str, ...]:
    value = reader.keys.get("ExtractBands")
    if value is None:
        return ()
    bands = value if isinstance(value, list) else []
    faults = [fault for band in bands[: MAX_BANDS + 1] if (fault := _fault_of_band(band))]
    if not bands or len(bands) > MAX_BANDS:
        faults = [f"ExtractBands is {_kind(value)}; a list of 1 to {MAX_BANDS} bands is expected"]
    elif not faults and len(set(map(str, bands))) < len(bands):
        faults = [f"ExtractBands names a band twice: {bands[:20]}"]
    elif not faults and len({isinstance(band, str) for band in bands}) > 1:
        faults = [f"ExtractBands mixes indexes and names: {bands[:20]}"]
    for fault in faults[:3]:
        reader.refuse("emd.extract_bands", "ExtractBands", f"{fault}.", "Indexes count from 0.")
    return () if faults else tuple(band if isinstance(band, str) else int(band) for band in bands)  # type: ignore[arg-type]


def _fault_of_band(band: JsonValue) -> str | None:
    if isinstance(band, str):
        if band in WELL_KNOWN_BANDS:
            return None
        near = difflib.get_close_matches(band[:40], WELL_KNOWN_BANDS, 1)
        return f"{band[:40]!r} is not a well-known band name" + (f"; is {near[0]} meant?" if near else "")
    if isinstance(band, int) and not isinstance(band, bool) and 0 <= band < MAX_BANDS:
        return None
    return f"{_kind(band)} is not a band index from 0 to {MAX_BANDS - 1}"


def _read_data_range(reader: KeyReader) -> tuple[float, float] | None:
    value = reader.keys.get("DataRange")
    if value is None:
        return None
    numbers = reader.numbers(value)
    if numbers is not None and len(numbers) == 2 and numbers[0] < numbers[1]:
        return numbers[0], numbers[1]
    reader.refuse("emd.data_range", "DataRange", f"DataRange is {_kind(value)}; two ascending numbers are expected.")
    return None


def _read_model_padding(reader: KeyReader, side: int) -> int:
    padding = reader.whole("ModelPadding", "emd.model_padding", low=0, high=MAX_SIDE) or 0
    # The model loses this border on both sides.
    if 2 * padding < side:
        return padding
    message = f"ModelPadding {padding} on both sides leaves nothing of a tile of {side} pixels."
    reader.refuse("emd.model_padding", "ModelPadding", message)
    return 0


def _read_cell_size(reader: KeyReader, key: str) -> float | None:
    value = reader.keys.get(key)
    # Units are those of the object's spatial reference; x and y differ only in degrees.
    size = value.get("x") if isinstance(value, dict) else value
    if size is None:
        return None
    if _is_number(size) and float(size) > 0:  # type: ignore[arg-type]
        return float(size)  # type: ignore[arg-type]
    reader.refuse("emd.value", key, f"{key} is {_kind(value)}; an object with a positive x is expected.")
    return None


def _read_version(reader: KeyReader) -> str | None:
    value = reader.keys.get("Version")
    # 2024.9 is often written without quotes.
    return str(value) if _is_number(value) else reader.text("Version")


def _read_extension(reader: KeyReader) -> Extension | None:
    value = reader.keys.get(EXTENSION_KEY)
    if value is None:
        return None
    try:
        return Extension.model_validate(value)
    except ValidationError as faults:
        for fault in faults.errors(include_url=False, include_context=False, include_input=False)[:10]:
            place = ".".join(str(part) for part in (EXTENSION_KEY, *fault["loc"]))
            reader.refuse("emd.extension", place, f"{fault['msg']}.", "See docs/extension.md.")
    return None


def _read_stats(reader: KeyReader, bands: tuple[int | str, ...]) -> NormalizationStats | None:
    value = reader.keys.get("NormalizationStats")
    if value is None:
        return None
    key = "NormalizationStats"
    if not isinstance(value, dict):
        reader.refuse("emd.normalization_stats", key, f"{key} is {_kind(value)}; an object is expected.")
        return None
    arrays: dict[str, tuple[float, ...] | None] = {}
    for name in NormalizationStats.__dataclass_fields__:
        arrays[name] = reader.numbers(value.get(name))
        if arrays[name] is None and value.get(name) is not None:
            reader.refuse("emd.normalization_stats", f"{key}.{name}", f"{_kind(value[name])} is not a list of numbers.")
    for place, fault in _faults_of_stats(arrays, bands):
        reader.refuse("emd.normalization_stats", f"{key}.{place}", fault)
    return NormalizationStats(**arrays)


def _faults_of_stats(
    arrays: Mapping[str, tuple[float, ...] | None], bands: tuple[int | str, ...]
) -> list[tuple[str, str]]:
    # The arrays cover all bands of the training data and are indexed by ExtractBands.
    needed = max((band + 1 if isinstance(band, int) else len(bands) for band in bands), default=0)
    faults = [
        (name, f"it has {len(array)} entries; the bands of ExtractBands need {needed}.")
        for name, array in arrays.items()
        if array is not None and len(array) < needed
    ]
    low, high = arrays["band_min_values"], arrays["band_max_values"]
    if low and high:
        empty = [index for index, pair in enumerate(zip(low, high, strict=False)) if pair[0] >= pair[1]]
        used = [index for index in empty if index in bands or isinstance(next(iter(bands), 0), str)]
        faults += [("band_max_values", f"the maximum of band {index} is not above its minimum.") for index in used[:5]]
    scaled = arrays["scaled_std_values"] or ()
    flat = [index for index, value in enumerate(scaled) if value <= 0 and index in bands]
    return faults + [("scaled_std_values", f"the deviation of band {index} is not above 0.") for index in flat[:5]]


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: JsonValue) -> str:
    """Describe a value in a few words that are safe to show."""
    if isinstance(value, list):
        return f"a list of {len(value)}" if len(value) > 4 else f"the list {value!a:.60}"
    if isinstance(value, dict):
        return "an object"
    return f"{re.sub(r'[^ -~]', '?', repr(value))[:60]}"
