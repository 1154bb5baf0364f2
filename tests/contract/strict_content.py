"""How the strict client adds, reads, changes and deletes items (contract 4)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from strict_client import ClientError, Document, Gis, is_inaccessible

MB = 1_000_000
POLL_S = 0.05
_NEEDED = ("id", "owner", "type", "title", "name", "url")
_WITH_SERVICE = {"Feature Service", "Image Service"}


class Item:
    """An item as the client reads it: lazily, with its owner and its service."""

    def __init__(self, gis: Gis, item_id: str) -> None:
        self.gis, self.id = gis, item_id
        self.read()

    def read(self) -> None:
        ask, rest = self.gis.connection, self.gis.rest
        document = ask.post(f"{rest}content/items/{self.id}")
        self.document = {key: document[key] for key in _NEEDED}
        self.folder: str | None = document["ownerFolder"]
        ask.get(f"{rest}community/users/{self['owner']}")["username"]
        if self["type"] in _WITH_SERVICE:
            for url in (self["url"], f"{self['url']}/0"):
                ask.send("POST", url, {"f": "json"})
            ask.send("GET", f"{rest}content/items/{self.id}/data", query={"f": "json"})

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    @property
    def own_url(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        return f"{self.gis.rest}content/users/{self['owner']}{folder}/items/{self.id}"

    def update(self, **properties: Any) -> bool:
        """Change words; then read the item again."""
        self.gis.connection.get(f"{self.gis.rest}community/users/{self['owner']}")
        form = {name: json.dumps(v) if isinstance(v, dict) else v for name, v in properties.items()}
        done = self.gis.connection.post(f"{self.own_url}/update", **form)["success"]
        self.read()
        return bool(done)

    def delete(self, *, force: bool = False) -> bool:
        return bool(
            self.gis.connection.post(f"{self.own_url}/delete", **({"force": "true"} if force else {}))["success"]
        )

    def can_delete(self) -> bool:
        document = self.gis.connection.send("POST", f"{self.own_url}/canDelete", {"f": "json"}).json()
        return bool(document["success"])

    def download(self, folder: Path) -> Path:
        """Write the file, which is asked for with f=json."""
        url = f"{self.gis.rest}content/items/{self.id}/data"
        answer = self.gis.connection.send("GET", url, query={"f": "json"})
        assert answer.is_success
        assert int(answer.headers["content-length"]) == len(answer.content)
        path = folder / (self["name"] or self["title"])
        path.write_bytes(answer.content)
        return path


class Content:
    """The content of the signed-in user."""

    def __init__(self, gis: Gis, folder: str | None = None) -> None:
        self.gis, self.ask = gis, gis.connection
        self._folder = folder

    @property
    def home(self) -> str:
        folder = f"/{self._folder}" if self._folder else ""
        return f"{self.gis.rest}content/users/{self.gis.username}{folder}"

    def get(self, item_id: str) -> Item | None:
        try:
            return Item(self.gis, item_id)
        except ClientError as error:
            if is_inaccessible(error):
                return None
            raise

    def search(self, words: str, item_type: str | None = None, most: int = 10) -> list[Item]:
        """Follow the pages as the client does: by `num`, and on as long as there is a next one."""
        kind = f' AND  (type:"{item_type.lower()}")' if item_type else ""
        query = f"{words}{kind} accountid:{self.gis.properties['id']}"
        found: list[str] = []
        start = 1
        while len(found) < most:
            form = {"q": query, "start": start, "num": min(most, 100), "sortField": "avgRating", "sortOrder": "desc"}
            page = self.ask.post(f"{self.gis.rest}search", **form)
            found += [each["id"] for each in page["results"]]
            # With `num` as the number of hits, one page would be asked for ten times (contract 4.3).
            if page["num"] >= most or page["nextStart"] < 1:
                break
            start = page["nextStart"]
        return [Item(self.gis, each) for each in found[:most]]

    def folders(self) -> dict[str, str]:
        """Return the ids of folders by title."""
        assert self.ask.get(f"{self.gis.rest}community/self")["username"] == self.gis.username
        listed = self.ask.get(f"{self.gis.rest}content/users/{self.gis.username}")["folders"]
        return {each["title"]: each["id"] for each in listed}

    def create_folder(self, title: str) -> Content:
        made = self.ask.post(f"{self.gis.rest}content/users/{self.gis.username}/createFolder", title=title)
        assert made["success"]
        assert made["folder"]["title"] == title
        return Content(self.gis, made["folder"]["id"])

    def in_folder(self) -> list[str]:
        """Return the ids of the items that are here, page after page."""
        start, ids = 1, []
        while start > 0:
            page = self.ask.get(self.home, start=start, num=99)
            ids += [each["id"] for each in page["items"]]
            start = page["nextStart"]
        return ids

    def add(self, words: Mapping[str, str], path: Path) -> Item:
        """Add in streamed parts, which is what is done unless one asks for another way (contract 4.1 a)."""
        self.folders()
        size = path.stat().st_size
        part = size if size <= 100 * MB else 50 * MB
        return self._add_in_parts(words, path, max(part, 1), streamed=True)

    def add_unstreamed(self, words: Mapping[str, str], path: Path) -> Item:
        """Add with `stream=False` (contract 4.1 b)."""
        self.folders()
        if path.stat().st_size > 5 * MB:
            return self._add_in_parts(words, path, 5 * MB, streamed=False)
        return self._add_at_once({**words, "async": "true", "multipart": "false"}, path)

    def add_with_id(self, words: Mapping[str, str], path: Path, item_id: str) -> Item:
        """Add with an id of the client's choice (contract 4.1 c)."""
        self.folders()
        assert self.gis.version > [7, 1]
        item = self._add_at_once({**words, "async": "false", "itemIdToCreate": item_id}, path)
        assert item.id == item_id
        return item

    def add_legacy(self, words: Mapping[str, str], path: Path) -> Item:
        """Add the old way: at once below 7 MB, in parts above (contract 4.1 d)."""
        if path.stat().st_size < 7 * MB:
            with path.open("rb") as file:
                made = self.ask.ask("POST", f"{self.home}/addItem", words, files={"file": (path.name, file)})
            assert made["success"]
            return Item(self.gis, made["id"])
        made = self.ask.post(f"{self.home}/addItem", **words, multipart="true", fileName=path.name)
        item = f"{self.home}/items/{made['id']}"

        def send(number: int, chunk: bytes) -> None:
            fields = {"f": "json", "partNum": str(number)}
            answer = self.ask.send("POST", f"{item}/addPart", fields, files={"file": (path.name, chunk)}).json()
            assert answer["success"]

        self._in_parallel(send, path, 7 * MB, workers=5)
        assert self.ask.post(f"{item}/commit", **{"async": "true"})["success"]
        self._await(made["id"], "POST")
        read = Item(self.gis, made["id"])
        self.ask.post(f"{item}/update")
        return read

    def create_service(self, kind: str, name: str, words: Mapping[str, str]) -> Item:
        """Create what a job will fill, and describe it (contract 4.4)."""
        type_ = {"featureService": "Feature Service", "imageService": "Image Service"}[kind]
        name = name.replace(" ", "_")
        asked = {"name": name, "type": type_}
        if not self.ask.post(f"{self.gis.rest}portals/self/isServiceNameAvailable", **asked)["available"]:
            raise RuntimeError(f"A {type_} by this name already exists: {name}")
        assert self.gis.version
        self.ask.get(f"{self.gis.rest}community/users/{self.gis.username}")
        form = {"outputType": kind, "isView": "false", "createParameters": json.dumps(_parameters(kind, name))}
        made = self.ask.post(f"{self.home}/createService", **form)
        assert made["success"]
        item = Item(self.gis, made["itemId"])
        assert item["type"] == type_
        assert item["url"].endswith(("/FeatureServer", "/ImageServer"))
        if kind == "imageService":
            item.update(title=name)
        item.update(**words)
        return item

    def _add_at_once(self, form: Mapping[str, str], path: Path) -> Item:
        with path.open("rb") as file:
            made = self.ask.ask(
                "POST", f"{self.home}/addItem", {"f": "json", **form}, files={"file": (path.name, file)}
            )
        self._await(made["id"], "GET")
        return Item(self.gis, made["id"])

    def _add_in_parts(self, words: Mapping[str, str], path: Path, part: int, *, streamed: bool) -> Item:
        fields = {
            **words, "multipart": "true", "fileName": path.name, "categories": "[]", "metadataFormats": "iso19139",
            "typeKeywords": "", "spatialReference": "", "appCategories": "", "industries": "",
        }  # fmt: skip
        # Without a file it is multipart/form-data all the same.
        made = self.ask.send(
            "POST", f"{self.home}/addItem", files={n: (None, v) for n, v in {"f": "json", **fields}.items()}
        )
        item_id = made.json()["id"]
        item = f"{self.home}/items/{item_id}"

        def send(number: int, chunk: bytes) -> None:
            query: Document = {"f": "json", "partNum": number}
            query |= {"streamdata": "True", "size": len(chunk)} if streamed else {}
            name = path.name if streamed else f"split{number - 1}.split"
            answer = self.ask.send("POST", f"{item}/addPart", query=query, files={"file": (name, chunk)}).json()
            assert answer.get("status") == "success" or answer["success"]

        self._in_parallel(send, path, part, workers=6)
        commit = {"id": item_id, "async": "True", **fields}
        assert self.ask.post(f"{item}/commit", **commit)["success"]
        self._await(item_id, "GET")
        return Item(self.gis, item_id)

    def _in_parallel(self, send: Callable[[int, bytes], None], path: Path, part: int, *, workers: int) -> None:
        with ThreadPoolExecutor(workers) as pool:
            # Last part first: they arrive in any order.
            sent = [pool.submit(send, *each) for each in reversed(list(_parts(path, part)))]
        for each in sent:
            each.result()

    def _await(self, item_id: str, method: str) -> None:
        """Ask how an item gets on, without its folder in the path."""
        url = f"{self.gis.rest}content/users/{self.gis.username}/items/{item_id}/status"
        while True:
            answer = self.ask.ask(method, url)
            assert answer["itemId"] == item_id
            if answer["status"] == "completed":
                return
            if answer["status"] == "failed":
                raise ClientError(str(answer.get("statusMessage")))
            assert answer["status"] in ("partial", "processing"), answer
            time.sleep(POLL_S)


def _parts(path: Path, size: int) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 1
        while chunk := file.read(size):
            yield number, chunk
            number += 1


def _parameters(kind: str, name: str) -> Document:
    if kind == "imageService":
        return {"name": name, "description": "", "capabilities": "Image, Metadata", "properties": {"path": "@"}}
    return {"name": name, "serviceDescription": "", "capabilities": "Query", "tables": []}
