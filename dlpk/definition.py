"""The model definition (.emd) as a typed value; unknown keys are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from dlpk.extension import Extension


class ModelType(StrEnum):
    """The kinds of model that work on rasters."""

    OBJECT_DETECTION = "ObjectDetection"
    INSTANCE_DETECTION = "InstanceDetection"
    IMAGE_CLASSIFICATION = "ImageClassification"
    OBJECT_CLASSIFICATION = "ObjectClassification"
    CHANGE_DETECTION = "ChangeDetection"
    PANOPTIC_SEGMENTER = "PanopticSegmenter"


PIXEL_TYPES = frozenset({ModelType.IMAGE_CLASSIFICATION, ModelType.CHANGE_DETECTION})
DETECTION_TYPES = frozenset({ModelType.OBJECT_DETECTION, ModelType.INSTANCE_DETECTION, ModelType.PANOPTIC_SEGMENTER})

# Names that `ExtractBands` may hold instead of indexes.
WELL_KNOWN_BANDS = (
    "Red",
    "Green",
    "Blue",
    "Infrared",
    "CoastalBlue",
    "Yellow",
    "RedEdge",
    "ShortWaveInfrared",
    "NearInfrared",
    "NearInfrared_1",
    "NearInfrared_2",
    "MidInfrared",
    "MidInfrared_1",
    "MidInfrared_2",
    "Thermal",
    "Thermal_1",
    "Thermal_2",
    "Panchromatic",
    "PseudoRed",
    "PseudoGreen",
    "PseudoBlue",
    "QA",
)


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """One row of `Classes`."""

    value: int
    name: str
    color: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class NormalizationStats:
    """Statistics per training band, indexed by ExtractBands; an array may be absent."""

    band_min_values: tuple[float, ...] | None = None
    band_max_values: tuple[float, ...] | None = None
    band_mean_values: tuple[float, ...] | None = None
    band_std_values: tuple[float, ...] | None = None
    scaled_min_values: tuple[float, ...] | None = None
    scaled_max_values: tuple[float, ...] | None = None
    scaled_mean_values: tuple[float, ...] | None = None
    scaled_std_values: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Definition:
    """What an .emd says, with the names of its keys in our spelling."""

    model_type: ModelType | None = None
    framework: str | None = None
    model_configuration: str | None = None
    """The name; from `ModelConfiguration` as text or its `Name`."""
    model_name: str | None = None
    model_file: str | None = None
    """Relative to the .emd, with `/` as separator."""
    inference_function: str | None = None
    image_height: int = 0
    image_width: int = 0
    extract_bands: tuple[int | str, ...] = ()
    data_range: tuple[float, float] | None = None
    batch_size: int | None = None
    model_padding: int = 0
    padding: int | None = None
    threshold: float | None = None
    classes: tuple[ClassEntry, ...] = ()
    normalization_stats: NormalizationStats | None = None
    is_multispectral: bool = False
    supports_variable_tile_size: bool = False
    min_cell_size: float | None = None
    max_cell_size: float | None = None
    crop_size_fixed: bool | None = None
    """ObjectClassification: crop a window of ImageWidth x ImageHeight instead of the feature's rectangle."""
    blacken_around_feature: bool | None = None
    image_space: str | None = None
    """`MAP_SPACE` or `PIXEL_SPACE`."""
    description: str | None = None
    version: str | None = None
    model_files: tuple[str, ...] = ()
    """Several model files, when `ModelFile` is `.`."""
    extension: Extension | None = None
    keys: Mapping[str, JsonValue] = field(default_factory=dict)
    """Every key as it was read, known or not."""


def class_values(definition: Definition) -> tuple[tuple[int, ...], str]:
    """Give the `Value` that each index of the network stands for, and the rule in words.

    Pixel classifiers give an index per pixel; detectors and object classifiers give a position in `Classes`.
    """
    values = tuple(entry.value for entry in definition.classes)
    if definition.model_type not in PIXEL_TYPES:
        return values, "class k of the network, counted from 0, is the k-th entry of Classes, whatever its Value"
    if 0 in values:
        return values, "Values contain 0: index i of the network is the Value of the i-th entry of Classes"
    return (
        0,
        *values,
    ), "no Value is 0: index 0 of the network is the background 0, index i is the (i-1)-th entry's Value"
