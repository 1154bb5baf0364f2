"""Composition root of a reader: the process that looks into layers for the server.

A function a question; each takes the file's handle and plain values, and returns bytes that are ready to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import JsonValue

from raster_analysis.errors import JobError
from raster_analysis.handle import Handle
from raster_analysis.layers.parquet_copy import encode_parquet
from raster_analysis.question import Answerer, Content, Question
from raster_analysis.rasters.gdal_log import quiet_gdal
from raster_analysis.rasters.image_questions import (
    answer_facts,
    answer_frame,
    answer_image,
    answer_points,
    answer_statistics,
)
from raster_analysis.rest.feature_drawing import answer_feature_drawing
from raster_analysis.rest.feature_questions import answer_feature_facts, answer_features

PARQUET = "application/vnd.apache.parquet"

Function = Callable[[Handle, dict[str, JsonValue]], Content]

FUNCTIONS: Mapping[str, Function] = {
    "feature_drawing": answer_feature_drawing,
    "feature_facts": answer_feature_facts,
    "features": answer_features,
    "features_parquet": lambda handle, _arguments: Content(encode_parquet(handle), PARQUET),
    "image_facts": answer_facts,
    "image_frame": answer_frame,
    "image": answer_image,
    "image_points": answer_points,
    "image_statistics": answer_statistics,
}
"""What can be asked, by name."""


def open_answerer() -> Answerer:
    """Return what answers a reader's questions."""
    quiet_gdal()
    return answer


def answer(question: Question) -> Content:
    """Answer one question; the file must still be the one that was resolved."""
    function = FUNCTIONS.get(question.name)
    if function is None:
        raise JobError(f"nothing answers the question {question.name!r}")
    question.handle.verify_unchanged()
    return function(question.handle, question.arguments)
