"""Packages to models: describes, settles and loads them, and keeps the last ones warm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from raster_analysis.handle import Handle
from raster_analysis.model_info import Engine, ModelInfo
from raster_analysis.models.build import LoadedModel, build_model
from raster_analysis.models.info import describe_package
from raster_analysis.models.package import OpenPackage, open_package, package_key
from raster_analysis.models.precision import compare
from raster_analysis.seams import Model

T = TypeVar("T")
_DESCRIPTIONS = 32


class PackageModels:
    """The `Models` of a slot: one process, one thread at a time."""

    def __init__(self, cache_folder: Path, *, capacity: int = 2) -> None:
        """Keep up to `capacity` models in memory; packages that are still zipped are unpacked into `cache_folder`."""
        self._cache_folder = cache_folder
        self._infos: _Warm[ModelInfo] = _Warm(_DESCRIPTIONS)
        self._models: _Warm[LoadedModel] = _Warm(capacity)
        self._compared: _Warm[LoadedModel] = _Warm(2)
        self._settled: _Warm[LoadedModel] = _Warm(capacity)

    def describe(self, handle: Handle) -> ModelInfo:
        """Return a model's facts without building an engine; raises ModelError when it cannot run here."""
        return self._infos.get(package_key(handle), lambda: describe_package(self._open(handle)))

    def load(self, handle: Handle, engine: Engine) -> Model:
        """Return the model ready to run, from memory when it was loaded with the same engine before.

        An engine with precision auto runs in fp32: only `settle` may choose less, after comparing.
        """
        if engine.precision == "auto":
            engine = replace(engine, precision="fp32")
        return self._models.get((package_key(handle), engine), lambda: self._build(handle, engine))

    def settle(
        self, handle: Handle, engine: Engine, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
    ) -> tuple[Engine, tuple[str, ...]]:
        """Return the engine with no `auto` left, and why; less than fp32 only when it agrees with fp32 on `tiles`."""
        model = self._settled.get((package_key(handle), engine), lambda: self._build(handle, engine))
        self._models.put((package_key(handle), model.engine), model)
        if engine.precision != "auto" or model.engine.precision == "fp32":
            return model.engine, model.reasons
        return self._verify(handle, model, tiles, value_range)

    @property
    def warm(self) -> tuple[LoadedModel, ...]:
        """Return the models that are kept, the one used last at the end."""
        return self._models.values

    def _verify(
        self, handle: Handle, reduced: LoadedModel, tiles: npt.NDArray[np.generic], value_range: tuple[float, float]
    ) -> tuple[Engine, tuple[str, ...]]:
        """Compare on tiles that may be smaller than the job's: fp32 on large ones would cost more than it saves."""
        height, width = tiles.shape[2:]
        small = replace(reduced.engine, tile_height=height, tile_width=width, batch_size=1)
        reference = self._to_compare(handle, replace(small, precision="fp32"))
        agrees, finding = compare(self._to_compare(handle, small), reference, tiles, value_range)
        others = tuple(reason for reason in reduced.reasons if not reason.startswith("precision "))
        said = next(reason for reason in reduced.reasons if reason.startswith("precision "))
        if agrees:
            return reduced.engine, (*others, f"{said}; {finding}")
        said = f"precision fp32: {reduced.engine.precision} was tried and {finding}"
        return replace(reduced.engine, precision="fp32"), (*others, said)

    def _to_compare(self, handle: Handle, engine: Engine) -> LoadedModel:
        return self._compared.get((package_key(handle), engine), lambda: self._build(handle, engine))

    def _open(self, handle: Handle) -> OpenPackage:
        return open_package(handle, self._cache_folder)

    def _build(self, handle: Handle, engine: Engine) -> LoadedModel:
        return build_model(self._open(handle), self.describe(handle), engine)


class _Warm(Generic[T]):
    """The last few values that were made, by key."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    @property
    def values(self) -> tuple[T, ...]:
        """Return what is kept, the value used last at the end."""
        return tuple(self._values.values())

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made where it is not kept."""
        if key not in self._values:
            # Room is made before, so that memory never holds one model more than asked for.
            self._shrink(self._capacity - 1)
            self.put(key, make())
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value, in place of the one that was asked for longest ago."""
        self._values[key] = value
        self._values.move_to_end(key)
        self._shrink(self._capacity)

    def _shrink(self, count: int) -> None:
        while len(self._values) > count:
            self._values.popitem(last=False)
