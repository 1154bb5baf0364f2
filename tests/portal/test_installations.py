"""Installing, uninstalling, and models written out, through the very calls that jobs make."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from argon2 import PasswordHasher
from raster_analysis.tools import TOOLS

import dlpk
from raster_analysis.errors import AccessError, InputError, ModelError, ParameterError
from raster_analysis.handle import Handle
from raster_analysis.inference.in_memory import ListReporter
from raster_analysis.perform import perform_all
from raster_analysis.portal.item import PACKAGE_TYPE, Access, Item, ItemText
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.users import User
from raster_analysis.tool import Context, Publication
from raster_analysis.worker import make_bench

Run = Callable[..., Any]


@pytest.fixture
def model(portal: Portal, alice: User, make_package) -> Item:  # type: ignore[no-untyped-def]
    draft = portal.draft(alice, PACKAGE_TYPE, ItemText(title="Trees"))
    return portal.add_item(draft, alice, make_package("tree"), "trees.dlpk")


@pytest.fixture
def run(portal: Portal, tmp_path: Path) -> Run:
    bench = make_bench(2**30, tmp_path / "data" / "packages", threads=1)
    count = iter(range(100))

    def run(name: str, user: User, job: str = "", **form: object) -> Any:
        tool = TOOLS[name]
        parameters = tool.parse(form)
        job = job or f"j{next(count)}"
        folder = tmp_path / "jobs" / job
        folder.mkdir(parents=True, exist_ok=True)
        handles = portal.bind(tool, parameters, user.name)
        context = Context(
            folder=folder, handles=handles, report=ListReporter(), rasters=bench.rasters, models=bench.models,
            features=bench.features, memory_limit=2**30, threads=1,
        )  # fmt: skip
        outputs = (
            tool.answer(parameters, portal.catalog(user.name)) if tool.answer else perform_all(tool, form, context)
        )
        (value,) = portal.publish(Publication(job, tool, parameters, outputs, user.name)).values()
        return value

    return run


def install(run: Run, user: User, item: Item) -> str:
    return str(run("InstallDeepLearningModel", user, modelPackage={"itemId": item.id}))


def listed(run: Run, user: User) -> dict[str, bool]:
    return {model["id"]: model["installed"] for model in run("ListDeepLearningModels", user)}


def test_installing_says_where_and_lists_and_describes_the_model_as_installed(
    run: Run, alice: User, bob: User, model: Item, portal: Portal
) -> None:
    assert listed(run, alice) == {model.id: False}
    assert install(run, alice, model) == rf"[resources]models\raster\{model.id}\tiny.emd"
    assert listed(run, alice) == {model.id: True}
    described = run("QueryDeepLearningModelInfo", alice, model={"itemId": model.id})
    assert json.loads(described["modelInfo"])["Installed"] is True
    url = f"{portal.base_url}/portal/sharing/rest/content/items/{model.id}"
    assert run("InstallDeepLearningModel", alice, modelPackage={"url": url}).endswith("tiny.emd")


def test_uninstalling_gives_the_item_id_once_and_leaves_the_item(run: Run, alice: User, model: Item) -> None:
    install(run, alice, model)
    again = {"job": "the same job", "modelItemId": {"itemId": model.id}}
    assert run("UninstallDeepLearningModel", alice, **again) == model.id
    assert run("UninstallDeepLearningModel", alice, **again) == model.id
    assert listed(run, alice) == {model.id: False}
    with pytest.raises(InputError, match="is not installed by user 'alice'"):
        run("UninstallDeepLearningModel", alice, modelItemId=model.id)


def test_rights(run: Run, portal: Portal, alice: User, bob: User, root: User, model: Item) -> None:
    with pytest.raises((AccessError, ParameterError), match="does not exist or is inaccessible"):
        install(run, bob, model)
    install(run, alice, model)
    with pytest.raises(InputError, match="not installed by user 'bob'"):
        run("UninstallDeepLearningModel", bob, modelItemId={"itemId": model.id})
    portal.items.change(model.id, alice, {"access": Access.ORG})
    install(run, bob, model)
    run("UninstallDeepLearningModel", alice, modelItemId={"itemId": model.id})
    assert listed(run, alice) == {model.id: True}
    # Bob may take back what he did even when the item is not for him any more.
    portal.items.change(model.id, alice, {"access": Access.PRIVATE})
    run("UninstallDeepLearningModel", bob, modelItemId={"itemId": model.id})
    install(run, alice, model)
    assert run("UninstallDeepLearningModel", root, modelItemId={"itemId": model.id}) == model.id
    assert listed(run, alice) == {model.id: False}


def test_only_items_of_packages_are_installed(run: Run, portal: Portal, alice: User, make_raster, store: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ParameterError, match="want a published model"):
        run("InstallDeepLearningModel", alice, modelPackage="/rasterStores/images/a.dlpk")
    image = portal.add_item(
        portal.draft(alice, "Image", ItemText(title="Scene")), alice, make_raster(store / "s.tif"), "s.tif"
    )
    with pytest.raises(ParameterError, match="has type Image"):
        install(run, alice, image)


def test_what_is_installed_stays_unpacked_and_goes_with_its_last_user(
    run: Run, portal: Portal, alice: User, model: Item, make_package, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    install(run, alice, model)
    digest = str(model.package_digest)
    portal.replace_file(model.id, alice, make_package("ship"), "trees.dlpk")
    assert listed(run, alice) == {model.id: False}
    settings = portal.settings
    portal.sweep()
    assert portal.packages.has(digest)
    run("UninstallDeepLearningModel", alice, modelItemId={"itemId": model.id})
    portal.sweep([digest])
    assert portal.packages.has(digest)
    portal.close()
    later = Portal(settings, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    later.sweep()
    assert not later.packages.has(digest)
    later.close()


def test_an_installation_goes_with_its_item(run: Run, portal: Portal, alice: User, model: Item) -> None:
    install(run, alice, model)
    portal.items.delete(model.id, alice)
    assert portal.installations.digests() == set()


def test_a_file_replaced_while_it_was_installed_is_not_taken_for_the_proved_one(
    run: Run, portal: Portal, alice: User, model: Item, make_package
) -> None:  # type: ignore[no-untyped-def]
    reference = TOOLS["InstallDeepLearningModel"].parse({"modelPackage": model.id}).package
    portal.replace_file(model.id, alice, make_package("ship"), "trees.dlpk")
    with pytest.raises(InputError, match="install it again"):
        portal.installations.install(reference, alice, digest=str(model.package_digest))


def deep() -> object:
    nested: object = 1
    for _ in range(200):
        nested = [nested]
    return nested


def definition(**keys: object) -> dict[str, object]:
    return {
        "Framework": "ONNX", "ModelType": "ImageClassification", "ModelConfiguration": "tiny",
        "ModelFile": "/rasterStores/images/nets/tiny.onnx", "ImageHeight": 64, "ImageWidth": 64,
        "ExtractBands": [0, 1, 2], "Classes": [{"Value": 1, "Name": "tree", "Color": [0, 200, 0]}],
        "RasterAnalysis": {"Output": {"Decoder": "pixels"}}, **keys,
    }  # fmt: skip


@pytest.fixture
def network_file(store: Path, network: bytes) -> Path:
    (store / "nets").mkdir()
    for name in ("model.emd", "junk.onnx", "junk.pth"):
        (store / "nets" / name).write_bytes(b"\x08\x07junk")
    path = store / "nets" / "tiny.onnx"
    path.write_bytes(network)
    return path


def bind(portal: Portal, user: User, written: object) -> Handle:
    tool = TOOLS["QueryDeepLearningModelInfo"]
    return portal.bind(tool, tool.parse({"model": json.dumps(written)}), user.name)["model"]


def test_a_definition_written_out_is_a_model(run: Run, portal: Portal, alice: User, network_file: Path) -> None:
    described = json.loads(run("QueryDeepLearningModelInfo", alice, model=definition())["modelInfo"])
    assert described["ModelType"] == "ImageClassification"
    assert described["Classes"][0]["Name"] == "tree"
    handle = bind(portal, alice, definition())
    assert handle == bind(portal, alice, definition())
    assert dlpk.open(Path(handle.path)).digest == handle.digest
    assert handle.digest != bind(portal, alice, definition(ModelName="other")).digest
    assert {path.name for path in (portal.settings.folder / "packages").iterdir()} >= {handle.digest}
    assert not list((portal.settings.folder / "packages").glob(".unpacking*"))


def test_the_network_of_a_definition_may_be_an_item(
    portal: Portal, alice: User, bob: User, network_file: Path, model: Item
) -> None:
    draft = portal.draft(alice, "Other", ItemText(title="net"))
    item = portal.add_item(draft, alice, network_file, "net.onnx")
    by_item = bind(portal, alice, definition(ModelFile={"itemId": item.id}))
    assert (Path(by_item.path) / "net.onnx").read_bytes() == network_file.read_bytes()
    assert bind(portal, alice, definition(ModelFile=item.id)).digest == by_item.digest
    with pytest.raises(ParameterError, match="inaccessible"):
        bind(portal, bob, definition(ModelFile={"itemId": item.id}))
    with pytest.raises(ParameterError, match="is a package; give it as the model itself"):
        bind(portal, alice, definition(ModelFile={"itemId": model.id}))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"ModelFile": "tiny.onnx"}, "is relative, but there is no package"),
        ({"ModelFile": "../../etc/passwd"}, "is relative"),
        ({"ModelFile": "/etc/passwd"}, "is no store path"),
        ({"ModelFile": "/rasterStores/images/../x.onnx"}, "is not usable"),
        ({"ModelFile": "/rasterStores/images/missing.onnx"}, "does not exist or is inaccessible"),
        ({"ModelFile": "/rasterStores/images/nets"}, "is no file"),
        ({"ModelFile": "https://elsewhere.example/tiny.onnx"}, "is on another server"),
        ({"ModelFile": "/rasterStores/images/nets/model.emd"}, "is a package; give it as the model itself"),
        ({"ModelFile": "/rasterStores/images/nets/junk.onnx"}, "no usable network|not a usable package"),
        ({"ModelFile": "/rasterStores/images/nets/junk.pth"}, "no usable network|not a usable package"),
        ({"ModelName": "\ud800"}, "not a usable package"),
        ({"ImageHeight": float("nan")}, "not a usable package"),
        ({"Nested": deep()}, "not a usable package|not valid|too deep|recursion"),
        ({"ModelFile": None}, "cannot be used; ModelFile names a network file"),
        ({"ModelFile": ["a", "b"]}, "cannot be used"),
        ({"ModelFile": 7}, "cannot be used"),
        ({"InferenceFunction": "Detector.py"}, "is a Python raster function, which is not run here"),
        ({"ModelType": "Nonsense"}, "is not a usable package"),
        ({"Classes": []}, "is not a usable package"),
    ],
)
def test_a_definition_that_cannot_be_used_is_refused_with_the_way_out(
    portal: Portal, alice: User, network_file: Path, keys: dict[str, object], words: str
) -> None:
    with pytest.raises((ParameterError, ModelError), match=words) as refused:
        bind(portal, alice, definition(**keys))
    assert str(portal.settings.folder) not in str(refused.value)
    assert list((portal.settings.folder / "packages").iterdir()) == []


def test_the_store_is_left_as_it_was(portal: Portal, alice: User, network_file: Path) -> None:
    before = network_file.stat()
    handle = bind(portal, alice, definition())
    after = network_file.stat()
    assert (before.st_mode, before.st_mtime_ns, before.st_ino) == (after.st_mode, after.st_mtime_ns, after.st_ino)
    assert (Path(handle.path) / "tiny.onnx").stat().st_ino != after.st_ino


def test_a_file_of_the_store_is_never_written_to_by_another_of_the_same_name(
    portal: Portal, alice: User, store: Path, network_file: Path
) -> None:
    # The network's own name becomes that of its tensors' file, once characters that no header may hold are replaced.
    model = onnx.load(network_file)
    onnx.save(
        model, store / "nets" / "a'b.onnx", save_as_external_data=True, all_tensors_to_one_file=True,
        location="a_b.onnx", size_threshold=0,
    )  # fmt: skip
    before = {path.name: path.read_bytes() for path in (store / "nets").iterdir()}
    with pytest.raises(ParameterError, match=r"two files of the model would both be called 'a_b\.onnx'"):
        bind(portal, alice, definition(ModelFile="/rasterStores/images/nets/a'b.onnx"))
    assert {path.name: path.read_bytes() for path in (store / "nets").iterdir()} == before


def test_tensors_beside_the_network_come_along(portal: Portal, alice: User, store: Path, network_file: Path) -> None:
    onnx.save(
        onnx.load(network_file), store / "nets" / "large.onnx", save_as_external_data=True,
        all_tensors_to_one_file=True, location="large.data", size_threshold=0,
    )  # fmt: skip
    handle = bind(portal, alice, definition(ModelFile="/rasterStores/images/nets/large.onnx"))
    assert {path.name for path in Path(handle.path).iterdir()} == {"model.emd", "large.onnx", "large.data"}
