from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

import dlpk
from raster_analysis.errors import AccessError, ParameterError
from raster_analysis.handle import Handle
from raster_analysis.inputs import (
    ContextInput,
    FeatureInput,
    FeatureReference,
    ModelInput,
    OutputName,
    ProcessingContext,
    RasterInput,
)
from raster_analysis.portal.item import PACKAGE_TYPE, Access, Item, ItemText
from raster_analysis.portal.portal import Portal, Settings
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import Role, User
from raster_analysis.rasters.service_hosts import ServiceHosts
from raster_analysis.redaction import without_tokens
from raster_analysis.tool import Kind, OutputInfo, Parameters, Tool, parameter

BASE = "https://gis.example:8443"
HOSTED = f"{BASE}/arcgis/rest/services/Hosted"


class Everything(Parameters):
    raster: RasterInput | None = parameter("inputRaster", "", kind=Kind.RASTER, default=None)
    features: FeatureInput | None = parameter("inputFeatures", "", kind=Kind.FEATURES, default=None)
    model: ModelInput | None = parameter("model", "", kind=Kind.MODEL, default=None)
    location: RasterInput | None = parameter("modelLocation", "", kind=Kind.PACKAGE, default=None)
    output: OutputName | None = parameter("outputName", "", kind=Kind.OUTPUT, default=None)
    context: ContextInput = parameter("context", "", kind=Kind.CONTEXT, default=ProcessingContext())


TOOL = Tool("Everything", "Everything", "", Everything, (OutputInfo("out", ""),))


def bind(portal: Portal, user: User, **form: object) -> dict[str, Handle]:
    return portal.bind(TOOL, TOOL.parse(form), user.name)


def faults(portal: Portal, user: User, **form: object) -> tuple[str, ...]:
    with pytest.raises(ParameterError) as error:
        bind(portal, user, **form)
    return error.value.faults


@pytest.fixture
def raster_item(portal: Portal, alice: User, store: Path, make_raster) -> Item:  # type: ignore[no-untyped-def]
    scene = make_raster(store / "scene.tif")
    return portal.add_item(portal.draft(alice, "Image", ItemText(title="Scene")), alice, scene, "scene.tif")


@pytest.fixture
def model_item(portal: Portal, alice: User, make_package) -> Item:  # type: ignore[no-untyped-def]
    draft = portal.draft(alice, PACKAGE_TYPE, ItemText(title="Trees"))
    return portal.add_item(draft, alice, make_package("tree"), "trees.dlpk")


def test_store_paths_become_handles(portal: Portal, alice: User, store: Path, make_raster, make_package) -> None:  # type: ignore[no-untyped-def]
    scene = make_raster(store / "scene.tif")
    trees = make_package("tree", store / "models")
    handles = bind(
        portal,
        alice,
        inputRaster="/rasterStores/images/scene.tif",
        model='{"uri": "/fileShares/images/models/tree.dlpk"}',
        modelLocation="/fileShares/images/models/tree.dlpk",
    )
    raster, model, source = handles["inputRaster"], handles["model"], handles["modelLocation"]
    assert (raster.kind, raster.path, raster.driver) == ("raster", str(scene), "GTiff")
    assert raster.title == "/rasterStores/images/scene.tif"
    assert (model.kind, model.digest) == ("package", dlpk.open(trees).digest)
    assert dlpk.open(Path(model.path)).digest == model.digest
    assert (source.kind, source.path) == ("package", str(trees))
    for handle in handles.values():
        handle.verify_unchanged()


def test_folders_and_definitions_in_a_store_are_models_too(
    portal: Portal, alice: User, store: Path, make_package
) -> None:  # type: ignore[no-untyped-def]
    archive = make_package("tree")
    with zipfile.ZipFile(archive) as source:
        source.extractall(store / "trees")
    digest = dlpk.open(archive).digest
    for uri in ("/fileShares/images/trees", "/fileShares/images/trees/tiny.emd"):
        assert bind(portal, alice, model=uri)["model"].digest == digest
    location = bind(portal, alice, modelLocation="/fileShares/images/trees")["modelLocation"]
    assert Path(location.path) == store / "trees"


