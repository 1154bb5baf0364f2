"""What a user may write for a raster, a model, an output or a context, as typed values.

Each is lenient the way clients need (ArcGIS REST, `contracts`): JSON text, an object, a bare path
or URL; empty text means "not given"; keys that nobody knows are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    JsonValue,
    field_validator,
    model_validator,
)

from raster_analysis.composite import Composite, parse_composite

_FILES_IN_WKT = re.compile(r"PARAMETERFILE|GRIDS|\+\s*(?:file|grid|model|init)\s*=", re.IGNORECASE)
"""PROJ opens whatever file a reference names as its shifts: paths of the server are nobody's to write."""
_NO_GRIDS = "+nadgrids=@null"
"""What Web Mercator has in many texts; it names no file."""


class SpatialReference(Composite):
    """An Esri spatial reference: `{"wkid"}`, `{"latestWkid"}` or `{"wkt"}`."""

    wkid: int | None = None
    latest_wkid: int | None = Field(default=None, alias="latestWkid")
    wkt: str | None = None

    @field_validator("wkt")
    @classmethod
    def _names_no_file(cls, value: str | None) -> str | None:
        if value is not None and _FILES_IN_WKT.search(value.replace(_NO_GRIDS, "")):
            raise ValueError("the wkt names files of grids; give a code, or a wkt without them")
        return value

    @model_validator(mode="before")
    @classmethod
    def _accept_a_bare_wkid(cls, value: object) -> object:
        code = re.fullmatch(r"((EPSG|ESRI):)?(\d+)", str(value).strip(), re.IGNORECASE)
        if isinstance(value, (int, str)) and code:
            return {"wkid": int(code[3])}
        if isinstance(value, str):
            raise ValueError("want a code such as 32633 or EPSG:32633")  # noqa: TRY004 (pydantic collects it)
        return value


class Extent(Composite):
    """A rectangle in its own spatial reference (the raster's when none is given)."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    spatial_reference: SpatialReference | None = Field(default=None, alias="spatialReference")

    @model_validator(mode="after")
    def _spans_an_area(self) -> Extent:
        if not (self.xmin < self.xmax and self.ymin < self.ymax):
            raise ValueError(f"extent {self.xmin} {self.ymin} {self.xmax} {self.ymax} spans no area; want min < max")
        return self


def _flatten_service(value: object) -> object:
    """Return item and address of `{"serviceProperties", "itemProperties"}`, the form of outputs, at the top."""
    if not isinstance(value, dict):
        return value
    service, item = value.get("serviceProperties"), value.get("itemProperties")
    named = {
        "url": service.get("serviceUrl") if isinstance(service, dict) else None,
        "itemId": item.get("itemId") if isinstance(item, dict) else None,
    }
    return {**{name: text for name, text in named.items() if text}, **value}


def _name_of_function(rule: JsonValue) -> str:
    if isinstance(rule, str) and rule.strip():
        rule = json.loads(rule) if rule.lstrip().startswith("{") else {"rasterFunction": rule}
    if not isinstance(rule, dict) or not rule:
        return ""
    return str(rule.get("rasterFunction") or rule.get("name") or "without a name")


class DataReference(Composite):
    """A thing named by item id, URL, path or upload; `item_id` wins over `url`, `url` over `uri`."""

    item_id: str | None = Field(default=None, alias="itemId")
    url: str | None = None
    uri: str | None = None
    upload_ids: tuple[str, ...] = Field(default=(), alias="itemIds")
    """Files that were sent to the toolbox's uploads (contract 5.6), or items."""
    service_token: str | None = Field(default=None, alias="serviceToken", repr=False)
    rendering_rule: JsonValue = Field(default=None, alias="renderingRule", repr=False)
    """A raster function over what is named; refused but for those that change nothing."""
    function: JsonValue = Field(default=None, repr=False)
    """The same, as clients write it for files (contract 6)."""

    @model_validator(mode="before")
    @classmethod
    def _take_a_service(cls, value: object) -> object:
        return _flatten_service(value)

    @model_validator(mode="after")
    def _asks_for_no_function(self) -> DataReference:
        for rule in (self.rendering_rule, self.function):
            name = _name_of_function(rule)
            # Other pixels than the user sees would go into the model, and the result would look like one of his.
            if name.lower() not in ("", "none", "identity"):
                raise ValueError(f"raster function {name[:80]!r} is not applied here; give the raster without it")
        return self

    @model_validator(mode="after")
    def _names_something(self) -> DataReference:
        if not self._is_named:
            raise ValueError("give one of itemId, url, uri or itemIds")
        return self

    @property
    def _is_named(self) -> bool:
        return bool(self.item_id or self.url or self.uri or self.upload_ids)


