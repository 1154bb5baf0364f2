"""Feature services of a large layer: what documents, counts, pages, places and figures take, one client at a time.

    python tests/benchmarks/layers.py [--features 1000000] [--folder DIR] [--rounds 5] [--markdown]

Writes boxes with a class and a confidence (kept in `folder` for the next time), starts a server over plain HTTP with
one reader, and asks over one connection. "First" is the first answer of its kind after the start; conditions and places
differ in each round, so that no answer is one that was kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))
sys.path.insert(0, str(Path(__file__).parents[1] / "rest"))
from featured import BOTTOM, LEFT, publish, table
from live_server import LiveServer, add_users

from raster_analysis.layers.features import OgrFeatures
from raster_analysis.portal.portal import Portal, Settings

COLUMNS = 1000
Words = dict[str, str]


def questions(count: int) -> dict[str, Callable[[int], Words]]:
    """Return what is asked in each round, by name."""
    figures = [
        {"statisticType": kind, "onStatisticField": "Confidence", "outStatisticFieldName": kind}
        for kind in ("count", "avg", "min", "max", "stddev")
    ]
    attributes = {"outFields": "*", "returnGeometry": "false"}

    def place(number: int, side: int) -> Words:
        x, y = LEFT + 500 + 100 * number, BOTTOM + count // COLUMNS * 5
        return {"geometry": f"{x},{y},{x + side},{y + side}", "geometryType": "esriGeometryEnvelope"}

    return {
        "count of all": lambda _: {"returnCountOnly": "true"},
        "count where": lambda number: {"where": f"Confidence > {50 + number / 7}", "returnCountOnly": "true"},
        "first page of 2,000": lambda _: {"outFields": "*", "resultRecordCount": "2000"},
        "the same as GeoJSON": lambda _: {"outFields": "*", "resultRecordCount": "2000", "f": "geojson"},
        "page at 90 %": lambda number: {"outFields": "*", "resultOffset": str(count * 9 // 10 + number)},
        "page of 200 ids": lambda number: {"objectIds": ",".join(map(str, range(number * 999, number * 999 + 200)))},
        "page where, ordered": lambda number: {
            "where": f"Class = 'car' AND Confidence < {60 - number / 7}",
            "orderByFields": "Confidence DESC",
            **attributes,
        },
        "box of 300 m, page": lambda number: {"outFields": "*", **place(number, 300)},
        "box of 3 km, count": lambda number: {"returnCountOnly": "true", **place(number, 3000)},
        "ids of all": lambda _: {"returnIdsOnly": "true"},
        "extent of all": lambda _: {"returnExtentOnly": "true"},
        "extent where": lambda number: {"where": f"Confidence > {90 + number / 7}", "returnExtentOnly": "true"},
        "figures by class": lambda number: {
            "outStatistics": json.dumps(figures), "groupByFieldsForStatistics": "Class",
            "where": f"OBJECTID > {number}",
        },
        "different classes": lambda number: {
            "outFields": "Class", "returnDistinctValues": "true", "where": f"OBJECTID > {number}",
        },
    }  # fmt: skip


def start(folder: Path, file: Path) -> LiveServer:
    """Serve the file with one reader."""
    server = LiveServer(folder, environment={"RASTER_ANALYSIS_READERS": "1"})
    server.tokens = add_users(server.data, server.url)
    portal = Portal(Settings(server.data, server.url))
    publish(portal, portal.users.get("ann"), "objects", file)
    portal.close()
    server.start()
    return server


def measure(server: LiveServer, count: int, rounds: int) -> list[tuple[str, float, float]]:
    """Return name, first and median milliseconds of each question."""
    service = f"{server.url}/arcgis/rest/services/Hosted/objects/FeatureServer"
    headers = {"X-Esri-Authorization": f"Bearer {server.tokens['ann']}"}
    found = []
    with httpx.Client(headers=headers, timeout=60) as client:

        def ask(path: str, words: Words) -> float:
            began = time.perf_counter()
            answer = client.post(service + path, data={"f": "json", **words})
            took = 1000 * (time.perf_counter() - began)
            assert "error" not in answer.text[:20], answer.text[:500]
            return took

        found.append(("document", ask("/0", {}), statistics.median(ask("/0", {}) for _ in range(20))))
        for name, words in questions(count).items():
            times = [ask("/0/query", words(number)) for number in range(1, rounds + 2)]
            found.append((name, times[0], statistics.median(times[1:])))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        kept = given.folder or Path(text)
        file = kept / f"objects_{given.features}.gpkg"
        if not file.exists():
            OgrFeatures().write(file, table(given.features, COLUMNS))
        server = start(Path(text) / "server", file)
        try:
            rows = measure(server, given.features, given.rounds)
        finally:
            server.stop()
    print(f"{given.features:,} features, {file.name}")
    for name, first, median in rows:
        print(
            f"| {name} | {first:.0f} ms | {median:.1f} ms |"
            if given.markdown
            else f"{name:24} {first:8.1f} {median:8.1f}"
        )


if __name__ == "__main__":
    main()
