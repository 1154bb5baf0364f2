"""Which results a job's page shows over what the job was given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from raster_analysis.errors import AccessError
from raster_analysis.handle import Handle, RemoteImage
from raster_analysis.rest.preview import previewed_outputs

SERVICE = "https://h/arcgis/rest/services/Hosted/Trees/FeatureServer"
JOB: Any = SimpleNamespace(outputs={"out": {"itemId": "1", "url": SERVICE}, "model": {"itemId": "2"}, "n": 3})
FILE = Handle("raster", "/data/a.tif", "a", "GTiff")


@pytest.mark.parametrize(
    ("raster", "shown"),
    [
        (FILE, ["out"]),
        (None, []),
        (Handle("raster", "", "two", members=(FILE, FILE), join="mosaic"), []),
        (Handle("raster", "", "far", remote=RemoteImage("https://far/ImageServer")), []),
    ],
)
def test_only_what_lies_in_a_file_is_drawn_over(raster: Handle | None, shown: list[str]) -> None:
    assert previewed_outputs(JOB, lambda _: raster) == shown


def test_nothing_is_drawn_when_the_raster_is_gone_or_not_for_its_user_any_more() -> None:
    def refuse(_job: Any) -> Handle:
        raise AccessError("Item does not exist or is inaccessible.")

    assert previewed_outputs(JOB, refuse) == []
