"""The pages in a real browser: what a person sees, does with the keyboard, and what the browser asks for meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_server import PASSWORD
from playwright.sync_api import Browser, Page, expect, sync_playwright
from served import Results, find_program, missing

TOOLBOX = "/arcgis/rest/services/System/RasterAnalysisTools/GPServer"
AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = find_program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def asked() -> list[str]:
    """Every URL that the browser asked for."""
    return []


@pytest.fixture
def page(chromium: Browser, results: Results, asked: list[str]) -> Iterator[Page]:
    """A page that nobody signed in on; what goes wrong on it fails the test."""
    context = chromium.new_context(base_url=results.server.url, viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    yield page
    context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith((results.server.url, "data:"))] == []


@pytest.fixture
def signed_in(page: Page) -> Page:
    """Signed in by the keyboard alone: the cursor is where one types."""
    page.goto("/arcgis/rest/login?next=/portal/home/content.html")
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("ann")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("My content")
    return page


def wait_until_drawn(page: Page, selector: str) -> None:
    """Wait until every picture that a selector finds, one at least, was loaded and is larger than nothing."""
    drawn = "s => { const p = [...document.querySelectorAll(s)]; return p.length && p.every(i => i.naturalWidth > 1); }"
    page.wait_for_function(drawn, arg=selector)


def test_a_visitor_walks_from_the_root_to_a_task(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="System").click()
    page.get_by_role("link", name="RasterAnalysisTools").click()
    page.get_by_role("link", name="Classify Pixels Using Deep Learning").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Classify Pixels Using Deep Learning")
    expect(page.get_by_role("link", name="Sign in to submit")).to_be_visible()


def test_a_job_is_submitted_with_the_keyboard_and_shows_its_end_by_itself(signed_in: Page, asked: list[str]) -> None:
    signed_in.goto(f"{TOOLBOX}/DetectObjectsUsingDeepLearning?inputRaster=/rasterStores/s/scene.tif")
    signed_in.get_by_label(re.compile("^Output Objects")).focus()
    signed_in.keyboard.type("by hand")
    signed_in.keyboard.press("Tab")
    signed_in.keyboard.type("/fileShares/s/detector.dlpk")
    signed_in.keyboard.press("Enter")
    signed_in.wait_for_url("**/jobs/j*")
    job = signed_in.url
    # Not reloaded: the page fetches itself, and what was read stays where it was.
    expect(signed_in.locator(".state")).to_have_text("succeeded", timeout=60_000)
    assert signed_in.url == job
    assert signed_in.locator(".messages li").count() >= 3
    assert asked.count(job) >= 2
    wait_until_drawn(signed_in, ".stack img")


def test_a_mistake_in_the_form_is_told_beside_what_was_typed(signed_in: Page) -> None:
    signed_in.goto(f"{TOOLBOX}/DetectObjectsUsingDeepLearning")
    signed_in.get_by_label(re.compile("^Input Raster")).fill("/rasterStores/s/scene.tif")
    signed_in.get_by_label(re.compile("^Output Objects")).fill("x")
    signed_in.get_by_label(re.compile("^Model ")).first.fill("/fileShares/s/detector.dlpk")
    signed_in.get_by_label("Context").fill('{"batchSize": 0}')
    signed_in.get_by_role("button", name="Submit job").click()
    expect(signed_in.get_by_role("alert")).to_contain_text("batchSize")
    expect(signed_in.get_by_label("Context")).to_have_value('{"batchSize": 0}')


def test_results_are_found_shared_and_opened(signed_in: Page, results: Results) -> None:
    signed_in.get_by_role("link", name="Content", exact=True).click()
    signed_in.get_by_label("Find items").fill("cover")
    signed_in.keyboard.press("Enter")
    signed_in.get_by_role("link", name="cover", exact=True).click()
    expect(signed_in.get_by_role("heading", level=1)).to_have_text("cover")
    wait_until_drawn(signed_in, ".preview img")
    signed_in.get_by_role("button", name="the organisation").click()
    expect(signed_in.locator("dl.facts")).to_contain_text("the organisation")
    signed_in.get_by_role("button", name="nobody").click()
    expect(signed_in.locator("dl.facts")).to_contain_text("nobody")


def test_a_layer_shows_its_features_and_its_classes(signed_in: Page, results: Results) -> None:
    signed_in.goto(results.objects["url"])
    wait_until_drawn(signed_in, ".preview img")
    signed_in.get_by_role("link", name=re.compile("objects", re.IGNORECASE)).last.click()
    expect(signed_in.locator("main")).to_contain_text("Confidence")
    wait_until_drawn(signed_in, ".preview img")


def test_an_image_service_shows_its_picture(signed_in: Page, results: Results) -> None:
    signed_in.goto(results.cover["url"])
    wait_until_drawn(signed_in, "main img")


def test_without_scripts_a_job_can_still_be_followed(chromium: Browser, results: Results) -> None:
    context = chromium.new_context(base_url=results.server.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/arcgis/rest/login?next=/arcgis/rest/services")
    page.fill("#username", "ann")
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.goto(f"{TOOLBOX}/ListDeepLearningModels")
    page.click("main button[type=submit]")
    page.wait_for_url("**/jobs/j*")
    expect(page.locator(".state")).to_have_text("succeeded", timeout=30_000)
    context.close()


def paths(results: Results) -> dict[str, str]:
    own = results.server.url
    return {
        "directory": "/arcgis/rest/services",
        "toolbox": TOOLBOX,
        "task": f"{TOOLBOX}/DetectObjectsUsingDeepLearning",
        "jobs": f"{TOOLBOX}/jobs",
        "search": "/portal/home/search.html",
        "content": "/portal/home/content.html",
        "item": f"/portal/home/item.html?id={results.objects['itemId']}",
        "features": results.objects["url"].removeprefix(own),
        "layer": f"{results.objects['url'].removeprefix(own)}/0",
        "image": results.cover["url"].removeprefix(own),
    }


def test_no_page_has_a_barrier_that_can_be_found(signed_in: Page, results: Results) -> None:
    if not AXE.exists():
        missing("axe-core is not installed")
    found: dict[str, Any] = {}
    for name, path in paths(results).items():
        signed_in.goto(path)
        # Added by the test, past the site's own rule that no script is inline.
        run = f"{AXE.read_text()}; axe.run().then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]))"
        violations = signed_in.evaluate(run)
        if violations:
            found[name] = violations
    assert found == {}
