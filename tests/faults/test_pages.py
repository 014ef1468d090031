"""Names made to break pages, in a real browser: shown as they were typed, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.faults.test_kill import wait_for
from tests.fixtures import RunningPlatform

pytestmark = [pytest.mark.hub, pytest.mark.browser]
NASTY = "<script>window.broken=1</script><img src=x onerror=window.broken=1>'\"`${window.broken=1}{{7*7}} 训练 😀 \u202eabc"
ADMIN = "admin"


@pytest.fixture(scope="module")
def nasty(own: RunningPlatform) -> Iterator[int]:
    """Everything of student4 that has a name has this one, until the end; gives the job's number."""
    with own.client("student4") as student, own.client(ADMIN) as admin:

        def make(client: Any, method: str, path: str, **body: Any) -> Any:
            reply = client.request(method, f"/services/{path}", json=body)
            assert reply.status_code in (200, 201), reply.text
            return reply.json()

        make(admin, "PATCH", "tenancy/api/v1/users/student4", display_name=NASTY)
        make(admin, "POST", "tenancy/api/v1/tenants", name=NASTY, parent="ml-101")
        job = make(student, "POST", "training/api/v1/jobs", name=NASTY, profile="digits", command=["python", "train.py"], cwd="digits")
        wait_for(lambda: student.get(f"/services/training/api/v1/jobs/{job['id']}").json()["phase"] == "succeeded")
        make(student, "POST", "models/api/v1/models", job=job["id"], name=NASTY.replace("/", "\\"))
        made = make(student, "POST", "serving/api/v1/endpoints", name=NASTY, model=NASTY.replace("/", "\\"), version="1")
        assert made["address"].startswith("/endpoints/ml-101/script-window")
        environment = make(student, "POST", "environments/api/v1/environments", name=NASTY[:100], profile="digits")
        yield int(job["id"])
        for path in (f"serving/api/v1/endpoints/{made['id']}", f"environments/api/v1/environments/{environment['id']}"):
            student.delete(f"/services/{path}").raise_for_status()


def signed_in(chromium: Browser, platform: RunningPlatform, name: str) -> Page:
    page = chromium.new_context(base_url=platform.url).new_page()
    page.goto("/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", platform.accounts[name]["password"])
    page.click("#login_submit")
    page.wait_for_url("**/hub/**")
    return page


@pytest.mark.parametrize("who", ["student4", ADMIN])
def test_a_script_in_a_name_is_shown_and_not_run(chromium: Browser, own: RunningPlatform, nasty: int, who: str) -> None:
    page = signed_in(chromium, own, who)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    paths = ["/hub/home", "/hub/spawn", "/hub/token", "/services/console/", f"/services/console/jobs/{nasty}"]
    paths += [f"/services/console/{panel}" for panel in ("environments", "jobs", "models", "endpoints", "usage")]
    if who == ADMIN:
        paths += [
            "/hub/admin",
            *(f"/services/console/admin/{part}" for part in ("environments", "jobs", "endpoints", "accounts", "tenants")),
        ]
    shown = 0
    for path in paths:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.broken") is None, path
        shown += "<script>window.broken=1</script>" in page.inner_text("body")
    assert shown >= 3
    assert errors == []
    page.context.close()
