"""What users do with their client, flow by flow, from signing in to the result (contract 3, 4, 6, 7)."""

from __future__ import annotations

import hashlib
import json
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from live_server import PASSWORD, LiveServer, until
from rasterio.io import MemoryFile
from strict_analytics import Analytics, RunningJob
from strict_client import ClientError, Gis
from strict_content import MB, Content, Item
from strict_layers import FeatureLayer, ImageryLayer
from strict_toolbox import JobEnded, Toolbox
from tiny_models import write_folder, write_package

SCENE = "/rasterStores/s/scene.tif"
PACKAGE = "Deep Learning Package"
CONTEXTS = pytest.mark.parametrize("context", ["/portal", ""])
Document = dict[str, Any]


# Signing in: contract 3


@CONTEXTS
@pytest.mark.parametrize("way", ["anonymous", "oauth", "generateToken", "token"])
def test_each_way_of_signing_in_works(sign_in: Callable[..., Gis], server: LiveServer, context: str, way: str) -> None:
    gis = sign_in(way, context=context)
    assert gis.username == (None if way == "anonymous" else "ann")
    assert gis.toolbox_url == f"{server.url}/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
    assert gis.version > [7, 1]
    if way != "anonymous":
        assert gis.user["username"] == "ann"
        assert not gis.is_admin


def test_the_address_of_the_home_page_is_an_address_of_the_portal(sign_in: Callable[..., Gis]) -> None:
    assert sign_in("oauth", context="/portal/home/index.html").username == "ann"


def test_signing_in_by_pages_sends_what_the_contract_lists(sign_in: Callable[..., Gis]) -> None:
    sent = [path.replace("/portal/sharing/rest", "R") for path in sign_in("oauth").connection.paths()]
    assert sent == [
        "GET /portal/info", "GET /portal/rest/info", "GET R/info", "GET /portal/rest/services",
        "GET R/oauth2/authorize", "GET R/oauth2/authorize", "POST /portal/sharing/oauth2/signin",
        "GET R/info", "GET R/portals/self", "GET R/community/users/ann", "GET R/portals/self",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("way", "said"), [("oauth", "Invalid username or password."), ("generateToken", "Unable to generate token.")]
)
def test_a_wrong_password_is_told_in_the_words_that_reach_users(
    sign_in: Callable[..., Gis], way: str, said: str
) -> None:
    with pytest.raises(ClientError, match=f"A general error occurred: (.*\n)*.*{re.escape(said)}"):
        sign_in(way, user="bob", password="wrong")


@CONTEXTS
def test_a_code_is_exchanged_for_a_token_where_the_redirect_fails(sign_in: Callable[..., Gis], context: str) -> None:
    gis = sign_in("anonymous", context=context)
    gis.connection.token = gis._sign_in_by_code("ann", PASSWORD)
    assert gis.connection.get(f"{gis.rest}community/self")["username"] == "ann"


# The toolbox: contract 5.1 and 5.2


@pytest.mark.parametrize("way", ["anonymous", "oauth", "token"])
def test_a_toolbox_is_imported_and_its_functions_compile(sign_in: Callable[..., Gis], way: str) -> None:
    gis = sign_in(way)
    before = len(gis.connection.log)
    tools = Toolbox(gis.connection, gis.toolbox_url)
    sent = gis.connection.paths(before)
    assert sent[0].startswith("GET ")
    assert all(path.startswith("POST ") for path in sent[1:])
    assert len(sent) == 1 + len(tools.tasks)
    assert {"detect_objects_using_deep_learning", "compute_accuracyfor_object_detection", "copy_raster"} <= set(
        tools.functions
    )


# Adding items: contract 4.1


