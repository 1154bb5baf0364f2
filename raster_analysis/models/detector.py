"""A detector ready to run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dlpk.definition import Definition
from raster_analysis.detections import Detections
from raster_analysis.errors import ModelError
from raster_analysis.model_info import Engine, ModelInfo
from raster_analysis.models.batches import probe_tiles, run_halving, split_batch
from raster_analysis.models.declared import declared_output
from raster_analysis.models.decode import Reading, decode_batch
from raster_analysis.models.memory import measure
from raster_analysis.models.network import Network


class DetectorModel:
    """Detects objects in tiles. Not re-entrant."""

    def __init__(
        self, info: ModelInfo, definition: Definition, network: Network, engine: Engine, reasons: tuple[str, ...]
    ) -> None:
        output = declared_output(definition)
        if output is None:
            raise ModelError(f"the definition of {info.name!r} does not say how boxes are read (RasterAnalysis.Output)")
        self.info = info
        self.engine = engine
        self.reasons = (*reasons, f"decoder {output.decoder.value}")
        self._network = network
        self._reading = Reading(
            output,
            class_count=len(info.classes),
            rows=network.plan.rows,
            cols=network.plan.cols,
            threshold=info.threshold if engine.threshold is None else engine.threshold,
            nms_overlap=info.nms_overlap if engine.nms_overlap is None else engine.nms_overlap,
        )
        probe = probe_tiles(network.plan)
        # Decoding the probe shows tensors that are not as declared before the first real tile.
        _, grown = measure(lambda: self._run(probe))
        self.memory_bytes = max(grown, 4 * probe.size)

    def classify(self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]) -> npt.NDArray[np.uint8]:
        """Refuse: a detector gives no class for every pixel."""
        del tiles, value_range
        raise ModelError(f"model {self.info.name!r} detects objects and cannot classify pixels; use a detect tool")

    def detect(self, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]) -> list[Detections]:
        """Return what is found in each tile, above the threshold and suppressed per class, strongest first."""
        plan = self._network.plan
        found: list[Detections] = []
        for batch in split_batch(tiles, plan):
            for part in run_halving(self._run, plan.normalisation.stretch(batch, value_range), plan):
                found += part
        return found

    def _run(self, tiles: npt.NDArray[np.generic]) -> list[Detections]:
        return decode_batch(self._network.tensors(tiles), len(tiles), self._reading)