def test_items_become_handles(portal: Portal, alice: User, raster_item: Item, model_item: Item) -> None:
    sharing = f"{BASE}/portal/sharing/rest/content/items"
    for raster in (
        {"itemId": raster_item.id},
        {"url": f"{sharing}/{raster_item.id}"},
        f"{sharing}/{raster_item.id}/data",
    ):
        for model in ({"itemId": model_item.id}, f"{BASE}/portal/home/item.html?id={model_item.id}"):
            handles = bind(portal, alice, inputRaster=raster, model=model)
            assert Path(handles["inputRaster"].path).read_bytes()[:2] == b"II"
            assert handles["inputRaster"].title == "Scene"
            assert handles["model"].digest == model_item.package_digest


def test_a_job_keeps_its_model_when_the_item_is_updated_or_deleted(
    portal: Portal, alice: User, model_item: Item, make_package
) -> None:  # type: ignore[no-untyped-def]
    before = bind(portal, alice, model={"itemId": model_item.id})["model"]
    portal.replace_file(model_item.id, alice, make_package("ship"), "ships.dlpk")
    after = bind(portal, alice, model={"itemId": model_item.id})["model"]
    assert before.digest != after.digest
    portal.items.delete(model_item.id, alice)
    assert dlpk.open(Path(before.path)).digest == before.digest


def test_a_copy_that_was_removed_is_made_again(portal: Portal, alice: User, model_item: Item) -> None:
    kept = portal.packages.path(model_item.package_digest or "")
    kept.rename(kept.with_name("elsewhere"))
    assert Path(bind(portal, alice, model={"itemId": model_item.id})["model"].path) == kept
    assert kept.is_dir()


def test_urls_of_hosted_services_become_handles(portal: Portal, alice: User, make_raster, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    draft = portal.draft(alice, "Image Service", ItemText(title="Scene"))
    item = portal.services.create(ServiceName(ServiceKind.IMAGERY, "scene_1"), alice, draft)
    url = f"{HOSTED}/scene_1/ImageServer"
    assert faults(portal, alice, inputRaster=url) == ("inputRaster: item 'Scene' holds no data yet",)
    portal.items.replace_data(item.id, alice, portal.items.place(item.id, make_raster(tmp_path / "s.tif"), "s.tif"))
    handle = bind(portal, alice, inputRaster=url)["inputRaster"]
    assert Path(handle.path).suffix == ".tif"
    assert bind(portal, alice, inputRaster=f"{url}?token=stale")["inputRaster"] == handle


def test_a_token_in_a_url_passes_on_its_users_right(portal: Portal, alice: User, bob: User, raster_item: Item) -> None:
    url = f"{BASE}/portal/sharing/rest/content/items/{raster_item.id}"
    assert "inaccessible" in faults(portal, bob, inputRaster=url)[0]
    token = portal.tokens.issue("alice", 60).value
    assert bind(portal, bob, inputRaster=f"{url}?token={token}")["inputRaster"].title == "Scene"
    assert bind(portal, bob, inputRaster={"url": url, "serviceToken": token})["inputRaster"].title == "Scene"
    for other in (portal.tokens.issue("bob", 60).value, "None", ""):
        fault = faults(portal, bob, inputRaster=f"{url}?token={other}")[0]
        assert "inaccessible" in fault


def test_only_readable_items_are_bound(
    portal: Portal, bob: User, alice: User, raster_item: Item, model_item: Item
) -> None:
    told = faults(portal, bob, inputRaster={"itemId": raster_item.id}, model={"itemId": model_item.id})
    assert told == tuple(f"{name}: Item does not exist or is inaccessible." for name in ("inputRaster", "model"))
    portal.items.change(raster_item.id, alice, {"access": Access.ORG})
    assert bind(portal, bob, inputRaster={"itemId": raster_item.id})


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/arcgis/rest/services/x/ImageServer",
        "https://gis.example/arcgis/rest/services/Hosted/x/ImageServer",
        "https://gis.example:8443.evil.example/x",
        "http://169.254.169.254/latest/meta-data",
        "https://gis.example:8443@evil.example/x",
        "https://evil.example\\@gis.example:8443/x",
        "https://gis.example:99999/x",
        "http://[::1",
    ],
)
def test_urls_of_other_servers_are_refused(portal: Portal, alice: User, url: str) -> None:
    told = faults(portal, alice, inputRaster={"url": f"{url}?token=secret"})
    assert "on another server" in told[0] or "no usable" in told[0]
    assert "secret" not in told[0]


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/arcgis/rest/services/Other/x/ImageServer", "/portal/home/item.html", "/x",
        "/arcgis/rest/services/Hosted/scene_1/FeatureServer/5",
    ],
)  # fmt: skip
def test_urls_of_ours_that_name_nothing_are_refused(portal: Portal, alice: User, path: str) -> None:
    assert "names no item" in faults(portal, alice, inputRaster={"url": BASE + path})[0]


