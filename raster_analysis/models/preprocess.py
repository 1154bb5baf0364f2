"""Normalisation: which numbers a network wants to see instead of pixel values (dlpk 1.2 and 1.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dlpk.definition import Definition, NormalizationStats
from dlpk.extension import NetworkInput
from raster_analysis.errors import ModelError
from raster_analysis.models.declared import is_torchvision_detector

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The families of dlpk 1.8 by their `ModelName`.
_IMAGENET_FAMILIES = frozenset(
    {"UnetClassifier", "PSPNetClassifier", "DeepLab", "SingleShotDetector", "RetinaNet", "FeatureClassifier"}
)
_UNIT_FAMILIES = frozenset({"YOLOv3", "MaskRCNN"})
_CHANGE_FAMILY = "ChangeDetector"


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is done to pixels, band by band: `value * gain + bias`, after the stretch to `data_range` if any."""

    gain: tuple[float, ...]
    bias: tuple[float, ...]
    rule: str
    """Where the numbers come from, in words, for messages."""
    data_range: tuple[float, float] | None = None

    @property
    def is_identity(self) -> bool:
        """Return whether pixel values go to the network as they are."""
        return all(g == 1 for g in self.gain) and all(b == 0 for b in self.bias)

    def apply(self, tiles: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return tiles `(n, bands, rows, cols)` as the network wants them."""
        # In float32 throughout: what a graph of any runtime does as well.
        values = tiles.astype(np.float32)
        if not self.is_identity:
            values *= np.array(self.gain, np.float32)[:, None, None]
            values += np.array(self.bias, np.float32)[:, None, None]
        return values

    def stretch(self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]) -> npt.NDArray[np.generic]:
        """Return tiles stretched linearly from the raster's range to `data_range` and clipped to it (dlpk 1.2)."""
        if self.data_range is None:
            return tiles
        (low, high), (to_low, to_high) = value_range, self.data_range
        if not high > low:
            raise ModelError(f"DataRange cannot be applied: the raster's value range {low:g}..{high:g} is empty")
        factor = (to_high - to_low) / (high - low)
        values = tiles.astype(np.float32) * np.float32(factor) + np.float32(to_low - low * factor)
        stretched: npt.NDArray[np.generic] = np.clip(values, min(self.data_range), max(self.data_range))
        return stretched


def choose_normalisation(definition: Definition, bands: Sequence[int | str]) -> Normalisation:
    """Return the normalisation for a definition; raises ModelError when its numbers do not fit its bands."""
    explicit = definition.extension.input if definition.extension else NetworkInput()
    if (explicit.scale, explicit.mean, explicit.std) != (None, None, None):
        found = _from_extension(explicit, len(bands))
    elif explicit.data_type == "uint8":
        found = _affine([1.0] * len(bands), [0.0] * len(bands), "none: the network takes bytes")
    elif definition.normalization_stats is not None:
        found = _from_statistics(definition, definition.normalization_stats, bands)
    else:
        found = _from_family(definition, len(bands))
    return Normalisation(found.gain, found.bias, found.rule, definition.data_range)


def _from_extension(explicit: NetworkInput, count: int) -> Normalisation:
    scale = 1.0 if explicit.scale is None else explicit.scale
    if scale == 0:
        raise ModelError("RasterAnalysis.Input.Scale is 0, which would make every pixel the same")
    mean = _per_band(explicit.mean, count, "RasterAnalysis.Input.Mean") or (0.0,) * count
    std = _per_band(explicit.std, count, "RasterAnalysis.Input.Std") or (1.0,) * count
    gain = [scale / s for s in std]
    return _affine(gain, [-m / s for m, s in zip(mean, std, strict=True)], "RasterAnalysis.Input of the definition")


def _per_band(values: tuple[float, ...] | None, count: int, key: str) -> tuple[float, ...] | None:
    if values is not None and len(values) not in (1, count):
        raise ModelError(f"{key} has {len(values)} numbers and the model reads {count} bands")
    return values * count if values is not None and len(values) == 1 else values


def _from_family(definition: Definition, count: int) -> Normalisation:
    family = definition.model_name
    if family in _IMAGENET_FAMILIES:
        if count != len(IMAGENET_MEAN):
            raise ModelError(f"{family} without NormalizationStats needs 3 bands, not {count}")
        gain = [1 / 255 / s for s in IMAGENET_STD]
        bias = [-m / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
        return _affine(gain, bias, f"ImageNet mean and deviation, the rule of {family}")
    if family in _UNIT_FAMILIES:
        return _affine([1 / 255] * count, [0.0] * count, f"division by 255, the rule of {family}")
    if family == _CHANGE_FAMILY:
        return _affine([2 / 255] * count, [-1.0] * count, f"0..255 to -1..1, the rule of {family}")
    if is_torchvision_detector(definition):
        return _affine([1 / 255] * count, [0.0] * count, "division by 255: torchvision detectors normalise themselves")
    return _affine([1.0] * count, [0.0] * count, "none: the definition names no statistics and no known family")


def _from_statistics(definition: Definition, stats: NormalizationStats, bands: Sequence[int | str]) -> Normalisation:
    family = definition.model_name
    # Change models hold the two dates one after the other; statistics are those of the first (dlpk 1.8).
    used = [*bands[: len(bands) // 2]] * 2 if family == _CHANGE_FAMILY else list(bands)
    low, high = _pick(stats.band_min_values, used), _pick(stats.band_max_values, used)
    if low is None or high is None:
        return _from_mean_and_deviation(stats, used)
    if any(not b > a for a, b in zip(low, high, strict=True)):
        raise ModelError("NormalizationStats: band_max_values must be above band_min_values for every band used")
    mean, std = _scaled(stats, used, family)
    gain = [1 / (b - a) / s for a, b, s in zip(low, high, std, strict=True)]
    bias = [(-a / (b - a) - m) / s for a, b, m, s in zip(low, high, mean, std, strict=True)]
    return _affine(gain, bias, "NormalizationStats of the definition")


def _scaled(
    stats: NormalizationStats, bands: Sequence[int | str], family: str | None
) -> tuple[Sequence[float], Sequence[float]]:
    if family == _CHANGE_FAMILY:
        return [0.5] * len(bands), [0.5] * len(bands)
    mean, std = _pick(stats.scaled_mean_values, bands), _pick(stats.scaled_std_values, bands)
    if family == "MaskRCNN" or mean is None or std is None:
        return [0.0] * len(bands), [1.0] * len(bands)
    return mean, _positive(std, "scaled_std_values")


def _from_mean_and_deviation(stats: NormalizationStats, bands: Sequence[int | str]) -> Normalisation:
    mean, std = _pick(stats.band_mean_values, bands), _pick(stats.band_std_values, bands)
    if mean is None or std is None:
        raise ModelError(
            "NormalizationStats needs band_min_values and band_max_values, or band_mean_values and band_std_values"
        )
    positive = _positive(std, "band_std_values")
    bias = [-m / s for m, s in zip(mean, positive, strict=True)]
    return _affine([1 / s for s in positive], bias, "mean and deviation from NormalizationStats")


def _positive(values: Sequence[float], key: str) -> Sequence[float]:
    if min(values) <= 0:
        raise ModelError(f"NormalizationStats: {key} must be above 0, not {min(values):g}")
    return values


def _pick(values: tuple[float, ...] | None, bands: Sequence[int | str]) -> list[float] | None:
    """Return the statistics of the bands used: arrays cover all training bands (dlpk 1.2)."""
    if values is None:
        return None
    indexes = [band if isinstance(band, int) else position for position, band in enumerate(bands)]
    if max(indexes) >= len(values) or (any(isinstance(b, str) for b in bands) and len(values) != len(bands)):
        raise ModelError(f"NormalizationStats covers {len(values)} bands, which does not fit ExtractBands {[*bands]}")
    return [values[i] for i in indexes]


def _affine(gain: Sequence[float], bias: Sequence[float], rule: str) -> Normalisation:
    return Normalisation(tuple(gain), tuple(bias), rule)
