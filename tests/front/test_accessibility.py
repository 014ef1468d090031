"""No serious or critical finding of axe-core on any main page, light and dark; the main path with the keyboard alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.fixtures import RunningPlatform
from tests.front.conftest import REPOSITORY, in_thread
from tests.front.fake_api import FakeServices, ServiceHandler, start
from tests.front.pictures import PAGES

AXE = REPOSITORY / "labextensions" / "node_modules" / "axe-core" / "axe.min.js"
BUILT = (REPOSITORY / "ltai_hub" / "_web" / "console" / "console.js").exists()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (BUILT and AXE.exists()) and "CI" not in os.environ, reason="the front end is not built: python labextensions/install.py"
    ),
]
CONSOLE_PAGES = (
    "home", "jobs", "job", "job-log", "jobs-new", "environments-new", "models", "model", "endpoints", "endpoint", "usage", "class", "organisation", "admin-nodes",
    "admin-catalogue",
)  # fmt: skip
HUB_PAGES = ("/hub/home", "/hub/spawn", "/hub/token", "/hub/password")
# The hub's own admin page (servers) is JupyterHub's and not ours to mend.


@pytest.fixture(scope="module")
def console() -> Iterator[str]:
    with in_thread(lambda: start(FakeServices())) as port:
        yield f"http://127.0.0.1:{port}/services/console/"


def open_page(chromium: Browser, scheme: str) -> Page:
    context = chromium.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme="dark" if scheme == "dark" else "light", locale="en-US"
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    return page


def findings(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the places."""
    page.add_script_tag(path=AXE)
    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found: list[dict[str, Any]] = page.evaluate("async options => (await axe.run(document, options)).violations", options)
    return [
        f"{one['id']}: {node['html'][:200]} ({node['failureSummary'].splitlines()[-1].strip()[:160]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_consoles_pages_have_no_serious_finding(chromium: Browser, console: str, scheme: str) -> None:
    page = open_page(chromium, scheme)
    found: dict[str, list[str]] = {}
    for name in CONSOLE_PAGES:
        page.goto(console + PAGES[name])
        expect(page.locator("main h1").first).to_be_visible()
        expect(page.locator(".lt-skeleton")).to_have_count(0)
        page.wait_for_timeout(200)
        if bad := findings(page):
            found[name] = bad
    page.context.close()
    assert found == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_hubs_pages_have_no_serious_finding(chromium: Browser, platform: RunningPlatform, scheme: str) -> None:
    page = open_page(chromium, scheme)
    found: dict[str, list[str]] = {}
    page.goto(f"{platform.url}/hub/login")
    if bad := findings(page):
        found["/hub/login"] = bad
    page.fill("[name=username]", "student3")
    page.fill("[name=password]", platform.accounts["student3"]["password"])
    page.click("[type=submit]")
    page.wait_for_url("**/hub/**")
    for path in HUB_PAGES:
        page.goto(platform.url + path)
        if bad := findings(page):
            found[path] = bad
    page.context.close()
    assert found == {}


def focus(page: Page, wanted: str, limit: int = 60) -> None:
    """Presses Tab until what has the focus matches the selector."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement?.matches(wanted) ?? false", wanted):
            return
    pytest.fail(f"Tab does not reach {wanted}")


def test_a_job_is_submitted_and_its_log_read_with_the_keyboard_alone(chromium: Browser, console: str) -> None:
    page = open_page(chromium, "light")
    page.goto(console + "jobs")
    expect(page.locator("main h1").first).to_be_visible()
    focus(page, "main .lt-primary")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Command")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("python train.py --lr 0.1")
    page.keyboard.press("Tab")
    page.keyboard.type("digits")
    focus(page, "input[type=radio]")
    page.keyboard.press("ArrowRight")
    focus(page, "main button[type=submit]")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*?tab=log")
    assert ServiceHandler.written[-1][:2] == ("POST", "training/jobs")
    expect(page.get_by_role("tab", name="Log")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("accuracy 0.5000")).to_be_visible()
    focus(page, "[role=tab][aria-selected=true]")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Metrics")).to_be_focused()
    page.context.close()
