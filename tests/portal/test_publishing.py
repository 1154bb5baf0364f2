from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

import dlpk
from raster_analysis.errors import AccessError, InputError, ModelError, OutputExists
from raster_analysis.inputs import OutputName
from raster_analysis.portal.item import PACKAGE_TYPE, Access, Item, ItemText
from raster_analysis.portal.items import DataFile
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.services import ServiceKind, ServiceName
from raster_analysis.portal.users import User
from raster_analysis.tool import Kind, Output, OutputInfo, Parameters, Publication, Tool, parameter

HOSTED = "https://gis.example:8443/arcgis/rest/services/Hosted"


class Target(Parameters):
    output: OutputName = parameter("outputName", "", kind=Kind.OUTPUT)
    overwrite_model: bool = parameter("overwriteModel", "", default=False)


TOOL: Tool[Any] = Tool("Make", "Make Things", "", Target, (OutputInfo("out", "", source="outputName"),))


def publish(portal: Portal, user: User, output: Output, job_id: str = "j1", **form: object) -> dict[str, JsonValue]:
    return portal.publish(Publication(job_id, TOOL, TOOL.parse(form), (output,), user.name))


def item_of(portal: Portal, user: User, published: dict[str, JsonValue]) -> Item:
    value = published["out"]
    assert isinstance(value, dict)
    return portal.items.get(str(value["itemId"]), user)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "job" / "result.gpkg"
    path.parent.mkdir()
    path.write_bytes(b"features")
    return path


def package(path: Path) -> Output:
    return Output("out", "package", path=str(path), statistics={"title": "proposed"})


def features(path: Path) -> Output:
    return Output("out", "features", path=str(path))


def test_values_pass_as_they_are(portal: Portal, alice: User) -> None:
    value: JsonValue = {"modelInfo": "{}"}
    assert publish(portal, alice, Output("out", "value", value=value), outputName="x") == {"out": value}


def test_a_package_becomes_an_item(portal: Portal, alice: User, make_package) -> None:  # type: ignore[no-untyped-def]
    path = make_package("tree")
    folder = portal.folders.create(alice, "models")
    item = item_of(
        portal, alice, publish(portal, alice, package(path), outputName={"name": "My trees", "folderId": folder.id})
    )
    assert (item.type, item.title, item.name, item.owner) == (PACKAGE_TYPE, "My trees", "My trees.dlpk", "alice")
    assert item.folder_id == folder.id
    assert item.package_digest == dlpk.open(path).digest
    data = portal.items.data_path(item)
    assert data is not None
    assert data.read_bytes() == path.read_bytes()
    assert item.size == path.stat().st_size
    assert portal.catalog("alice").models()[0]["id"] == item.id


def test_publishing_a_job_twice_gives_the_same_items(portal: Portal, alice: User, result: Path) -> None:
    first = publish(portal, alice, features(result), outputName="trees")
    assert publish(portal, alice, features(result), outputName="trees") == first
    assert publish(portal, alice, features(result), "j2", outputName="trees") != first
    portal.items.delete(item_of(portal, alice, first).id, alice)
    again = publish(portal, alice, features(result), outputName="trees")
    assert isinstance(again["out"], dict)
    assert again["out"]["itemId"] == first["out"]["itemId"]  # type: ignore[index,call-overload]


def test_a_title_is_used_twice_only_when_overwriting_was_asked_for(
    portal: Portal, alice: User, bob: User, make_package
) -> None:  # type: ignore[no-untyped-def]
    first = item_of(portal, alice, publish(portal, alice, package(make_package("tree")), outputName="Model"))
    with pytest.raises(OutputExists, match="overwriteModel"):
        publish(portal, alice, package(make_package("ship")), "j2", outputName="model")
    assert portal.items.get(first.id, alice) == first
    theirs = item_of(portal, bob, publish(portal, bob, package(make_package("ship")), "j3", outputName="model"))
    assert theirs.id != first.id
    value = publish(portal, alice, package(make_package("ship")), "j4", outputName="model", overwriteModel=True)
    second = item_of(portal, alice, value)
    assert second.id == first.id
    assert second.package_digest == theirs.package_digest
    left = list((portal.settings.folder / "items" / first.id).iterdir())
    assert left == [portal.items.data_path(second)]


def test_an_item_named_by_id_is_updated(portal: Portal, alice: User, bob: User, make_package) -> None:  # type: ignore[no-untyped-def]
    item = item_of(portal, alice, publish(portal, alice, package(make_package("tree")), outputName="m"))
    updated = publish(portal, alice, package(make_package("ship")), "j2", outputName={"itemId": item.id})
    assert item_of(portal, alice, updated).package_digest != item.package_digest
    with pytest.raises(AccessError):
        publish(portal, bob, package(make_package("car")), "j3", outputName={"itemId": item.id})