def test_a_result_in_a_store_is_refused(portal: Portal, alice: User) -> None:
    (told,) = faults(portal, alice, outputName={"uri": "/fileShares/images/found.gpkg"})
    assert told == "outputName: stores are only read here; give a name, and the result becomes an item"


def test_every_fault_is_told_at_once(portal: Portal, alice: User, store: Path, model_item: Item) -> None:
    (store / "notes.tif").write_text("no raster")
    told = faults(
        portal,
        alice,
        inputRaster="/fileShares/images/notes.tif",
        inputFeatures="/fileShares/images/missing.gpkg",
        model={"itemId": "0" * 32},
        context={"mask": {"uri": "/fileShares/images/../x"}, "snapRaster": {"itemId": model_item.id}},
        outputName={"itemId": "1" * 32},
    )
    assert [fault.partition(":")[0] for fault in told] == [
        "inputRaster", "inputFeatures", "model", "context.mask", "context.snapRaster", "outputName",
    ]  # fmt: skip


def test_no_fault_names_a_path_of_the_server(portal: Portal, alice: User, store: Path, raster_item: Item) -> None:
    path = portal.items.data_path(raster_item)
    assert path is not None
    path.unlink()
    (store / "notes.tif").write_text("no raster")
    told = faults(portal, alice, inputRaster={"itemId": raster_item.id}, model="/fileShares/images/notes.tif")
    assert not any(str(store.parent) in fault for fault in told)
    assert len(told) == 2


def test_masks_in_a_store_are_bound_under_the_contexts_name(portal: Portal, alice: User, store: Path) -> None:
    geometry = {"type": "FeatureCollection", "features": []}
    (store / "mask.geojson").write_text(json.dumps(geometry))
    handles = bind(portal, alice, context={"mask": {"uri": "/fileShares/images/mask.geojson"}, "cellSize": 2})
    assert set(handles) == {"context.mask"}
    assert handles["context.mask"].kind == "features"
    assert bind(portal, alice, context={"mask": geometry}) == {}


def test_a_model_is_a_package_item(portal: Portal, alice: User, raster_item: Item) -> None:
    assert faults(portal, alice, model={"itemId": raster_item.id}) == (
        "model: item 'Scene' has type Image; a model has type Deep Learning Package",
    )


def test_a_definition_written_out_without_its_file_is_refused_with_the_way_out(portal: Portal, alice: User) -> None:
    told = faults(portal, alice, model={"Framework": "PyTorch", "ModelFile": "x.pth"})[0]
    assert "/rasterStores/<store>/<path>, or an item" in told


def test_a_viewer_runs_no_tool_that_adds_items(portal: Portal, vera: User, alice: User) -> None:
    assert "viewer" in faults(portal, vera, outputName="trees")[0]
    assert bind(portal, alice, outputName="trees") == {}


def test_outputs_go_only_into_own_items_and_folders(portal: Portal, alice: User, bob: User, raster_item: Item) -> None:
    folder = portal.folders.create(alice, "results")
    assert bind(portal, alice, outputName={"name": "x", "folderId": folder.id}) == {}
    assert "Folder does not exist" in faults(portal, bob, outputName={"name": "x", "folderId": folder.id})[0]
    portal.items.change(raster_item.id, alice, {"access": Access.PUBLIC})
    assert "inaccessible" in faults(portal, bob, outputName={"itemId": raster_item.id})[0]


def test_a_job_runs_the_model_that_was_there_when_it_was_submitted(
    portal: Portal, alice: User, model_item: Item, make_package
) -> None:  # type: ignore[no-untyped-def]
    form = {"model": json.dumps({"itemId": model_item.id})}
    pinned = portal.pin(TOOL, TOOL.parse(form), "alice")
    assert pinned["model"].digest == model_item.package_digest
    portal.replace_file(model_item.id, alice, make_package("house"), "houses.dlpk")
    assert bind(portal, alice, **form)["model"].digest != model_item.package_digest
    portal.items.delete(model_item.id, alice)
    assert portal.bind(TOOL, TOOL.parse(form), "alice", pinned) == pinned
    assert Path(pinned["model"].path, "tiny.emd").exists()


