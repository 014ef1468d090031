"""The whole thread with a real browser: as a student, then as the teacher and the administrator. Pictures: tests/artifacts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ltai_hub.demo.digits import find_scans, load_scans, write_digits
from tests.e2e.person import PATIENCE, Person, a_person
from tests.fixtures import RunningPlatform

pytestmark = [pytest.mark.browser, pytest.mark.hub]


@pytest.fixture(scope="module")
def student(chromium: Browser, platform: RunningPlatform) -> Person:
    """Without an environment yet, also where other tests used the platform before."""
    with platform.session("student1") as browser:
        browser.api("DELETE", "/users/student1/server")
    return a_person(chromium, platform, "student1")


def test_a_student_starts_the_class_profile_and_is_in_jupyterlab(student: Person) -> None:
    student.go("/hub/spawn")
    student.sees("Handwritten digits")
    student.picture("spawn")
    student.click("Start", exact=True)
    student.page.wait_for_url("**/user/student1/lab**", timeout=PATIENCE)
    expect(student.page.locator("#jp-main-dock-panel")).to_be_visible(timeout=PATIENCE)
    # the first time a browser fetches all of JupyterLab
    expect(student.page.locator(".jp-DirListing-item", has_text="digits")).to_be_visible(timeout=PATIENCE)
    student.picture("lab")


def test_a_notebook_cell_runs_in_the_profiles_image(student: Person) -> None:
    page = student.page
    # as on the first day, whatever other tests left open
    student.go("/user/student1/lab/tree/digits/digits.ipynb?reset")
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    expect(page.get_by_text("| Idle")).to_be_visible(timeout=PATIENCE)
    cells = page.locator(".jp-NotebookPanel .jp-CodeCell")
    for number in range(2):
        cells.nth(number).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")
        # the number of the execution: it has run, whatever it drew
        expect(cells.nth(number).locator(".jp-InputArea-prompt")).to_have_text(f"[{number + 1}]:", timeout=PATIENCE)
    expect(cells.nth(1).locator(".jp-OutputArea-output")).to_contain_text("pictures it had never seen")
    student.picture("notebook")


def test_a_script_runs_as_a_job_by_right_click(student: Person) -> None:
    page = student.page
    student.go("/user/student1/lab/tree/digits")
    item = page.locator(".jp-DirListing-item", has_text="train.py")
    item.wait_for()
    item.click(button="right")
    page.locator(".lm-Menu-itemLabel", has_text="Run as job").click()
    command = page.get_by_role("textbox", name="Command", exact=True)
    expect(command).to_have_value(re.compile("train.py"))
    command.fill("python train.py --lr 0.1")
    page.get_by_role("textbox", name="Name", exact=True).fill("digits")
    student.picture("new-job")
    student.click("Submit", exact=True)
    expect(page.get_by_role("log")).to_contain_text("accuracy", timeout=PATIENCE)
    student.picture("job-log")
    expect(page.get_by_text("succeeded").locator("visible=true").first).to_be_visible(timeout=PATIENCE)


def test_the_sidebar_shows_what_is_ones_own(student: Person) -> None:
    page = student.page
    page.get_by_role("tab", name="LtAI").click()
    expect(page.locator("#ltai-sidebar").get_by_text("digits").first).to_be_visible()
    student.picture("sidebar")


def test_the_model_is_registered_from_the_jobs_row(student: Person) -> None:
    page = student.page
    student.go("/services/console/jobs")
    row = page.get_by_role("row").filter(has_text="digits").filter(has_text="succeeded").first
    row.get_by_role("button", name="Register model").click()
    expect(page.get_by_label("Model name")).to_have_value("digits")
    student.picture("register")
    page.get_by_role("dialog").get_by_role("button", name="Register model").click()
    page.wait_for_url("**/services/console/models/**")
    student.sees("sklearn")
    student.sees("accuracy")
    student.picture("model")


def test_the_version_is_published_and_predicts_an_uploaded_picture(student: Person, tmp_path: Path) -> None:
    page = student.page
    student.click("Publish")
    page.wait_for_url("**/services/console/endpoints/new**")
    student.picture("publish")
    page.get_by_role("button", name=re.compile("^Publish")).last.click()
    expect(page.get_by_text("Copy the token now").first).to_be_visible()
    student.picture("token-once")
    student.click("I have saved it")
    page.wait_for_url(re.compile("/services/console/endpoints/\\d+"))
    expect(page.get_by_text("running", exact=True).first).to_be_visible(timeout=PATIENCE)
    page.get_by_role("tab", name="Try it").click()
    write_digits(tmp_path, load_scans(find_scans()))
    scan = sorted(tmp_path.glob("png/7/*.png"))[0]
    page.locator("input[type=file]").set_input_files(scan)
    expect(page.get_by_test_id("prediction")).to_have_text("7", timeout=PATIENCE)
    student.picture("prediction")


def test_the_bill_shows_the_seconds(student: Person) -> None:
    page = student.page
    student.go("/services/console/usage")
    student.sees("Bill of")
    for kind in ("environment", "job", "endpoint"):
        expect(page.get_by_role("row").filter(has_text=kind).first).to_be_visible()
    student.picture("bill")
    student.go("/services/console/")
    student.picture("home")


def test_nothing_failed_behind_the_students_back(student: Person) -> None:
    assert student.problems == []


def test_the_teacher_sees_the_class(chromium: Browser, platform: RunningPlatform, student: Person) -> None:
    teacher = a_person(chromium, platform, "teacher")
    teacher.go("/services/console/class")
    teacher.sees("Li Na")
    teacher.sees("running")
    teacher.picture("class")
    for tab in ("Roster", "Profiles"):
        teacher.page.get_by_role("tab", name=tab).click()
        teacher.picture(f"class-{tab.lower()}")
    assert teacher.problems == []


def test_the_administrator_sees_everything(chromium: Browser, platform: RunningPlatform, student: Person) -> None:
    admin = a_person(chromium, platform, "admin")
    admin.go("/hub/admin")
    admin.sees("student1")
    admin.picture("hub-admin")
    pages = {
        "": "Overview",
        "/environments": "student1",
        "/jobs": "digits",
        "/endpoints": "digits",
        "/accounts": "student1",
        "/tenants": "Demo school",
        "/catalogue": "MIG",
        "/nodes": "Memory",
        "/billing": "CNY",
    }
    for path, text in pages.items():
        admin.go(f"/services/console/admin{path}")
        admin.sees(text)
        admin.picture("admin" + path.replace("/", "-"))
    admin.go("/services/console/organisation")
    admin.sees("Demo school")
    admin.picture("organisation")
    assert admin.problems == []


@pytest.mark.parametrize(("width", "dark", "language"), [(1024, True, "zh-CN"), (1440, True, "en"), (1440, False, "zh-CN")])
def test_the_pages_in_both_languages_light_and_dark(
    chromium: Browser, platform: RunningPlatform, student: Person, width: int, dark: bool, language: str
) -> None:
    person = a_person(chromium, platform, "student1", width, dark, language)
    person.name = f"student1-{language}-{'dark' if dark else 'light'}-{width}"
    for path in ("/hub/home", "/hub/spawn/student1/second", "/services/console/", "/services/console/jobs", "/services/console/usage"):
        person.go(path)
        person.page.wait_for_load_state("networkidle")
        person.picture(path.strip("/").replace("/", "-"))
    heading = person.page.get_by_role("heading").first
    expect(heading).to_be_visible()
    if language == "zh-CN":
        expect(person.page.locator("main, #app, body").first).to_contain_text("用量")
    assert person.problems == []
