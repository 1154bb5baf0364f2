from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from raster_analysis.errors import AccessError
from raster_analysis.portal.item import Item, ItemText
from raster_analysis.portal.portal import Portal
from raster_analysis.portal.services import UNFILLED_MS, ServiceKind, ServiceName
from raster_analysis.portal.users import User

NAME = ServiceName(ServiceKind.FEATURES, "trees")


@pytest.fixture
def service(portal: Portal, alice: User) -> Item:
    return portal.services.create(NAME, alice, portal.draft(alice, "Feature Service", ItemText(title="trees")))


def pass_a_day(time: Callable[[], int]) -> None:
    time.ms += UNFILLED_MS + 1  # type: ignore[attr-defined]


def test_a_service_that_no_job_filled_is_gone_after_a_day_and_its_name_is_free(
    portal: Portal, alice: User, bob: User, service: Item, time: Callable[[], int]
) -> None:
    portal.tidy()
    assert portal.items.get(service.id, alice) == service
    pass_a_day(time)
    portal.tidy()
    with pytest.raises(AccessError):
        portal.items.get(service.id, alice)
    assert portal.services.is_available(NAME, bob)


def test_a_service_whose_job_waits_is_kept(portal: Portal, alice: User, service: Item, time: Callable[[], int]) -> None:
    pass_a_day(time)
    portal.tidy({service.id})
    assert portal.items.get(service.id, alice) == service


def test_a_filled_service_and_other_items_without_data_are_kept(
    portal: Portal, alice: User, service: Item, time: Callable[[], int], tmp_path: Path
) -> None:
    (tmp_path / "r.gpkg").write_bytes(b"features")
    portal.items.replace_data(service.id, alice, portal.items.place(service.id, tmp_path / "r.gpkg", "r.gpkg"))
    other = portal.add_item(portal.draft(alice, "PDF", ItemText(title="no file")), alice, None)
    pass_a_day(time)
    portal.tidy()
    assert portal.items.get(service.id, alice).data_file
    assert portal.items.get(other.id, alice) == other


def test_a_service_in_use_again_or_protected_is_kept(
    portal: Portal, alice: User, service: Item, time: Callable[[], int]
) -> None:
    pass_a_day(time)
    again = portal.services.create(NAME, alice, portal.draft(alice, "Feature Service", ItemText(title="trees")))
    portal.tidy()
    assert portal.items.get(service.id, alice).id == again.id
    portal.items.change(service.id, alice, {"protected": True})
    pass_a_day(time)
    portal.tidy()
    assert portal.items.get(service.id, alice).protected
