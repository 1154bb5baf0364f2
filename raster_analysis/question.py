"""A question: what the server asks a reader process about a layer, and the content that comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue, TypeAdapter

from raster_analysis.handle import Handle


@dataclass(frozen=True, slots=True)
class Question:
    """One reading of a layer: which function of the reader, on which file, with which plain values."""

    name: str
    handle: Handle
    arguments: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is ready to be sent: encoded in the reader, so that the server only passes it on."""

    data: bytes
    media_type: str = "application/json"


Answerer = Callable[[Question], Content]
"""What a reader process runs; raises RasterAnalysisError for what a user can make right."""


class Readers(Protocol):
    """Answers questions about layers, outside the server's process."""

    def start(self) -> None:
        """Get ready in the background."""

    def ask(self, question: Question) -> Content:
        """Return the content; blocks, so call it from a worker thread.

        Raises what the reader raised, BudgetError when it took too long or all readers are busy.
        """

    def close(self) -> None:
        """End every reader."""


QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
