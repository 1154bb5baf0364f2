"""A pixel or object classifier ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dlpk.definition import Definition
from raster_analysis.detections import Detections
from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine, ModelInfo, Task
from raster_analysis.models.batches import probe_tiles, run_halving, split_batch
from raster_analysis.models.classes import pixel_values, predicts_background
from raster_analysis.models.declared import declared_output
from raster_analysis.models.head import Activation, Head, are_probabilities, check_finite
from raster_analysis.models.memory import measure
from raster_analysis.models.network import Network

Classified = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Output:
    """The output tensor that holds the result."""

    name: str
    shape: tuple[int, ...]
    head: Head | None
    """None when the network gives class indexes itself."""


class PixelModel:
    """Classifies tiles. Not re-entrant."""

    def __init__(
        self, info: ModelInfo, definition: Definition, network: Network, engine: Engine, reasons: tuple[str, ...]
    ) -> None:
        self.info = info
        self.engine = engine
        self._network = network
        self._notes: list[str] = []
        self._declared = declared_output(definition)
        self._output = self._find_output()
        self.reasons = (*reasons, *self._notes)
        # The first run compiles and allocates: what it takes is what a job has to reckon with.
        probe = probe_tiles(network.plan)
        _, grown = measure(lambda: self._run(probe))
        floats = network.plan.batch * (int(np.prod(network.plan.tile_shape[1:])) + int(np.prod(self._output.shape[1:])))
        self.memory_bytes = max(grown, 4 * floats)

    def classify(self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]) -> Classified:
        """Return class indexes or probabilities; object classifiers give one row and one column per crop."""
        plan = self._network.plan
        parts: list[Classified] = []
        for batch in split_batch(tiles, plan):
            parts += run_halving(self._run, plan.normalisation.stretch(batch, value_range), plan)
        if not parts:
            raise ModelError("no tile was given to classify")
        return parts[0] if len(parts) == 1 else _typed(np.concatenate(parts))

    def detect(self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]) -> list[Detections]:
        """Refuse: a classifier has nothing to detect."""
        del tiles, value_range
        raise ModelError(f"model {self.info.name!r} classifies pixels and cannot detect objects; use a classify tool")

    def _run(self, tiles: npt.NDArray[np.generic]) -> Classified:
        output = self._output
        if output.head is None:
            return self._own_labels(tiles)
        if len(output.shape) == 4:
            return _typed(self._network.pixels(tiles, output.name, output.head))
        scores = np.asarray(self._network.tensors(tiles)[0][output.name])
        check_finite(output.name, scores)
        return _typed(output.head.apply(scores[: len(tiles), :, None, None]))

    def _own_labels(self, tiles: npt.NDArray[np.generic]) -> Classified:
        labels = np.asarray(self._network.tensors(tiles)[0][self._output.name])[: len(tiles)]
        labels = labels.reshape(len(tiles), *labels.shape[-2:])
        count = len(self.info.values)
        if labels.size and (labels.min() < 0 or labels.max() >= count):
            raise ModelError(
                f"the network's output {self._output.name!r} {self._output.shape} holds class indexes "
                f"{labels.min()}..{labels.max()} and the definition has {count}"
            )
        return _typed(labels.astype(np.uint8 if count <= 256 else np.uint16))

    def _find_output(self) -> Output:
        outputs = self._network.outputs()
        name = self._declared.tensors.get("pixels", "") if self._declared else ""
        name = name or next(iter(outputs))
        if name not in outputs:
            raise ModelError(f"the network has no output {name!r}; it has {', '.join(map(repr, outputs))}")
        facts = outputs[name]
        self._check_space(name, facts.shape)
        if facts.integers:
            self._refuse_probabilities(name)
            return Output(name, facts.shape, None)
        if len(facts.shape) == 3:
            raise ModelError(f"output {name!r} {facts.shape} holds scores without an axis of classes")
        return Output(name, facts.shape, self._choose_head(name, facts.shape))

    def _refuse_probabilities(self, name: str) -> None:
        if self.engine.probabilities:
            raise ModelError(f"output {name!r} holds class indexes, so probabilities cannot be given")

    def _check_space(self, name: str, shape: tuple[int, ...]) -> None:
        plan, loss = self._network.plan, 2 * self.info.model_padding
        if self.info.task is Task.CROPS:
            self._check_crops(name, shape)
            return
        space = shape[1:3] if plan.layout == "NHWC" else shape[-2:]
        if len(shape) not in (3, 4) or space != (plan.rows - loss, plan.cols - loss):
            raise ModelError(
                f"output {name!r} {shape} does not fit tiles of {plan.rows} x {plan.cols} pixels and ModelPadding "
                f"{self.info.model_padding}: {plan.rows - loss} x {plan.cols - loss} pixels were expected"
            )

    def _check_crops(self, name: str, shape: tuple[int, ...]) -> None:
        space = shape[1:3] if self._network.plan.layout == "NHWC" else shape[2:]
        if len(shape) != 2 and (len(shape) != 4 or space != (1, 1)):
            raise ModelError(
                f"output {name!r} {shape} is no list of scores for each crop: (n, classes) was expected; "
                "a network that gives a map of scores is an ImageClassification"
            )

    def _choose_head(self, name: str, shape: tuple[int, ...]) -> Head:
        nhwc = self._network.plan.layout == "NHWC" and len(shape) == 4
        channels = shape[3] if nhwc else shape[1]
        values, _ = pixel_values(self.info.classes, channels)
        if values != self.info.values:
            raise ModelError(
                f"output {name!r} {shape} gives {channels} scores per pixel, which does not fit the class values "
                f"{self.info.values} that the definition was read with"
            )
        axis: Literal[1, 3] = 3 if nhwc else 1
        needed = self.engine.probabilities or channels == 1
        background = self.engine.predict_background
        if background is None:
            background = predicts_background(self.info.classes, values)
        if not background and channels > 1:
            self._notes.append("background (index 0) is never chosen: predict_background is False")
        return Head(
            channels=channels,
            channel_axis=axis,
            activation=self._activation(name, channels, axis) if needed else "none",
            threshold=self.info.threshold if self.engine.threshold is None else self.engine.threshold,
            skip_background=not background and channels > 1,
            probabilities=self.engine.probabilities,
        )

    def _activation(self, name: str, channels: int, axis: Literal[1, 3]) -> Activation:
        """Return what makes probabilities; where the definition does not say so, the probe tile tells."""
        if self._declared and self._declared.activation != "none":
            return self._declared.activation
        scores = np.asarray(self._network.tensors(probe_tiles(self._network.plan))[0][name])
        if are_probabilities(scores, axis if scores.ndim == 4 else 1):
            return "none"
        guess: Activation = "sigmoid" if channels == 1 else "softmax"
        self._notes.append(
            f"activation {guess}: output {name!r} holds scores, not probabilities, and no other is declared"
        )
        return guess


def _typed(result: npt.NDArray[Any]) -> Classified:
    if result.dtype == np.uint8:
        return result.astype(np.uint8, copy=False)
    if result.dtype == np.uint16:
        return result.astype(np.uint16, copy=False)
    return result.astype(np.float32, copy=False)
