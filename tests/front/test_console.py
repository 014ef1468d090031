"""The console's pages and its way to the services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from ltai_services.console import ConsoleSettings, make_app
from tornado import web

from tests.front.conftest import EchoHandler, in_thread, serve
from tests.front.fake_api import FakeHubAuth, make_auth

PREFIX = "/services/console/"


@dataclass(frozen=True)
class Console:
    url: str
    auth: FakeHubAuth

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"{self.url}{PREFIX}{path}", headers=headers)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "console.js").write_text("console.log(1)")
    (tmp_path / "console.css").write_text("body {}")
    return tmp_path


@pytest.fixture
def settings(upstream: str, bundle: Path) -> ConsoleSettings:
    return ConsoleSettings("127.0.0.1", 0, PREFIX, "/", upstream, b"x" * 32, bundle)


@pytest.fixture
def console(settings: ConsoleSettings) -> Iterator[Console]:
    auth = make_auth()
    with in_thread(lambda: serve(make_app(settings, auth))) as port:
        yield Console(f"http://127.0.0.1:{port}", auth)


def test_every_address_is_the_page_with_the_hubs_bar(console: Console) -> None:
    for path in ("", "jobs/12", "class/ml-101?tab=roster", "admin/nodes"):
        answer = console.get(path)
        assert answer.status_code == 200
        assert 'id="ltai"' in answer.text
        assert "Anna Schmidt" in answer.text
        assert 'href="/services/console/jobs"' in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


def test_the_bundle_is_cached_by_its_hash(console: Console, bundle: Path) -> None:
    page = console.get("").text
    address = page.split('src="/services/console/')[-1].split('"')[0]
    assert address.startswith("static/console.js?v=")
    answer = console.get(address)
    assert answer.text == "console.log(1)"
    assert "max-age" in answer.headers["Cache-Control"]
    (bundle / "console.js").write_text("console.log(2)")
    assert address not in console.get("").text


def test_a_missing_bundle_is_told(settings: ConsoleSettings, tmp_path: Path) -> None:
    with in_thread(lambda: serve(make_app(replace(settings, bundle=tmp_path / "none"), make_auth()))) as port:
        assert "build.mjs" in httpx.get(f"http://127.0.0.1:{port}{PREFIX}").text


def test_the_language_is_the_cookies_then_the_browsers(console: Console) -> None:
    assert 'data-language="zh-CN"' in console.get("", **{"Accept-Language": "zh-CN,zh;q=0.9"}).text
    assert 'data-language="en"' in console.get("", **{"Accept-Language": "zh-CN", "Cookie": "ltai_lang=en"}).text


def test_a_call_reaches_the_service_with_the_persons_token(console: Console) -> None:
    told = console.get("api/training/api/v1/jobs?q=a%20b", Cookie="session=1", **{"X-XSRFToken": "x"}).json()
    assert told["uri"] == "/services/training/api/v1/jobs?q=a%20b"
    assert told["headers"]["Authorization"] == "token token-of-student1"
    assert "Cookie" not in told["headers"]


def test_a_large_upload_passes(console: Console) -> None:
    pieces = (b"y" * (1 << 20) for _ in range(20))
    assert httpx.post(f"{console.url}{PREFIX}api/serving/x", content=pieces).json()["bytes"] == 20 << 20


def test_a_log_arrives_while_it_is_written_also_compressed(console: Console) -> None:
    EchoHandler.release.clear()
    with httpx.stream("GET", f"{console.url}{PREFIX}api/training/drip", headers={"Accept-Encoding": "gzip"}) as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "first\n"
        EchoHandler.release.set()
        assert "".join(pieces) == "second\n"


def test_who_is_not_signed_in_is_sent_to_the_hub_and_refused_at_the_api(console: Console) -> None:
    console.auth.signed_in = False
    page = console.get("jobs")
    assert page.status_code == 302
    assert "/hub/api/oauth2/authorize" in page.headers["Location"]
    call = console.get("api/training/api/v1/jobs")
    assert (call.status_code, call.json()["code"]) == (401, "not-logged-in")


def test_an_account_without_access_is_told(console: Console) -> None:
    console.auth.allowed = False
    assert console.get("jobs").status_code == 403
    assert console.get("api/training/api/v1/jobs").json()["code"] == "denied"


def test_a_service_that_does_not_answer_is_a_sentence(settings: ConsoleSettings) -> None:
    with in_thread(lambda: serve(make_app(replace(settings, services_url="http://127.0.0.1:9"), make_auth()))) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}{PREFIX}api/billing/api/v1/bills")
    assert (answer.status_code, answer.json()["code"]) == (503, "unreachable")
    assert "billing does not answer" in answer.json()["detail"]


def test_paths_that_climb_are_refused(console: Console) -> None:
    assert console.get("api/training/%2e%2e/x").status_code == 400


def test_the_settings_come_from_what_the_hub_gives() -> None:
    made = ConsoleSettings.from_environ(
        {
            "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:5005/services/console/",
            "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
            "JUPYTERHUB_BASE_URL": "/",
            "LTAI_SERVICES_BIND": "127.0.0.1:5006",
            "LTAI_SIGNING_KEY": "aa",
        }
    )
    assert (made.address, made.port, made.services_url) == ("127.0.0.1", 5005, "http://127.0.0.1:5006")
    assert "cookie_secret" not in repr(made)


def test_the_app_has_no_tornado_xsrf_check_which_would_refuse_tokens(settings: ConsoleSettings) -> None:
    app: web.Application = make_app(settings, make_auth())
    assert app.settings["xsrf_cookies"] is False
