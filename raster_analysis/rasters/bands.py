"""Bands: what each is called, which is the mask, and which of them a model wants."""

from __future__ import annotations

import re
from collections.abc import Sequence

from raster_analysis.errors import RasterError
from raster_analysis.seams import RasterInfo

WELL_KNOWN_NAMES = (
    "Red", "Green", "Blue", "Infrared", "CoastalBlue", "Yellow", "RedEdge", "ShortWaveInfrared", "NearInfrared",
    "NearInfrared_1", "NearInfrared_2", "MidInfrared", "MidInfrared_1", "MidInfrared_2", "Thermal", "Thermal_1",
    "Thermal_2", "Panchromatic", "PseudoRed", "PseudoGreen", "PseudoBlue", "QA",
)  # fmt: skip
"""Names that definitions use (dlpk 1.7)."""

# GDAL's colour interpretations, and short forms common in band descriptions.
_SYNONYMS = {
    "nir": "NearInfrared",
    "swir": "ShortWaveInfrared",
    "mwir": "MidInfrared",
    "lwir": "Thermal",
    "tir": "Thermal",
    "pan": "Panchromatic",
    "coastal": "CoastalBlue",
    "coastalaerosol": "CoastalBlue",
}


def name_bands(descriptions: Sequence[str | None], colors: Sequence[str]) -> tuple[str, ...]:
    """Return a name for each band: its description's, else its colour's well-known name, else `band_N`.

    A well-known name is given once: the next band that claims it is `band_N`.
    """
    names: list[str] = []
    for index, (description, color) in enumerate(zip(descriptions, colors, strict=True)):
        name = _well_known(description or "") or _well_known(color)
        names.append(name if name and name not in names else f"band_{index}")
    return tuple(names)


def choose_bands(info: RasterInfo, wanted: Sequence[int | str], title: str) -> tuple[int, ...]:
    """Return the zero-based indexes of the bands wanted, which count without the alpha band.

    Raises:
        RasterError: with every band that the raster does not have.
    """
    data = [index for index in range(info.band_count) if index != info.alpha_band]
    by_name = {_plain(info.band_names[index]): index for index in data}
    chosen: list[int] = []
    missing: list[str] = []
    for band in wanted:
        index = _find(band, data, by_name)
        if index is None:
            missing.append(str(band))
        else:
            chosen.append(index)
    if missing:
        raise RasterError(_describe_missing(info, wanted, missing, title))
    return tuple(chosen)


def _find(band: int | str, data: Sequence[int], by_name: dict[str, int]) -> int | None:
    if isinstance(band, str):
        return by_name.get(_plain(_well_known(band) or band))
    return data[band] if 0 <= band < len(data) else None


def _describe_missing(info: RasterInfo, wanted: Sequence[int | str], missing: Sequence[str], title: str) -> str:
    names = [name for index, name in enumerate(info.band_names) if index != info.alpha_band]
    alpha = "" if info.alpha_band is None else f"; band {info.alpha_band} is its mask (alpha)"
    return (
        f"raster {title!r} has {len(names)} data band{'s' * (len(names) != 1)} ({', '.join(names)}{alpha}), "
        f"but bands {', '.join(map(str, wanted))} are wanted: {', '.join(missing)} "
        f"{'is' if len(missing) == 1 else 'are'} missing (counted from 0)"
    )


def _well_known(text: str) -> str | None:
    plain = _plain(text)
    exact = {_plain(name): name for name in WELL_KNOWN_NAMES}
    return exact.get(plain) or _SYNONYMS.get(plain)


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text).lower()
