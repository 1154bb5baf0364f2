"""The head of a pixel classifier: how scores become class indexes or probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from raster_analysis.errors import ModelError

Activation = Literal["none", "softmax", "sigmoid"]
_SUM_TOLERANCE = 0.02  # three bits more than the rounding of bf16 probabilities

F = TypeVar("F", bound="np.floating[Any]")


@dataclass(frozen=True, slots=True)
class Head:
    """What is done to scores, per pixel. Runtimes that can do it inside their graph must give the same result."""

    channels: int
    channel_axis: Literal[1, 3]
    activation: Activation
    threshold: float
    """For a single channel: the probability above which a pixel is of the class."""
    skip_background: bool
    """Whether index 0 is never chosen."""
    probabilities: bool

    @property
    def label_type(self) -> type[np.uint8 | np.uint16]:
        """Return the smallest type that holds every class index."""
        return np.uint8 if self.channels <= 256 else np.uint16

    @property
    def cut(self) -> float:
        """Return the score above which a pixel of a single-channel network is of the class."""
        if self.activation == "none":
            return self.threshold
        # The logit of 0 and 1 is infinite.
        if self.threshold in (0, 1):
            return math.inf if self.threshold else -math.inf
        return math.log(self.threshold / (1 - self.threshold))

    def apply(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.generic]:
        """Return labels `(n, rows, cols)` or probabilities `(n, classes, rows, cols)` of scores."""
        planes = np.moveaxis(scores, self.channel_axis, 0)
        if self.channels == 1:
            return self._binary(planes[0])
        if self.probabilities:
            return self._probabilities(planes)
        return self._winners(planes)

    def _winners(self, planes: npt.NDArray[np.floating]) -> npt.NDArray[np.generic]:
        """Return the index of the highest plane; plane by plane, since argmax over a strided axis is far slower."""
        first = 1 if self.skip_background else 0
        best = planes[first].copy()
        labels = np.full(best.shape, first, self.label_type)
        for index in range(first + 1, self.channels):
            higher = planes[index] > best
            labels[higher] = index
            np.maximum(best, planes[index], out=best)
        return labels

    def _binary(self, scores: npt.NDArray[np.floating]) -> npt.NDArray[np.generic]:
        if not self.probabilities:
            return (scores > self.cut).astype(np.uint8)
        positive = scores if self.activation == "none" else sigmoid(scores)
        return np.stack([1 - positive, positive], axis=1).astype(np.float32)

    def _probabilities(self, planes: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        first = 1 if self.skip_background else 0
        values = planes[first:].astype(np.float32)
        if self.activation == "softmax":
            # The largest is taken away so that exp cannot overflow.
            values = np.exp(values - values.max(axis=0))
        elif self.activation == "sigmoid":
            values = sigmoid(values)
        if self.activation == "softmax" or first:
            values /= np.maximum(values.sum(axis=0), np.finfo(np.float32).tiny)
        if first:
            values = np.concatenate([np.zeros_like(values[:1]), values])
        return np.ascontiguousarray(np.moveaxis(values, 0, 1))


def are_probabilities(scores: npt.NDArray[np.floating], channel_axis: int) -> bool:
    """Return whether scores already lie in 0..1 and, for several classes, sum to 1."""
    if scores.min() < -_SUM_TOLERANCE or scores.max() > 1 + _SUM_TOLERANCE:
        return False
    return scores.shape[channel_axis] == 1 or bool(np.abs(scores.sum(axis=channel_axis) - 1).max() < _SUM_TOLERANCE)


def check_finite(name: str, values: npt.NDArray[np.generic], shape: tuple[int, ...] | None = None) -> None:
    """Raise ModelError when a tensor holds NaN or infinity."""
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise ModelError(
            f"the network's output {name!r} {shape or values.shape} holds NaN or infinite numbers; "
            "check the weights and the normalisation, or run it with precision fp32"
        )


def sigmoid(scores: npt.NDArray[F]) -> npt.NDArray[F]:
    """Return 1 / (1 + exp(-scores)), which neither overflows nor becomes 0 where a float can still tell."""
    small = np.exp(-np.abs(scores))
    result: npt.NDArray[F] = np.where(scores >= 0, np.ones_like(small), small) / (1 + small)
    return result