def test_what_an_owner_changes_while_a_result_is_copied_stays(
    portal: Portal, alice: User, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = item_of(portal, alice, publish(portal, alice, features(result), outputName="trees"))
    portal.items.change(item.id, alice, {"access": Access.PUBLIC})
    place = portal.items.place

    def place_slowly(item_id: str, source: Path, name: str) -> DataFile:
        portal.items.change(item.id, alice, {"access": Access.PRIVATE, "title": "Only mine"})
        return place(item_id, source, name)

    monkeypatch.setattr(portal.items, "place", place_slowly)
    again = item_of(portal, alice, publish(portal, alice, features(result), "j2", outputName={"itemId": item.id}))

    assert (again.access, again.title) == (Access.PRIVATE, "Only mine")
    assert again.data_file != item.data_file


def test_of_two_results_for_one_item_one_file_is_left(
    portal: Portal, alice: User, result: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = item_of(portal, alice, publish(portal, alice, features(result), outputName="trees"))
    place = portal.items.place

    def publish_between(item_id: str, source: Path, name: str) -> DataFile:
        monkeypatch.setattr(portal.items, "place", place)
        publish(portal, alice, features(result), "j2", outputName={"itemId": item.id})
        return place(item_id, source, name)

    monkeypatch.setattr(portal.items, "place", publish_between)
    last = item_of(portal, alice, publish(portal, alice, features(result), "j3", outputName={"itemId": item.id}))

    assert list((portal.settings.folder / "items" / item.id).iterdir()) == [portal.items.data_path(last)]


def test_a_package_that_fails_its_checks_is_not_published(portal: Portal, alice: User, result: Path) -> None:
    with pytest.raises(ModelError):
        publish(portal, alice, package(result), outputName="m")
    assert portal.catalog("alice").models() == []


@pytest.mark.parametrize(("kind", "server"), [("features", "FeatureServer"), ("imagery", "ImageServer")])
def test_a_result_becomes_a_service(portal: Portal, alice: User, result: Path, kind: Any, server: str) -> None:
    published = publish(portal, alice, Output("out", kind, path=str(result)), outputName="Tree crowns (2)!")
    item = item_of(portal, alice, published)
    assert published["out"] == {"itemId": item.id, "url": f"{HOSTED}/Tree_crowns_2/{server}"}
    assert item.title == "Tree crowns (2)!"
    found = portal.services.find(ServiceName(ServiceKind(server), "tree_CROWNS_2"), alice)
    assert found == item
    data = portal.items.data_path(item)
    assert data is not None
    assert (data.suffix, data.read_bytes()) == (".gpkg", b"features")


def test_a_service_made_beforehand_is_filled(portal: Portal, alice: User, result: Path) -> None:
    service = ServiceName(ServiceKind.FEATURES, "trees_1")
    made = portal.services.create(service, alice, portal.draft(alice, "Feature Service", ItemText(title="trees 1")))
    target = {
        "serviceProperties": {"name": "trees_1", "serviceUrl": f"{HOSTED}/trees_1/FeatureServer"},
        "itemProperties": {"itemId": made.id},
    }
    item = item_of(portal, alice, publish(portal, alice, features(result), outputName=target))
    assert (item.id, item.name, item.size) == (made.id, "trees_1", 8)


def test_a_service_made_beforehand_is_found_by_its_name_alone(portal: Portal, alice: User, result: Path) -> None:
    service = ServiceName(ServiceKind.FEATURES, "trees_1")
    made = portal.services.create(service, alice, portal.draft(alice, "Feature Service", ItemText(title="trees 1")))
    target = {"serviceProperties": {"name": "trees_1"}}
    assert item_of(portal, alice, publish(portal, alice, features(result), outputName=target)).id == made.id


def test_a_result_of_the_wrong_kind_is_not_put_into_a_service(portal: Portal, alice: User, result: Path) -> None:
    service = ServiceName(ServiceKind.IMAGERY, "cover")
    made = portal.services.create(service, alice, portal.draft(alice, "Image Service", ItemText(title="cover")))
    with pytest.raises(InputError, match="has type Image Service; the result needs Feature Service"):
        publish(portal, alice, features(result), outputName={"itemId": made.id})


def test_an_output_item_that_was_deleted_meanwhile_fails_the_job_cleanly(
    portal: Portal, alice: User, result: Path
) -> None:
    with pytest.raises(AccessError):
        publish(portal, alice, features(result), outputName={"itemId": "0" * 32})
    assert list((portal.settings.folder / "items").iterdir()) == []


def test_a_name_that_is_taken_never_loses_a_result(portal: Portal, alice: User, bob: User, result: Path) -> None:
    users = [alice, bob] * 4
    with ThreadPoolExecutor(8) as threads:
        jobs = threads.map(lambda n: publish(portal, users[n], features(result), f"j{n}", outputName="trees"), range(8))
        urls = {value["out"]["url"] for value in jobs}  # type: ignore[index,call-overload]
    expected = {f"{HOSTED}/trees/FeatureServer", *(f"{HOSTED}/trees_{n}/FeatureServer" for n in range(1, 8))}
    assert urls == expected


def test_a_service_left_empty_is_given_again_to_its_owner_only(
    portal: Portal, alice: User, bob: User, result: Path
) -> None:
    service = ServiceName(ServiceKind.FEATURES, "trees")
    draft = portal.draft(alice, "Feature Service", ItemText(title="trees"))
    made = portal.services.create(service, alice, draft)
    assert portal.services.is_available(service, alice)
    assert not portal.services.is_available(service, bob)
    assert (
        portal.services.create(service, alice, portal.draft(alice, "Feature Service", ItemText(title="trees"))).id
        == made.id
    )
    with pytest.raises(InputError, match="already exists"):
        portal.services.create(service, bob, portal.draft(bob, "Feature Service", ItemText(title="trees")))
    publish(portal, alice, features(result), outputName={"itemId": made.id})
    assert not portal.services.is_available(service, alice)
    assert portal.services.is_available(ServiceName(ServiceKind.IMAGERY, "trees"), bob)
    portal.items.delete(made.id, alice)
    assert portal.services.is_available(service, bob)


def test_services_are_listed_for_those_who_can_read_them(portal: Portal, alice: User, bob: User) -> None:
    service = ServiceName(ServiceKind.FEATURES, "trees")
    portal.services.create(service, alice, portal.draft(alice, "Feature Service", ItemText(title="trees")))
    assert portal.services.list(alice) == [service]
    assert portal.services.list(bob) == portal.services.list(None) == []
    with pytest.raises(AccessError):
        portal.services.find(service, bob)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "a\n", "é", "x" * 121, "a;b"])