class RasterReference(DataReference):
    """A raster, or several that are one collection: a list of references, or several ids."""

    listed: tuple[Annotated[DataReference, BeforeValidator(parse_composite)], ...] = ()
    """What stands in a list; then nothing else is named."""

    @model_validator(mode="before")
    @classmethod
    def _take_a_list(cls, value: object) -> object:
        if isinstance(value, list) and not value:
            raise ValueError("the list names no raster")
        return {"listed": value} if isinstance(value, list) else value

    @property
    def _is_named(self) -> bool:
        return bool(self.listed) or super()._is_named

    @property
    def several(self) -> tuple[DataReference, ...]:
        """Return the references that make up a collection, in their order; nothing for one raster."""
        if self.item_id or self.url or self.uri:
            return ()
        by_id = tuple(DataReference(itemIds=(one,)) for one in self.upload_ids)
        named = (*self.listed, *by_id)
        return named if len(named) > 1 or self.listed else ()


class FeatureReference(DataReference):
    """Features named by item id, URL (of a layer, with its index) or path, or written out."""

    filter: str = ""
    """Which of them: a where clause over their fields."""
    collection: dict[str, JsonValue] | None = None
    """An Esri feature set, a feature collection or GeoJSON; then nothing is named."""

    @model_validator(mode="before")
    @classmethod
    def _take_a_collection(cls, value: object) -> object:
        value = _flatten_service(value)
        if isinstance(value, dict) and value and not {"itemId", "url", "uri", "itemIds", "collection"} & value.keys():
            return {"collection": value}
        return value

    @property
    def _is_named(self) -> bool:
        return self.collection is not None or super()._is_named


class ModelReference(Composite):
    """A model named by item id, URL, path or upload, or its definition written out."""

    item_id: str | None = Field(default=None, alias="itemId")
    url: str | None = None
    uri: str | None = None
    upload_ids: tuple[str, ...] = Field(default=(), alias="itemIds")
    service_token: str | None = Field(default=None, alias="serviceToken", repr=False)
    definition: dict[str, JsonValue] | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_a_definition(cls, value: object) -> object:
        if isinstance(value, dict) and value and not {"itemId", "url", "uri", "itemIds"} & value.keys():
            return {"definition": value}
        return value


class ServiceProperties(Composite):
    """The service that a result goes into."""

    name: str | None = None
    service_url: str | None = Field(default=None, alias="serviceUrl")


class ItemProperties(Composite):
    """The portal item that a result goes into."""

    item_id: str | None = Field(default=None, alias="itemId")
    folder_id: str | None = Field(default=None, alias="folderId")


class OutputTarget(Composite):
    """Where a result goes: a new name, a service created beforehand, or an existing item."""

    service: ServiceProperties = Field(default=ServiceProperties(), alias="serviceProperties")
    item: ItemProperties = Field(default=ItemProperties(), alias="itemProperties")
    name_given: str | None = Field(default=None, alias="name")
    item_id_given: str | None = Field(default=None, alias="itemId")
    folder_id_given: str | None = Field(default=None, alias="folderId")
    uri: str | None = None
    url: str | None = None

    @property
    def name(self) -> str | None:
        """Return the name for the result, wherever it was written."""
        return self.name_given or self.service.name

    @property
    def item_id(self) -> str | None:
        """Return the item to fill or update, wherever it was written."""
        return self.item_id_given or self.item.item_id

    @property
    def folder_id(self) -> str | None:
        """Return the folder for a new item, wherever it was written."""
        return self.folder_id_given or self.item.folder_id


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ValueError("want auto, cpu, cuda or cuda:N")
    return text


def _cell_size(value: object) -> object:
    """Return a number, a rule or a reference to a dataset, whichever a text stands for."""
    if not isinstance(value, str):
        return value
    rule = _CELL_SIZE_RULES.get(value.strip().lower())
    if rule:
        return rule
    try:
        return float(value)
    except ValueError:
        return parse_composite(value)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _factor(value: object) -> object:
    """Return the text of a parallelProcessingFactor: a number of threads, or a share such as 60%."""
    text = f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value).strip()
    if not re.fullmatch(r"\d{1,4}|\d{1,3}(\.\d+)?\s*%", text):
        raise ValueError("want a number of CPU threads such as 2, or a share of them such as 60%")
    return text


_CELL_SIZE_RULES = {
    "maxof": "MaxOf",
    "minof": "MinOf",
    "maximum of inputs": "MaxOf",
    "minimum of inputs": "MinOf",
}