@pytest.fixture(scope="module")
def package_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Write a package of about so many bytes; its weight is a file that no model reads."""
    folder = tmp_path_factory.mktemp("packages")

    def write(size: int) -> Path:
        path = folder / f"m{size}.dlpk"
        if not path.exists():
            model = write_folder(folder / f"f{size}", bands=4)
            with zipfile.ZipFile(path, "w") as archive:
                for member in sorted(model.iterdir()):
                    archive.write(member, member.name)
                archive.writestr("notes.bin", np.random.default_rng(1).bytes(size))
        return path

    return write


def _chosen_id(path: Path) -> str:
    return hashlib.md5(path.name.encode()).hexdigest()


@pytest.mark.parametrize(
    ("size", "way"),
    [
        (20_000, "streamed"),
        (120 * MB, "streamed"),
        (20_000, "unstreamed"),
        (11 * MB, "unstreamed"),
        (30_000, "with id"),
        (20_000, "legacy"),
        (15 * MB, "legacy"),
    ],
)
def test_a_package_is_added_in_each_way(
    content: Content, package_of: Callable[[int], Path], tmp_path: Path, size: int, way: str
) -> None:
    path = package_of(size)
    words = {"title": f"{way} {size}", "type": PACKAGE, "tags": "a,b"}
    add = {
        "streamed": content.add,
        "unstreamed": content.add_unstreamed,
        "with id": lambda words, path: content.add_with_id(words, path, _chosen_id(path)),
        "legacy": content.add_legacy,
    }[way]
    item = add(words, path)
    assert (item["type"], item["title"], item["owner"]) == (PACKAGE, words["title"], "ann")
    assert item["name"] == path.name
    assert item.download(tmp_path).read_bytes() == path.read_bytes()
    assert item.can_delete()
    assert item.delete()
    assert content.get(item.id) is None


def test_120_mb_come_in_parts_of_fifty(content: Content, package_of: Callable[[int], Path]) -> None:
    before = len(content.ask.log)
    item = content.add({"title": "parts", "type": PACKAGE}, package_of(120 * MB))
    sizes = [each.form["size"] for each in content.ask.log[before:] if each.path.endswith("/addPart")]
    assert sorted(sizes)[1:] == [50 * MB, 50 * MB]
    assert item.delete()


def test_a_package_is_added_to_a_folder_and_found_there(content: Content, package_of: Callable[[int], Path]) -> None:
    folder = content.create_folder("Models of mine")
    item = folder.add({"title": "foldered", "type": PACKAGE}, package_of(20_000))
    assert content.folders()["Models of mine"] == item.folder
    assert folder.in_folder() == [item.id]
    assert item.update(title="renamed", tags="x,y")
    assert item["title"] == "renamed"
    assert item.delete()
    assert folder.in_folder() == []


def test_a_package_with_faults_is_refused_with_all_of_them_and_leaves_no_item(content: Content, tmp_path: Path) -> None:
    path = write_package(tmp_path / "broken.dlpk", ModelFile="missing.onnx", ImageHeight=None)
    with pytest.raises(ClientError, match=r"missing\.onnx"):
        content.add({"title": "never added", "type": PACKAGE}, path)
    assert content.search("title:never") == []


# Items and search: contract 4.2 and 4.3


def test_search_gives_each_item_once_whatever_the_page(content: Content, detector: Item, trees: Item) -> None:
    assert [item.id for item in content.search(f"id:{detector.id}", "Deep Learning Package", most=10)] == [detector.id]
    assert [item.id for item in content.search("title:found", "Feature Service", most=1)] == [trees.id]
    assert [item.id for item in content.search('type:"Deep Learning Package" AND title:detector')] == [detector.id]
    assert content.search("nothing of this kind") == []


def test_models_are_listed_described_installed_and_uninstalled(analytics: Analytics, detector: Item) -> None:
    assert detector.id in [item.id for item in analytics.list_models()]
    described = analytics.query_info(detector)
    assert described["Framework"] == "ONNX"
    assert {"threshold", "padding"} <= {argument["name"] for argument in described["arguments"]}
    assert analytics.query_info(f"{analytics.gis.rest}content/items/{detector.id}") == described
    assert analytics.install(detector).startswith(f"[resources]models\\raster\\{detector.id}\\")
    assert analytics.uninstall(detector) == detector.id


# Jobs: contract 4.4, 5 and 6


def _shapes(gis: Gis, item: Item) -> list[Document]:
    return FeatureLayer(gis, f"{item['url']}/0").query()


def test_a_detection_on_a_store_path_gives_an_item_with_a_layer(gis: Gis, trees: Item) -> None:
    service = gis.connection.post(trees["url"])
    assert [layer["id"] for layer in service["layers"]] == [0]
    assert service["tables"] == []
    layer = FeatureLayer(gis, f"{trees['url']}/0")
    names = [each["name"] for each in layer.properties()["fields"]]
    assert {"Class", "Confidence"} <= set(names)
    found = layer.query()
    assert len(found) > 2
    assert all(feature["geometry"]["rings"] for feature in found)
    assert {feature["attributes"]["Class"] for feature in found} <= {"Tree", "Building"}


def test_a_detection_sends_service_then_job_then_item(analytics: Analytics, detector: Item, trees: Item) -> None:
    log = analytics.gis.connection.log
    at = next(i for i, each in enumerate(log) if each.path.endswith("DetectObjectsUsingDeepLearning/submitJob"))
    before = [each.path.rpartition("/")[2] for each in log[:at]]
    wanted = iter(before)
    assert all(step in wanted for step in ("isServiceNameAvailable", "createService", "update"))
    after = [each for each in log[at:] if each.path.endswith(f"{trees.id}/update")]
    told = json.loads(after[0].form["properties"])
    assert told["jobUrl"].endswith(f"/jobs/{told['jobId']}")
    assert told["jobStatus"] == "completed"


@pytest.fixture(scope="module")
def scene_item(analytics: Analytics) -> Item:
    """The scene as an image service of this server."""
    return analytics.copy_raster(SCENE, "scene service")  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["url", "layer", "item", "upload", "store layer"])
def test_a_detection_finds_the_same_in_whatever_way_the_raster_is_given(
    analytics: Analytics, server: LiveServer, detector: Item, trees: Item, scene_item: Item, kind: str
) -> None:
    url, gis = scene_item["url"], analytics.gis
    raster: Any = {
        "url": lambda: url,
        "layer": lambda: ImageryLayer(gis, url),
        "item": lambda: scene_item,
        "upload": lambda: analytics.upload(server.store / "scene.tif"),
        "store layer": lambda: {"mosaicRule": {"mosaicMethod": "esriMosaicNone"}, "uri": SCENE},
    }[kind]()
    found = analytics.detect_objects(raster, detector, f"found in {kind}")
    assert len(_shapes(gis, found)) == len(_shapes(gis, trees))


def test_a_token_in_a_layers_address_is_needed_and_kept_by_nobody(
    analytics: Analytics, server: LiveServer, scene_item: Item
) -> None:
    bound = analytics._raster(ImageryLayer(analytics.gis, scene_item["url"]))
    token = analytics.gis.connection.token
    assert token
    assert bound["url"].endswith(f"?token={token}")
    assert token not in server.log


def test_suppression_over_the_whole_output_leaves_no_more_than_there_were(
    analytics: Analytics, detector: Item, trees: Item
) -> None:
    arguments = {"padding": "56", "batch_size": "4", "threshold": "0.35"}
    item = analytics.detect_objects(
        SCENE, detector, "thinned", arguments=arguments, run_nms=True, max_overlap_ratio=0.1,
        context={"cellSize": 0.5, "processorType": "CPU", "parallelProcessingFactor": "60%"},
    )  # fmt: skip
    assert 0 < len(_shapes(analytics.gis, item)) <= len(_shapes(analytics.gis, trees)) + 5


def test_a_detection_into_a_folder_lands_there(analytics: Analytics, content: Content, detector: Item) -> None:
    folder = content.create_folder("Results of mine")
    item = analytics.detect_objects(SCENE, detector, "foldered result", folder=folder._folder)
    assert folder.in_folder() == [item.id]


def test_a_future_is_polled_while_its_user_does_other_things(analytics: Analytics, detector: Item) -> None:
    running: RunningJob = analytics.detect_objects(SCENE, detector, "later", future=True)
    assert running.job.status().startswith("esriJob")
    item = running.result()
    assert item.id == running.output.id  # type: ignore[union-attr]
    assert running.job.messages
    assert running.job.status() == "esriJobSucceeded"


@pytest.mark.parametrize("repeated", [False, True])
def test_a_cancelled_job_ends_within_six_seconds_though_its_output_is_gone(
    analytics: Analytics, content: Content, server: LiveServer, repeated: bool
) -> None:
    # The second time shows that the name is free again.
    running: RunningJob = analytics.classify_pixels(
        "/rasterStores/s/strip.tif", "/rasterStores/s/slow.dlpk", "given up", future=True,
        context={"precision": "fp32"},
    )  # fmt: skip
    until(lambda: server.files(running.job.url))
    asked = time.monotonic()
    assert running.cancel()
    assert content.get(running.output.id) is None  # type: ignore[union-attr]
    with pytest.raises(JobEnded, match=r"Job cancelled\."):
        running.result()
    assert time.monotonic() - asked < 6
    assert content.search("title:given_up") == []


def test_a_failed_job_tells_why_and_its_name_is_free_again(analytics: Analytics, content: Content) -> None:
    for _ in range(2):
        with pytest.raises(JobEnded, match=r"Job failed: .*no_such_argument"):
            analytics.detect_objects(
                SCENE, "/rasterStores/s/detector.dlpk", "failed once", arguments={"no_such_argument": "1"}
            )
        assert content.search("title:failed_once") == []


def test_a_name_that_is_taken_is_refused_before_the_job(analytics: Analytics, detector: Item, trees: Item) -> None:
    with pytest.raises(RuntimeError, match="already exists: found_trees"):
        analytics.detect_objects(SCENE, detector, "found trees")


# Layers: contract 7.1


@pytest.fixture(scope="module")
def many(gis: Gis, server: LiveServer) -> FeatureLayer:
    return FeatureLayer(gis, f"{server.url}/arcgis/rest/services/Hosted/many/FeatureServer/0")


def _ids(features: list[Document]) -> list[int]:
    return [feature["attributes"]["OBJECTID"] for feature in features]


def test_all_features_come_by_pages_of_ids(many: FeatureLayer) -> None:
    before = len(many.gis.connection.log)
    found = many.query()
    assert sorted(_ids(found)) == list(range(1, 2451))
    pages = [each for each in many.gis.connection.log[before:] if "objectIds" in each.form]
    assert len(pages) == 13


@pytest.mark.parametrize("order", ["OBJECTID DESC", "Confidence"])
def test_all_features_come_by_pages_of_an_order(many: FeatureLayer, order: str) -> None:
    found = many.query(orderByFields=order)
    assert sorted(_ids(found)) == list(range(1, 2451))
    if order == "OBJECTID DESC":
        assert _ids(found) == sorted(_ids(found), reverse=True)


def test_parts_of_a_layer_are_asked_for_as_clients_ask(many: FeatureLayer) -> None:
    trees = many.query("Class = 'tree'", returnGeometry="false")
    assert len(trees) == 817
    assert all("geometry" not in feature for feature in trees)
    box = {"xmin": 500_000, "ymin": 5_000_000, "xmax": 500_095, "ymax": 5_000_025, "spatialReference": {"wkid": 32633}}
    inside = many.query(geometry=json.dumps(box), geometryType="esriGeometryEnvelope", inSR="32633",
                        spatialRel="esriSpatialRelIntersects", outSR="4326")  # fmt: skip
    assert len(inside) == 30
    assert all(abs(feature["geometry"]["rings"][0][0][1]) < 90 for feature in inside)
    assert len(many.query(resultRecordCount=7)) == 7
    ids = ",".join(map(str, range(1, 2401)))
    assert len(many.query(objectIds=ids)) == 2400


def test_a_wrong_condition_is_a_value_error_with_the_reason(many: FeatureLayer) -> None:
    with pytest.raises(ValueError, match="no_such_field"):
        many.query("no_such_field = 1")


# Rasters: contract 6 and 7.2


def test_pixels_are_classified_and_read_as_numbers(analytics: Analytics, server: LiveServer) -> None:
    landcover = f"{server.url}/portal/sharing/rest/content/items/"
    model = analytics.content.add({"title": "landcover", "type": PACKAGE}, server.store / "landcover.dlpk")
    item = analytics.classify_pixels(SCENE, landcover + model.id, "land cover")
    layer = ImageryLayer(analytics.gis, item["url"])
    properties = layer.properties()
    assert (properties["bandCount"], properties["pixelType"]) == (1, "U8")
    assert "Catalog" not in properties["capabilities"]
    values = layer.numpy((320, 320))
    assert values.shape == (320, 320)
    assert set(np.unique(values)) <= {0, 1, 2, 3, 4, 5, 6}
    with rasterio.open(server.store / "scene.tif") as scene, MemoryFile(_data(item)) as file, file.open() as cover:
        assert cover.transform == scene.transform
        np.testing.assert_array_equal(values, cover.read(1))
    assert layer.export_image().startswith(b"\x89PNG")
    link = layer.export_link()
    assert analytics.gis.connection.send("GET", link, token=False).content.startswith(b"\x89PNG")
    again = analytics.classify_pixels(item, "/rasterStores/s/labels.dlpk", "land cover again")
    assert ImageryLayer(analytics.gis, again["url"]).numpy((320, 320)).shape == (320, 320)


def _data(item: Item) -> bytes:
    answer = item.gis.connection.send("GET", f"{item.gis.rest}content/items/{item.id}/data")
    assert "attachment" in answer.headers["content-disposition"]
    return answer.content


def test_objects_are_classified_with_their_attributes_kept(
    analytics: Analytics, add_package: Callable[[str], Item], trees: Item
) -> None:
    item = analytics.classify_objects(SCENE, {"url": f"{trees['url']}/0"}, add_package("objects"), "kinds of objects")
    found = _shapes(analytics.gis, item)
    assert len(found) == len(_shapes(analytics.gis, trees))
    assert {"ClassLabel", "Class", "Confidence"} <= found[0]["attributes"].keys()
    assert {feature["attributes"]["ClassLabel"] for feature in found} <= {"Tree", "House", "Hall", "Car"}


def test_changes_between_two_dates_become_an_image_service(analytics: Analytics) -> None:
    dates = (f"/rasterStores/s/{name}.tif" for name in ("before", "after"))
    item = analytics.detect_change(*dates, "/rasterStores/s/two_dates.dlpk", "changes")
    assert item["type"] == "Image Service"
    assert set(np.unique(ImageryLayer(analytics.gis, item["url"]).numpy((130, 100)))) <= {1, 2, 3}


def test_detections_judged_against_themselves_give_a_table_and_a_report(analytics: Analytics, trees: Item) -> None:
    layer = {"url": f"{trees['url']}/0"}
    table, report = analytics.compute_accuracy(layer, layer, "judged", "Report")
    assert (table["type"], report["type"]) == ("Feature Service", "Document Link")
    rows = FeatureLayer(analytics.gis, f"{table['url']}/0")
    assert rows.properties()["type"] == "Table"
    alone = analytics.compute_accuracy(layer, layer, "judged again")
    assert isinstance(alone, Item)


def test_a_local_file_is_copied_into_an_image_service(analytics: Analytics, server: LiveServer) -> None:
    item = analytics.copy_raster(server.store / "before.tif", "a copy")
    with rasterio.open(server.store / "before.tif") as before:
        values = ImageryLayer(analytics.gis, item["url"]).numpy((130, 100))
        np.testing.assert_array_equal(values.reshape(before.read().shape), before.read())


# Data stores: contract 3.3 and 8.9


def test_stores_are_found_through_the_federated_server(gis: Gis) -> None:
    (server,) = gis.servers()
    assert "RasterAnalytics" in server["serverFunction"]
    found = gis.connection.post(f"{server['adminUrl']}/admin/data/findItems", parentPath="/rasterStores", types="")
    assert [item["path"] for item in found["items"]] == ["/rasterStores/s"]
    rendering = f"{server['url']}/rest/services/System/RasterRendering/ImageServer"
    described = gis.connection.post(rendering, Raster=json.dumps({"uri": SCENE}))
    assert described["bandCount"] == 4


@pytest.mark.parametrize("store", ["/rasterStores/s", "/fileShares/s", "s"])
def test_the_content_of_a_store_is_listed(analytics: Analytics, store: str) -> None:
    assert analytics.list_datastore_content(store, "*.tif") == ["after.tif", "before.tif", "scene.tif", "strip.tif"]