def test_pinning_asks_for_the_right_to_the_model(portal: Portal, bob: User, model_item: Item) -> None:
    with pytest.raises(AccessError):
        portal.pin(TOOL, TOOL.parse({"model": json.dumps({"itemId": model_item.id})}), "bob")


def test_what_a_token_opened_when_the_job_was_submitted_stays_open_without_it(
    portal: Portal, alice: User, bob: User, raster_item: Item
) -> None:
    url = f"{BASE}/portal/sharing/rest/content/items/{raster_item.id}"
    token = portal.tokens.issue("alice", 60).value
    with_token = {"inputRaster": f"{url}?token={token}"}
    pinned = portal.pin(TOOL, TOOL.parse(with_token), "bob")
    assert set(pinned) == {"inputRaster"}
    stored = TOOL.parse(without_tokens(with_token))
    assert portal.bind(TOOL, stored, "bob", pinned) == pinned
    with pytest.raises(ParameterError, match="inaccessible"):
        portal.bind(TOOL, stored, "bob")
    # Whose own right it is, that is asked again when the job begins.
    assert portal.pin(TOOL, TOOL.parse(with_token), "alice") == {}


def test_a_token_for_another_server_stays_with_the_handle(tmp_path: Path) -> None:
    hosts = ServiceHosts.of(("images.example",), ())
    portal = Portal(Settings(tmp_path / "data", BASE, image_hosts=hosts))
    portal.users.add("carol", "correct horse", Role.PUBLISHER)
    url = "https://images.example/arcgis/rest/services/scene/ImageServer"
    form = {"inputRaster": json.dumps({"url": url, "serviceToken": "secret"})}
    pinned = portal.pin(TOOL, TOOL.parse(form), "carol")
    stored = without_tokens(form)
    assert "secret" not in json.dumps(stored)
    handle = portal.bind(TOOL, TOOL.parse(stored), "carol", pinned)["inputRaster"]
    assert (handle.remote and handle.remote.token) == "secret"
    assert portal.pin(TOOL, TOOL.parse({"inputRaster": url}), "carol") == {}
    portal.close()


def test_a_hosted_layer_of_features_becomes_a_handle_by_url_and_by_item(
    portal: Portal, alice: User, tmp_path: Path
) -> None:
    draft = portal.draft(alice, "Feature Service", ItemText(title="Trees"))
    item = portal.services.create(ServiceName(ServiceKind.FEATURES, "trees_9"), alice, draft)
    data = tmp_path / "trees.gpkg"
    # What a GeoPackage begins with is all that binding looks at.
    data.write_bytes(b"SQLite format 3\0".ljust(68, b"\0") + b"GPKG")
    portal.items.replace_data(item.id, alice, portal.items.place(item.id, data, "trees.gpkg"))
    url = f"{HOSTED}/trees_9/FeatureServer/0"
    for features in ({"itemId": item.id}, {"url": url, "filter": "n > 3"}, {"url": url, "serviceToken": "stale"}, url):
        handle = bind(portal, alice, inputFeatures=features)["inputFeatures"]
        assert (handle.kind, handle.driver, handle.title) == ("features", "GPKG", "Trees")
    told = faults(portal, alice, inputRaster={"itemId": item.id})[0]
    assert "pictures that are attached to features are not read" in told


def test_features_written_out_need_no_handle(portal: Portal, alice: User) -> None:
    collection = {"featureSet": {"features": [], "spatialReference": {"wkid": 4326}}}
    assert bind(portal, alice, inputFeatures=json.dumps(collection)) == {}
    reference = FeatureReference.model_validate(collection)
    assert reference.collection == collection


@pytest.fixture
def second_item(portal: Portal, alice: User, store: Path, make_raster) -> Item:  # type: ignore[no-untyped-def]
    scene = make_raster(store / "second.tif")
    return portal.add_item(portal.draft(alice, "Image", ItemText(title="Second")), alice, scene, "second.tif")


