"""The console behind the real hub: its cookie alone changes nothing."""

from __future__ import annotations

import re

import pytest

from tests.fixtures import FETCH, Browser, RunningPlatform

pytestmark = pytest.mark.hub
JOBS = "/services/console/api/training/api/v1/jobs"
JOB = {"name": "xsrf", "profile": "digits", "command": ["python", "-c", "pass"]}


def token_of(browser: Browser) -> str:
    """What the page gives its own scripts."""
    found = re.search(r'data-xsrf="([^"]+)"', browser.view("/services/console/").text)
    assert found
    return found[1]


def test_a_call_without_the_pages_token_is_refused(platform: RunningPlatform) -> None:
    """Another site's page can make the browser send its cookies; the token it cannot read."""
    with platform.session("student2") as browser:
        token = token_of(browser)
        before = browser.get(JOBS, headers={**FETCH, "X-XSRFToken": token}).json()["total"]
        # what a form of another page, and a script of one, send
        refused = [
            browser.post(JOBS, headers=FETCH, json=JOB),
            browser.post(JOBS, headers={**FETCH, "X-XSRFToken": token[:-2] + "xx"}, json=JOB),
            browser.post(JOBS, headers={**FETCH, "X-XSRFToken": ""}, json=JOB),
            browser.post(JOBS, headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}, data={"name": "x"}),
            browser.post(
                JOBS, headers={"Origin": "https://elsewhere.example", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"}, json=JOB
            ),
            browser.delete(f"{JOBS}/1", headers=FETCH),
        ]
        # JupyterHub takes a cookie without the token for nobody's: the answer is the one of who is not signed in
        assert [(reply.status_code, reply.json()["code"]) for reply in refused] == [(401, "not-logged-in")] * len(refused)
        assert browser.get(JOBS, headers={**FETCH, "X-XSRFToken": token}).json()["total"] == before


def test_a_call_with_the_pages_token_works(platform: RunningPlatform) -> None:
    with platform.session("student2") as browser:
        headers = {**FETCH, "X-XSRFToken": token_of(browser)}
        made = browser.post(JOBS, headers=headers, json=JOB)
        assert made.status_code == 201, made.text
        assert browser.post(f"{JOBS}/{made.json()['id']}/cancel", headers=headers).status_code in (200, 202, 204, 409)