def test_unusable_service_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="not usable"):
        ServiceName(ServiceKind.FEATURES, name)


def test_a_table_is_a_feature_service_of_its_own(portal: Portal, alice: User, result: Path) -> None:
    published = publish(portal, alice, Output("out", "table", path=str(result)), outputName="scores")
    item = item_of(portal, alice, published)
    assert (item.type, published["out"]) == (
        "Feature Service",
        {"itemId": item.id, "url": f"{HOSTED}/scores/FeatureServer"},
    )


def test_a_report_is_a_document_that_is_downloaded(portal: Portal, alice: User, bob: User, tmp_path: Path) -> None:
    path = tmp_path / "accuracy.html"
    path.write_text("<p>good</p>")
    report = Output("out", "report", path=str(path), statistics={"title": "Accuracy"})
    published = publish(portal, alice, report, outputName="Report 1")
    item = item_of(portal, alice, published)
    assert published["out"] == {"itemId": item.id}
    assert (item.type, item.title, item.name) == ("Document Link", "Report 1", "Report 1.html")
    # The same name again is another report: nothing is lost, and nothing was asked to be replaced.
    again = item_of(portal, alice, publish(portal, alice, report, "j2", outputName="Report 1"))
    assert again.id != item.id
    into = publish(portal, alice, report, "j3", outputName={"itemId": item.id, "name": "Report 1"})
    assert item_of(portal, alice, into).id == item.id
    with pytest.raises(AccessError):
        publish(portal, bob, report, "j4", outputName={"itemId": item.id})


def test_a_filled_service_is_replaced_for_those_who_name_its_item_and_never_for_its_name(
    portal: Portal, alice: User, bob: User, result: Path, tmp_path: Path
) -> None:
    first = item_of(portal, alice, publish(portal, alice, features(result), outputName="trees"))
    other = tmp_path / "job" / "other.gpkg"
    other.write_bytes(b"others")
    for job, name in (("j2", "trees"), ("j3", {"serviceProperties": {"name": "trees"}})):
        second = item_of(portal, alice, publish(portal, alice, features(other), job, outputName=name))
        assert second.id != first.id
    target = {"serviceProperties": {"name": "trees"}, "itemProperties": {"itemId": first.id}}
    replaced = item_of(portal, alice, publish(portal, alice, features(other), "j4", outputName=target))
    data = portal.items.data_path(replaced)
    assert data is not None
    assert (replaced.id, data.read_bytes()) == (first.id, b"others")
    with pytest.raises(AccessError):
        publish(portal, bob, features(result), "j5", outputName=target)