def test_several_rasters_are_one_collection_in_their_order(
    portal: Portal, alice: User, store: Path, raster_item: Item, second_item: Item, make_raster
) -> None:  # type: ignore[no-untyped-def]
    with make_raster(store / "sent.tif").open("rb") as stream:
        upload = portal.input_uploads.store(alice, "sent.tif", stream)
    url = f"{BASE}/portal/sharing/rest/content/items/{second_item.id}"
    for given, titles in (
        ({"itemIds": [second_item.id, raster_item.id]}, ["Second", "Scene"]),
        ({"itemIds": [raster_item.id, upload.id], "itemsOnServer": True}, ["Scene", None]),
        ([{"itemId": raster_item.id}, url], ["Scene", "Second"]),
        (json.dumps(["/fileShares/images/sent.tif", raster_item.id]), ["/fileShares/images/sent.tif", "Scene"]),
    ):
        handle = bind(portal, alice, inputRaster=given)["inputRaster"]
        assert (handle.kind, handle.path, handle.join) == ("raster", "", "mosaic")
        assert all(title in (None, member.title) for title, member in zip(titles, handle.members, strict=True))
        assert all(member.driver == "GTiff" for member in handle.members)
    alone = bind(portal, alice, inputRaster=[{"itemId": raster_item.id}])["inputRaster"]
    assert (alone.title, alone.members) == ("Scene", ())


def test_a_folder_in_a_list_gives_all_of_its_rasters(portal: Portal, alice: User, store: Path, make_raster) -> None:  # type: ignore[no-untyped-def]
    (store / "tiles").mkdir()
    for name in ("tiles/b.tif", "tiles/a.tif", "c.tif"):
        make_raster(store / name)
    given = ["/fileShares/images/c.tif", "/fileShares/images/tiles"]
    members = bind(portal, alice, inputRaster=given)["inputRaster"].members
    assert [Path(member.path).name for member in members] == ["c.tif", "a.tif", "b.tif"]


def test_the_raster_of_several_that_is_not_usable_is_named(
    portal: Portal, alice: User, bob: User, store: Path, raster_item: Item
) -> None:
    (store / "notes.tif").write_text("no raster")
    told = faults(portal, alice, inputRaster=[{"itemId": raster_item.id}, "/fileShares/images/notes.tif"])[0]
    assert told.startswith("inputRaster: raster 2 of 2, '/fileShares/images/notes.tif': ")
    other = "0" * 32
    told = faults(portal, alice, inputRaster={"itemIds": [raster_item.id, other]})[0]
    assert told == f"inputRaster: raster 2 of 2, '{other}': Item does not exist or is inaccessible."
    told = faults(portal, bob, inputRaster={"itemIds": [raster_item.id, other]})[0]
    assert "raster 1 of 2" in told


def test_a_token_in_a_list_is_settled_at_submit(portal: Portal, alice: User, bob: User, raster_item: Item) -> None:
    url = f"{BASE}/portal/sharing/rest/content/items/{raster_item.id}"
    token = portal.tokens.issue("alice", 60).value
    form = {"inputRaster": json.dumps([{"url": url, "serviceToken": token}, {"url": f"{url}?token={token}"}])}
    pinned = portal.pin(TOOL, TOOL.parse(form), "bob")
    stored = without_tokens(form)
    assert token not in json.dumps(stored)
    handle = portal.bind(TOOL, TOOL.parse(stored), "bob", pinned)["inputRaster"]
    assert [member.title for member in handle.members] == ["Scene", "Scene"]


@pytest.mark.parametrize("given", [[], "[]", [{}], [["x"]], {"itemIds": []}])
def test_a_list_that_names_no_raster_is_refused(given: object) -> None:
    with pytest.raises(ParameterError, match="inputRaster"):
        TOOL.parse({"inputRaster": given})


def test_a_mask_may_be_a_raster(portal: Portal, alice: User, store: Path, raster_item: Item, model_item: Item) -> None:
    handles = bind(portal, alice, context={"mask": {"itemId": raster_item.id}})
    assert (handles["context.mask"].kind, handles["context.mask"].driver) == ("raster", "GTiff")
    (store / "notes.txt").write_text("neither")
    for given in ({"uri": "/fileShares/images/notes.txt"}, {"itemId": model_item.id}):
        assert "context.mask: features" in faults(portal, alice, context={"mask": given})[0]
