"""Values at points: identify and getSamples."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from raster_analysis.rest.envelope import Document, Refusal
from raster_analysis.rest.image_document import class_attributes, reference_document
from raster_analysis.rest.image_request import Facts, own_reference
from raster_analysis.rest.image_source import ImageSource, ImageSources
from raster_analysis.rest.image_values import Reference, read_points

_NOTHING = "NoData"


@dataclass(frozen=True, slots=True)
class Sample:
    """One place and the values of all bands there, none where nothing is."""

    x: float
    y: float
    values: list[Any] | None

    @property
    def text(self) -> str:
        """Return the values as clients show them."""
        return _NOTHING if self.values is None else " ".join(_text(value) for value in self.values)


def identify_document(sources: ImageSources, source: ImageSource, fields: Mapping[str, str]) -> Document:
    """Return the value of the pixel at a point; of several points, the first one's, and all of them as properties."""
    samples, reference = _samples(sources, source, fields)
    facts = sources.facts(source.raster)
    first = samples[0]
    values: list[JsonValue] = [sample.text for sample in samples]
    found = [_class_of(sample, facts) for sample in samples]
    return {
        "objectId": 0,
        "name": "Pixel",
        "value": first.text,
        "location": {"x": first.x, "y": first.y, "spatialReference": reference},
        "properties": {"Values": values, **({"Attributes": [*found]} if any(found) else {})},
        "catalogItems": None,
        "catalogItemVisibilities": [],
    }


def samples_document(sources: ImageSources, source: ImageSource, fields: Mapping[str, str]) -> Document:
    """Return the value of the pixel at each of several points."""
    samples, reference = _samples(sources, source, fields)
    facts = sources.facts(source.raster)
    rows: list[JsonValue] = [
        {
            "location": {"x": sample.x, "y": sample.y, "spatialReference": reference},
            "locationId": number,
            "value": sample.text,
            "rasterId": 0,
            "resolution": facts["cell_size"][0],
            "attributes": _class_of(sample, facts) or {},
        }
        for number, sample in enumerate(samples)
    ]
    return {"samples": rows}


def _samples(
    sources: ImageSources, source: ImageSource, fields: Mapping[str, str]
) -> tuple[list[Sample], dict[str, JsonValue]]:
    text = fields.get("geometry", "")
    if not text.strip():
        raise Refusal(400, "Parameter geometry is missing; give a point.")
    points, given = read_points(text, fields.get("geometryType", ""))
    if not points:
        raise Refusal(400, "geometry holds no point.")
    facts = sources.facts(source.raster)
    content = sources.ask("image_points", source.raster, {"points": [[*point] for point in points], "reference": given})
    samples = [Sample(x, y, values) for (x, y), values in zip(points, json.loads(content.data), strict=True)]
    return samples, _shown(given or own_reference(facts))


def _shown(reference: Reference) -> dict[str, JsonValue]:
    code = reference.get("latest_wkid") or reference.get("wkid")
    return reference_document({"code": code} if code else {"wkt": reference["wkt"]})


def _class_of(sample: Sample, facts: Facts) -> Document | None:
    value = sample.values[0] if sample.values else None
    return next((class_attributes(row) for row in facts["classes"] if row[0] == value), None)


def _text(value: Any) -> str:
    return _NOTHING if value is None else f"{value:.10g}" if isinstance(value, float) else str(value)
