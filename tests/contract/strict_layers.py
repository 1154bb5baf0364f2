"""How the strict client asks layers: pages of features, pixels of images (contract 7)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lerc
import numpy as np
from strict_client import Document, Gis

_FIRST = {
    "returnGeometry": "true", "returnCountOnly": "false", "returnIdsOnly": "false", "returnDistinctValues": "false",
    "returnExtentOnly": "false", "returnZ": "false", "returnM": "false", "returnCentroid": "false",
    "returnAllRecords": "true", "returnTrueCurves": "false",
}  # fmt: skip
_PAGE = 200


@dataclass
class FeatureLayer:
    """One layer or table of a feature service."""

    gis: Gis
    url: str

    def properties(self) -> Document:
        document: Document = self.gis.connection.post(self.url)
        assert document["type"] in ("Feature Layer", "Table")
        if document["type"] == "Feature Layer":
            document["geometryType"]
        assert any(each["name"] for each in document["fields"] if each["type"] == "esriFieldTypeOID")
        if "drawingInfo" in document:
            document["drawingInfo"]["renderer"]
        return document

    def query(self, where: str = "1=1", **changes: Any) -> list[Document]:
        """Return all features: a first answer, a count, and what the answer lacks (contract 7.1)."""
        wanted = {"where": where, "outFields": "*", **_FIRST, **changes}
        first = self._ask(wanted)
        for key in ("fields", "spatialReference", "geometryType"):
            if wanted["returnGeometry"] == "true":
                first[key]
        features: list[Document] = list(first["features"])
        count = self._ask({**wanted, "returnCountOnly": "true"})["count"]
        if count <= len(features) or "resultRecordCount" in changes:
            return features
        if "orderByFields" in changes or "objectIds" in changes:
            return self._by_offset(wanted, features, first)
        return self._by_ids(wanted, count)

    def _by_offset(self, wanted: Document, features: list[Document], page: Document) -> list[Document]:
        while page.get("exceededTransferLimit"):
            page = self._ask({**wanted, "resultOffset": len(features)})
            features += page["features"]
        return features

    def _by_ids(self, wanted: Document, count: int) -> list[Document]:
        ids: list[int] = []
        while len(ids) < count:
            found = self._ask({**wanted, "returnIdsOnly": "true", "resultOffset": len(ids)})["objectIds"]
            assert found, "the client would ask for ever"
            ids += found
        pages = [ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE)]
        with ThreadPoolExecutor(5) as pool:
            answers = pool.map(lambda page: self._ask({**wanted, "objectIds": ",".join(map(str, page))}), pages)
            return [feature for answer in answers for feature in answer["features"]]

    def _ask(self, words: Document) -> Document:
        words = {"f": "json", **words}
        long = sum(len(name) + len(str(value)) + 2 for name, value in words.items()) > 1900 or "geometry" in words
        how: Document = {"form": words} if long else {"query": words}
        answer: Document = self.gis.connection.send("POST" if long else "GET", f"{self.url}/query", **how).json()
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer


@dataclass
class ImageryLayer:
    """An image service."""

    gis: Gis
    url: str

    def properties(self) -> Document:
        document: Document = self.gis.connection.post(self.url)
        for key in ("extent", "bandCount", "pixelType", "spatialReference", "hasMultidimensions", "capabilities"):
            document[key]
        return document

    def export_image(self, size: tuple[int, int] = (20, 20), *, format: str = "png") -> bytes:
        """Return a picture of the whole extent, which is sent as an object."""
        return self._export(size, f="image", format=format).content

    def export_link(self, size: tuple[int, int] = (20, 20)) -> str:
        return str(self._export(size, f="json", format="png").json()["href"])

    def numpy(self, size: tuple[int, int]) -> np.ndarray[Any, Any]:
        """Return values, which come as LERC."""
        answer = self._export(size, f="image", format="lerc", lercVersion="2")
        result, values, _ = lerc.decode(answer.content)[:3]
        assert result == 0
        return np.asarray(values)

    def _export(self, size: tuple[int, int], **words: str) -> Any:
        extent = self.properties()["extent"]
        form = {
            "bbox": json.dumps(extent), "bboxSR": json.dumps(extent["spatialReference"]),
            "size": f"{size[0]},{size[1]}",
            "pixelType": "", "noData": "", "bandIds": "", **words,
        }  # fmt: skip
        return self.gis.connection.send("POST", f"{self.url}/exportImage", form)
