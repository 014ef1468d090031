"""The panels in a browser, against services that only pretend."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.front.conftest import REPOSITORY, in_thread
from tests.front.fake_api import FakeServices, ServiceHandler, start
from tests.front.pictures import ARGS, PAGES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BUILT = (REPOSITORY / "ltai_hub" / "_web" / "console" / "console.js").exists()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium in PATH"),
    pytest.mark.skipif(not BUILT, reason="the front end is not built: node labextensions/build.mjs"),
]


@dataclass(frozen=True)
class Console:
    base: str
    services: FakeServices
    page: Page

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.base}/services/console/{path}")
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def fake() -> Iterator[tuple[str, FakeServices]]:
    services = FakeServices()
    with in_thread(lambda: start(services)) as port:
        yield f"http://127.0.0.1:{port}", services


@pytest.fixture
def console(browser: Browser, fake: tuple[str, FakeServices]) -> Iterator[Console]:
    base, services = fake
    services.rows, services.mode = 3, "ok"
    ServiceHandler.written.clear()
    context = browser.new_context(viewport={"width": 1024, "height": 800}, locale="en-US")
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield Console(base, services, page)
    context.close()


def written() -> tuple[str, str, dict[str, object]]:
    """The last change the services were asked for; waits for it."""
    deadline = time.monotonic() + 5
    while not ServiceHandler.written and time.monotonic() < deadline:
        time.sleep(0.02)
    method, path, body = ServiceHandler.written[-1]
    return method, path, json.loads(body) if body else {}


def test_no_page_is_wider_than_the_window_or_breaks(console: Console) -> None:
    broken: list[str] = []
    console.page.on("pageerror", lambda error: broken.append(str(error)))
    for path in PAGES.values():
        page = console.open(path)
        expect(page.locator("main h1").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
    assert broken == []


def test_a_name_with_markup_is_shown_as_it_is(console: Console) -> None:
    page = console.open("jobs")
    expect(page.get_by_role("link", name='<script>alert("x")</script>')).to_be_visible()


def test_a_job_is_submitted_as_typed(console: Console) -> None:
    page = console.open("jobs/new")
    page.get_by_label("Command").fill("python train.py --note 'two words'")
    page.get_by_label("Folder", exact=True).fill("digits")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Environment variables").fill("EPOCHS=10\nNAME=a=b")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/jobs/*?tab=log")
    method, path, body = written()
    assert (method, path) == ("POST", "training/jobs")
    assert body == {
        "name": "train",
        "command": ["python", "train.py", "--note", "two words"],
        "cwd": "digits",
        "env": {"EPOCHS": "10", "NAME": "a=b"},
        "profile": "digits",
        "tenant": "ml-101",
    }


def test_a_job_for_several_nodes_in_whichever_cluster_has_room(console: Console, tmp_path: Path) -> None:
    (tmp_path / "program.zip").write_bytes(b"PK")
    page = console.open("jobs/new")
    page.get_by_label("Nodes").fill("2")
    page.get_by_label("Anywhere").check()
    expect(page.get_by_text("here or in east")).to_be_visible()
    page.locator("input[type=file]").set_input_files(tmp_path / "program.zip")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/jobs/*?tab=log")
    _, _, body = written()
    assert {name: body[name] for name in ("nodes", "anywhere", "folder")} == {"nodes": 2, "anywhere": True, "folder": "UEs="}


def test_on_one_machine_a_job_has_no_choice_of_nodes_and_clusters(console: Console) -> None:
    console.services.rows = 0
    page = console.open("jobs/new")
    expect(page.get_by_label("Command")).to_be_visible()
    page.wait_for_load_state("networkidle")
    for label in ("Nodes", "Anywhere"):
        expect(page.get_by_label(label)).to_have_count(0)


def test_what_the_service_says_about_a_field_stands_beside_it(console: Console) -> None:
    page = console.open("jobs/new")
    page.get_by_label("Folder", exact=True).fill("nowhere")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_have_text("there is no folder nowhere in your home")
    expect(page.get_by_label("Folder", exact=True)).to_have_attribute("aria-invalid", "true")


def test_a_refusal_is_the_services_sentence_with_its_request_id_and_retry(console: Console) -> None:
    console.services.mode = "error"
    page = console.open("jobs")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The database is being upgraded to version 12")
    expect(alert).to_contain_text("req-7f3a21c9")
    console.services.mode = "ok"
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("link", name="digits")).to_be_visible()


def test_a_list_is_searched_sorted_and_paged_by_the_service_with_its_state_in_the_address(console: Console) -> None:
    console.services.rows = 5000
    page = console.open("jobs")
    expect(page.get_by_text("of 5000")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("digits")
    page.wait_for_url("**/jobs?q=digits")
    expect(page.get_by_text("of 1000")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**page=2*")
    expect(page.get_by_text("51–100 of 1000")).to_be_visible()
    page.get_by_role("button", name="Cost").click()
    page.wait_for_url("**sort=cost*")
    page.reload()
    expect(page.get_by_role("searchbox")).to_have_value("digits")
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Cost")


def test_a_model_is_registered_from_a_jobs_row_with_two_clicks(console: Console) -> None:
    page = console.open("jobs")
    page.get_by_role("button", name="Register model").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Register model").click()
    page.wait_for_url("**/models/ml-101/*")
    method, path, body = written()
    assert (method, path, body["model_id"]) == ("POST", "models/models", "m-1")


def test_an_uploaded_picture_shows_a_bar_for_every_class(console: Console) -> None:
    page = console.open("endpoints/7")
    page.set_input_files("input[type=file]", Path(__file__).parent / "digit.png")
    expect(page.get_by_test_id("prediction")).to_have_text("3")
    expect(page.locator(".lt-class-bars li")).to_have_count(10)
    expect(page.locator(".lt-class-bars li").first).to_contain_text("90.0 %")


def test_a_new_token_is_asked_for_and_shown_once(console: Console) -> None:
    page = console.open("endpoints/7")
    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog", name="Make a new token for digits?").get_by_role("button", name="New token").click()
    expect(page.get_by_role("dialog", name="Token")).to_contain_text("lt_9Zk2vY7xQmB4fTgH")
    page.get_by_role("button", name="I have saved it").click()
    expect(page.get_by_text("lt_9Zk2vY7xQmB4fTgH")).to_have_count(0)


def test_destroying_asks_once_and_esc_keeps_the_thing(console: Console) -> None:
    page = console.open("jobs/5000")
    page.get_by_role("button", name="Cancel job").click()
    expect(page.get_by_role("dialog", name="Cancel the job digits?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert ServiceHandler.written == []
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert written()[:2] == ("POST", "training/jobs/5000/cancel")


def test_a_row_is_reached_and_used_with_the_keyboard_alone(console: Console) -> None:
    page = console.open("environments")
    more = page.get_by_role("button", name="More actions").first
    expect(more).to_be_visible()
    more.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    # The safe answer has the focus: Enter keeps what is there.
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert ServiceHandler.written == []


def test_a_bill_line_opens_the_intervals_it_is_made_of(console: Console) -> None:
    page = console.open("usage")
    page.get_by_role("button", name="job digits").click()
    expect(page.get_by_role("table", name="Intervals")).to_contain_text("4.80 CNY / h")


def test_the_bar_of_the_hub_opens_panels_without_a_reload(console: Console) -> None:
    page = console.open("jobs")
    page.evaluate("window.stayed = true")
    page.locator(".navbar").get_by_role("link", name="Models").click()
    page.wait_for_url("**/models")
    expect(page.locator("main h1")).to_have_text("Models")
    assert page.evaluate("window.stayed") is True
    page.go_back()
    expect(page.locator("main h1")).to_have_text("Jobs")


def test_a_clusters_machine_that_is_lost_says_so_beside_what_its_pods_have(console: Console) -> None:
    page = console.open("admin/nodes")
    expect(page.locator(".lt-card", has_text="this machine").get_by_text("simulated").first).to_be_visible()
    card = page.locator(".lt-card", has_text="worker-7")
    for text in ("not ready", "Kubelet stopped posting node status.", "Allocated to pods", "nvidia.com/gpu", "6 / 8"):
        expect(card.get_by_text(text, exact=True)).to_be_visible()
    expect(card.get_by_text("Isolation of users")).to_have_count(0)
    expect(card.get_by_text("Disk", exact=True)).to_have_count(0)


def test_chinese_is_chosen_by_the_browser(browser: Browser, fake: tuple[str, FakeServices]) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(f"{fake[0]}/services/console/jobs")
    expect(page.locator("main h1")).to_have_text("训练任务")
    context.close()


def test_a_slow_service_shows_grey_rows_and_then_the_list(console: Console) -> None:
    console.services.mode = "slow"
    page = console.open("models")
    expect(page.get_by_role("status", name="Loading")).to_be_visible()
    console.services.mode = "ok"
    expect(page.get_by_role("link", name="digits")).to_be_visible()


def test_several_jobs_are_cancelled_with_one_question_that_names_them(console: Console) -> None:
    page = console.open("jobs")
    page.get_by_role("checkbox", name="Select all").click()
    page.get_by_role("button", name="Cancel job (2)").click()
    dialog = page.get_by_role("dialog", name="Cancel job: 2 chosen?")
    expect(dialog).to_contain_text("#5000 digits")
    dialog.get_by_role("button", name="Cancel job").click()
    expect(page.get_by_text("Cancel job: 2 done")).to_be_visible()
    assert sorted(path for _, path, _ in ServiceHandler.written) == ["training/jobs/4998/cancel", "training/jobs/5000/cancel"]