def _plain_size(value: object) -> object:
    """Return the number in `{"distance": 2, "units": ...}` or `{"x": 2, "y": 2}`, and anything else as it is."""
    parsed = parse_composite(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
    if not isinstance(parsed, dict):
        return parsed
    sides = {parsed.get(key) for key in ("distance", "x", "y")} - {None}
    if len(sides) != 1:
        raise ValueError("want one number, for cells as high as wide")
    if str(parsed.get("units", "")).lower() not in _MAP_UNITS:
        raise ValueError("want the number in units of the output's coordinate system, without a unit of its own")
    return sides.pop()


_MAP_UNITS = ("", "unknown", "esriunknownunits", "meters", "esrimeters")
"""Metres are what nearly all projected systems count in, and what clients write without being asked."""
CellSize = Annotated[float, BeforeValidator(_plain_size), Field(gt=0, allow_inf_nan=False)]


class ProcessingContext(Composite):
    """The `context` parameter: where and how to process (geoprocessing environments)."""

    extent: Extent | None = None
    cell_size: Annotated[float | Literal["MaxOf", "MinOf"] | DataReference | None, BeforeValidator(_cell_size)] = Field(
        default=None, alias="cellSize"
    )
    mask: Annotated[
        # In this order: an object is a reference when it names something, and polygons otherwise.
        DataReference | dict[str, JsonValue] | None,
        Field(union_mode="left_to_right"),
        BeforeValidator(parse_composite),
    ] = None
    """A polygon or raster layer, or a GeoJSON / Esri JSON polygon or feature set written out."""
    snap_raster: Annotated[DataReference | None, BeforeValidator(parse_composite)] = Field(
        default=None, alias="snapRaster"
    )
    out_sr: SpatialReference | None = Field(default=None, validation_alias=AliasChoices("outSR", "outSr", "out_sr"))
    process_sr: SpatialReference | None = Field(
        default=None, validation_alias=AliasChoices("processSR", "processSr", "process_sr")
    )
    """Counts where there is no `out_sr`: what is computed on a grid is written on it."""
    processor_type: Annotated[Literal["CPU", "GPU"] | None, BeforeValidator(_upper)] = Field(
        default=None, alias="processorType"
    )
    parallel_processing_factor: Annotated[str | None, BeforeValidator(_factor)] = Field(
        default=None, alias="parallelProcessingFactor"
    )
    batch_size: int | None = Field(default=None, alias="batchSize", ge=1)
    device: Annotated[str, AfterValidator(_device)] | None = None
    """Ours, not Esri's: one device by name; `processorType` says only which kind."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Ours, not Esri's."""
    runtime: Literal["auto", "openvino", "onnxruntime", "torch", "tensorrt"] = "auto"
    """Ours, not Esri's."""
    merge: Literal["crop", "blend"] = "crop"
    """Ours, not Esri's: how the pixels of neighbouring tiles become one raster."""

    @model_validator(mode="before")
    @classmethod
    def _drop_blank_values(cls, value: object) -> object:
        return {k: v for k, v in value.items() if v not in ("", None, {})} if isinstance(value, dict) else value

    def threads(self, limit: int) -> int:
        """Return how many CPU threads a network may use of `limit`: the parallelProcessingFactor, at least one."""
        factor = self.parallel_processing_factor
        if factor is None:
            return limit
        wanted = limit * float(factor.rstrip("% ")) / 100 if factor.endswith("%") else float(factor)
        return min(limit, max(1, int(wanted)))


def _text_values(value: object) -> object:
    """Turn `name value;name value` (desktop tools) and JSON numbers into a dict of text; null is an empty one."""
    if isinstance(value, str) and not value.lstrip().startswith(("{", "[")):
        pairs = [pair.strip().partition(" ") for pair in value.split(";") if pair.strip()]
        return {name: text.strip() for name, _, text in pairs}
    parsed: Any = parse_composite(value)
    if isinstance(parsed, dict):
        return {str(k): _text_of(v) for k, v in parsed.items()}
    return parsed


def _text_of(value: JsonValue) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def with_environment(context: object, form: Mapping[str, object]) -> object:
    """Return a context with the form fields `env:outSR`, `env:processSR`, ... where it says nothing of its own.

    Clients send environments in either place (contract 5.3). A context that is no object is left as it is.
    """
    fields = {name[4:]: value for name, value in form.items() if name.lower().startswith("env:") and value}
    own = _context_object(context) if fields else context
    return {**fields, **{k: v for k, v in own.items() if v != ""}} if fields and isinstance(own, dict) else context


def _context_object(value: object) -> object:
    # A bare text would read as the path of something, and all that it asks for would be ignored.
    if isinstance(value, str) and value.strip() and not value.lstrip().startswith(("{", "[")):
        raise ValueError('want a JSON object, e.g. {"cellSize": 2}')
    return parse_composite(value) or {}


RasterInput = Annotated[RasterReference, BeforeValidator(parse_composite)]
FeatureInput = Annotated[FeatureReference, BeforeValidator(parse_composite)]
ModelInput = Annotated[ModelReference, BeforeValidator(parse_composite)]
OutputName = Annotated[
    OutputTarget,
    BeforeValidator(
        lambda v: {"name": v} if isinstance(v, str) and v.strip() and v.lstrip()[0] not in "{/" else parse_composite(v)
    ),
]
ContextInput = Annotated[ProcessingContext, BeforeValidator(_context_object)]
ModelArguments = Annotated[dict[str, str], BeforeValidator(lambda v: _text_values(v) or {})]
"""Model arguments by name. Values stay text, the form in which clients send them (dlpk 4.7)."""
