"""How much a package may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for reading a package. Ratios do not apply to what is too small to harm."""

    entries: int = 2_000
    total_bytes: int = 8 * 2**30
    member_ratio: int = 200
    """Weights compress to a half at best; text seldom below a twentieth."""
    total_ratio: int = 100
    small_member_bytes: int = 64 * 2**10
    small_total_bytes: int = 2**20


DEFAULT_LIMITS = Limits()
