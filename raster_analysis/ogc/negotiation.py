"""Negotiation: which media type a client takes, by `f` and by its Accept header."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_RANGES = 50


@dataclass(frozen=True, slots=True)
class Accepted:
    """The ranges of an Accept header, such as `text/html` or `*/*`, with their weights."""

    ranges: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, header: str) -> Accepted:
        """Read a header; none, and one that says nothing, accepts anything."""
        parts = [part for part in header.split(",")[:_MOST_RANGES] if part.strip()]
        return cls(tuple(_range(part) for part in parts) or (("*/*", 1.0),))

    def weight(self, media_type: str) -> float:
        """Return how much a type is wanted, 0 for not at all; the most specific range counts."""
        plain = media_type.partition(";")[0].strip()
        family = plain.partition("/")[0]
        for wanted in (plain, f"{family}/*", "*/*"):
            weights = [weight for name, weight in self.ranges if name == wanted]
            if weights:
                return max(weights)
        return 0.0

    def names(self, media_type: str) -> bool:
        """Tell whether a type is wanted by its own name."""
        return any(name == media_type and weight > 0 for name, weight in self.ranges)

    def best(self, *media_types: str) -> str | None:
        """Return the type that is wanted most, the first of equals; None when none is."""
        best = max(media_types, key=self.weight)
        return best if self.weight(best) > 0 else None


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
    try:
        return name, min(max(float(weight), 0.0), 1.0)
    except ValueError:
        return name, 1.0
