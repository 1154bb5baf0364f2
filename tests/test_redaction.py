from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raster_analysis.redaction import without_tokens

SERVICE = "https://h/arcgis/rest/services/Hosted/a/ImageServer"
SECRET = "S3CR3Ttoken0123456789"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (f"{SERVICE}?token={SECRET}", SERVICE),
        (f"{SERVICE}?f=json&token={SECRET}", f"{SERVICE}?f=json"),
        (f"{SERVICE}?token={SECRET}&f=json", f"{SERVICE}?f=json"),
        (f"{SERVICE}?a=1&Token={SECRET}&f=json", f"{SERVICE}?a=1&f=json"),
        (f'<FeatureLayer url:"{SERVICE}?token={SECRET}">', f'<FeatureLayer url:"{SERVICE}">'),
        (json.dumps({"url": f"{SERVICE}?token={SECRET}"}), json.dumps({"url": SERVICE})),
        (
            json.dumps({"mask": {"type": "FeatureLayer", "url": SERVICE, "serviceToken": SECRET}}),
            json.dumps({"mask": {"type": "FeatureLayer", "url": SERVICE}}),
        ),
        (json.dumps([{"url": SERVICE, "token": SECRET}]), json.dumps([{"url": SERVICE}])),
        (f'{{"url": "{SERVICE}?\\u0074oken={SECRET}"}}', json.dumps({"url": SERVICE})),
        (f'{{"service\\u0054oken": "{SECRET}"}}', "{}"),
    ],
)
def test_a_token_is_taken_out_and_the_rest_stays(given: str, stored: str) -> None:
    assert without_tokens({"inputRaster": given}) == {"inputRaster": stored}


@pytest.mark.parametrize(
    "broken", [f'{{"url": "{SERVICE}?token={SECRET}"', f'["serviceToken": "{SECRET}"]', f"[token={SECRET}"]
)
def test_no_token_is_left_in_json_that_cannot_be_read(broken: str) -> None:
    assert SECRET not in json.dumps(without_tokens({"inputRaster": broken}))


def test_fields_that_are_tokens_are_left_out() -> None:
    assert without_tokens({"Token": SECRET, "serviceToken": SECRET, "a": {"token": SECRET, "b": 1}}) == {"a": {"b": 1}}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), st.text() | JSON.map(json.dumps)))
def test_what_holds_no_token_is_stored_as_it_came(form: dict[str, str]) -> None:
    quiet = {name: value for name, value in form.items() if "token" not in f"{name}{value}".lower()}
    assert without_tokens(quiet) == quiet
