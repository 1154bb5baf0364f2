"""The keys without which the strict client fails, each in an answer of the live server (contract 11)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from live_server import PASSWORD, LiveServer
from strict_analytics import Analytics
from strict_client import Gis
from strict_content import Item
from strict_layers import ImageryLayer

PACKAGE = "Deep Learning Package"
TABLE = """
sharing/rest/info              authInfo.isTokenBasedSecurity authInfo.tokenServicesUrl
sharing/rest/                  currentVersion
portals/self                   portalName helperServices.rasterAnalytics.url user.username id
generateToken                  token
community/users                username privileges
community/self                 username
content/users                  folders[].id folders[].title items[].id nextStart
createFolder                   success folder.id folder.title
addItem                        success id
addPart                        success
commit                         success
status                         itemId status
update                         success
canDelete                      success
delete                         success
content/items                  id owner type title name url ownerFolder
search                         num nextStart results[].id
isServiceNameAvailable         available
createService                  success itemId
GPServer                       currentVersion tasks executionType resultMapServerName
GPServer/Task                  name parameters[].name parameters[].dataType parameters[].displayName
GPServer/Task                  parameters[].direction parameters[].defaultValue parameters[].parameterType
submitJob                      jobId
jobs                           jobStatus results.outObjects.paramUrl messages[].type messages[].description
results                        value
cancel                         jobStatus
uploads/upload                 item.itemID
servers                        servers[].id servers[].name servers[].adminUrl servers[].url servers[].serverFunction
FeatureServer                  layers[].id tables
FeatureServer/0                type geometryType fields[].name fields[].type drawingInfo.renderer
query                          features[].attributes features[].geometry fields spatialReference geometryType
query count                    count
query ids                      objectIds objectIdFieldName
ImageServer                    extent bandCount pixelType spatialReference hasMultidimensions capabilities
exportImage                    href width height extent scale
"""
ROWS = [
    (name.strip(), keys.split())
    for line in TABLE.strip().splitlines()
    for name, _, keys in [line.partition("  ")]
]  # fmt: skip


@dataclass
class Answers:
    """One live answer of each kind, asked for once."""

    gis: Gis
    server: LiveServer
    trees: Item
    imagery: Item
    folder: Path
    kept: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.kept:
            self.kept[name] = self._ask(name)
        return self.kept[name]

    def _ask(self, name: str) -> Any:
        gis, rest, post = self.gis, self.gis.rest, self.gis.connection.post
        home, layer, detect = f"{rest}content/users/ann", f"{self.trees['url']}/0", "DetectObjectsUsingDeepLearning"
        sign_in = {"username": "ann", "password": PASSWORD, "referer": "http", "client": "referer", "expiration": "60"}
        service = {"name": "keyed", "type": "Image Service"}
        asked: dict[str, Callable[[], Any]] = {
            "sharing/rest/info": lambda: post(f"{rest}info"),
            "sharing/rest/": lambda: post(rest),
            "portals/self": lambda: post(f"{rest}portals/self"),
            "generateToken": lambda: post(f"{rest}generateToken", **sign_in),
            "community/users": lambda: post(f"{rest}community/users/ann"),
            "community/self": lambda: post(f"{rest}community/self"),
            "content/users": lambda: self["createFolder"] and post(home),
            "createFolder": lambda: post(f"{home}/createFolder", title="Keys"),
            "content/items": lambda: post(f"{rest}content/items/{self.trees.id}"),
            "search": lambda: post(f"{rest}search", q='type:"Feature Service"', num=10, start=1),
            "isServiceNameAvailable": lambda: post(f"{rest}portals/self/isServiceNameAvailable", **service),
            "createService": lambda: post(
                f"{home}/createService", outputType="imageService", createParameters=json.dumps({"name": "keyed"})
            ),
            "GPServer": lambda: post(gis.toolbox_url),
            "GPServer/Task": lambda: post(f"{gis.toolbox_url}/{detect}"),
            "submitJob": lambda: post(f"{gis.toolbox_url}/{detect}/submitJob"),
            "jobs": lambda: post(self._job()),
            "results": lambda: post(f"{self._job()}/results/outObjects"),
            "cancel": lambda: post(f"{self._job()}/cancel"),
            "uploads/upload": self._upload,
            "servers": lambda: post(f"{rest}portals/self/servers"),
            "FeatureServer": lambda: post(self.trees["url"]),
            "FeatureServer/0": lambda: post(layer),
            "query": lambda: post(f"{layer}/query", where="1=1", outFields="*"),
            "query count": lambda: post(f"{layer}/query", where="1=1", returnCountOnly="true"),
            "query ids": lambda: post(f"{layer}/query", where="1=1", returnIdsOnly="true"),
            "ImageServer": lambda: post(self.imagery["url"]),
            "exportImage": self._export,
            **dict.fromkeys(("addItem", "addPart", "commit", "status", "update", "canDelete", "delete"), self._add),
        }
        answer = asked[name]()
        return answer[name] if asked[name] == self._add else answer

    def _job(self) -> str:
        updates = [each.form for each in self.gis.connection.log if each.path.endswith(f"{self.trees.id}/update")]
        told = next(json.loads(form["properties"]) for form in updates if "properties" in form)
        return str(told["jobUrl"])

    def _upload(self) -> Any:
        url, form = f"{self.gis.toolbox_url}/uploads/upload", {"f": "json", "filename": "a.tif", "overwrite": "true"}
        path = self.server.store / "before.tif"
        return self.gis.connection.send("POST", url, form, files={"file": ("a.tif", path.read_bytes())}).json()

    def _export(self) -> Any:
        extent = ImageryLayer(self.gis, self.imagery["url"]).properties()["extent"]
        form = {"bbox": json.dumps(extent), "size": "20,20", "format": "png"}
        return self.gis.connection.post(f"{self.imagery['url']}/exportImage", **form)

    def _add(self) -> dict[str, Any]:
        """Walk through the life of an item once; every answer on the way is kept."""
        post, home = self.gis.connection.post, f"{self.gis.rest}content/users/ann"
        words = {"type": PACKAGE, "title": "keys", "multipart": "true", "fileName": "m.dlpk"}
        kept = self.kept
        kept["addItem"] = post(f"{home}/addItem", **words)
        item = f"{home}/items/{kept['addItem']['id']}"
        part = {"file": ("m.dlpk", (self.server.store / "tiny.dlpk").read_bytes())}
        sent = self.gis.connection.send("POST", f"{item}/addPart", {"f": "json", "partNum": "1"}, files=part)
        kept["addPart"] = sent.json()
        kept["commit"] = post(f"{item}/commit", **words, **{"async": "True"})
        kept["status"] = post(f"{item}/status")
        kept["update"] = post(f"{item}/update", title="other keys")
        kept["canDelete"] = post(f"{item}/canDelete")
        kept["delete"] = post(f"{item}/delete")
        return kept


@pytest.fixture(scope="module")
def answers(
    gis: Gis, server: LiveServer, analytics: Analytics, trees: Item, tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    imagery = analytics.copy_raster("/rasterStores/s/before.tif", "keyed imagery")
    return Answers(gis, server, trees, imagery, tmp_path_factory.mktemp("keys"))


def find(document: Any, key: str) -> list[Any]:
    """Return what a key such as `a.b[].c` leads to; raises KeyError where it leads nowhere."""
    found = [document]
    for step in key.split("."):
        name = step.removesuffix("[]")
        found = [each[name] for each in found]
        if step.endswith("[]"):
            assert all(isinstance(each, list) for each in found), key
            assert all(found), f"{key}: the list is empty"
            found = [inner for each in found for inner in each]
    return found


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in ROWS for key in keys])
def test_a_key_that_clients_need_is_there(answers: Answers, name: str, key: str) -> None:
    assert find(answers[name], key)


@pytest.mark.parametrize("name", sorted({name for name, _ in ROWS}))
def test_no_successful_answer_has_the_key_error(answers: Answers, name: str) -> None:
    assert "error" not in answers[name]


def test_a_key_that_is_missing_would_be_noticed() -> None:
    with pytest.raises(KeyError):
        find({"a": {"b": [{"c": 1}, {}]}}, "a.b[].c")
