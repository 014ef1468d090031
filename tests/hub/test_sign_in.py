from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ltai_hub.accounts.service import Accounts
from ltai_hub.db.engine import Database
from ltai_hub.paths import DataFolder
from tests.fixtures import NAVIGATE, Browser, RunningPlatform

pytestmark = pytest.mark.hub


@pytest.fixture
def accounts(platform: RunningPlatform) -> Accounts:
    """The platform's accounts, reached as an administrator's script would."""
    return Accounts(Database(DataFolder(platform.data).database_url))


def error_of(page: str) -> str:
    found = re.search(r'<p class="(?:login_error )?alert alert-danger[^>]*>([^<]*)</p>', page)
    return found[1] if found else ""


def test_a_student_signs_in_and_is_told_by_name(platform: RunningPlatform) -> None:
    with platform.session("student1") as browser:
        page = browser.view("/hub/home").text
        model = browser.api("GET", "/user").json()
    assert "Li Na 李娜" in page
    assert model["user_info"] == {"display_name": "Li Na 李娜", "language": "", "staff": False}
    assert model["admin"] is False


def test_groups_are_the_tenants_also_those_below(platform: RunningPlatform) -> None:
    with platform.session("student1") as student, platform.session("admin") as admin:
        assert sorted(student.api("GET", "/user").json()["groups"]) == ["gpu-lab", "ml-101"]
        everything = ["computer-science", "demo-school", "gpu-lab", "ml-101", "physics"]
        assert sorted(admin.api("GET", "/user").json()["groups"]) == everything


def test_names_may_be_typed_in_capitals(platform: RunningPlatform) -> None:
    with Browser(platform.url) as browser:
        assert browser.sign_in(" Student1 ", platform.accounts["student1"]["password"]).url.path == "/hub/home"


@pytest.mark.parametrize("name", ["student5", "nobody-at-all"])
def test_a_wrong_password_says_the_same_for_every_name_and_then_locks(platform: RunningPlatform, accounts: Accounts, name: str) -> None:
    with Browser(platform.url) as browser:
        replies = [browser.sign_in(name, "wrong") for _ in range(6)]
    assert [r.status_code for r in replies] == [403] * 5 + [429]
    assert error_of(replies[0].text) == "Invalid username or password"
    assert re.fullmatch(r"Too many wrong passwords. Try again in \d+ seconds.", error_of(replies[5].text))
    assert 1 <= int(replies[5].headers["Retry-After"]) <= 5
    if accounts.find(name):
        accounts.set_password(name, platform.accounts[name]["password"])


def test_errors_are_told_in_the_browsers_language(platform: RunningPlatform) -> None:
    with Browser(platform.url, language="zh-CN,zh;q=0.9,en;q=0.8") as browser:
        page = browser.sign_in("somebody", "wrong").text
    assert error_of(page) == "用户名或密码不正确"
    assert 'document.documentElement.lang = "zh-CN"' in page


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a b", "../..", "李娜 🎓", "x" * 300, "%s %d", "'; DROP TABLE users; --"])
def test_strange_names_are_refused_and_shown_as_text(platform: RunningPlatform, name: str) -> None:
    with Browser(platform.url) as browser:
        reply = browser.sign_in(name, "wrong")
    assert reply.status_code == 403
    assert "<script>alert" not in reply.text


def test_a_form_without_its_token_is_refused(platform: RunningPlatform) -> None:
    with Browser(platform.url) as browser:
        reply = browser.post("/hub/login", data={"username": "student1", "password": "x"}, headers=NAVIGATE)
        incomplete = browser.submit("/hub/login", nothing="here")
    assert reply.status_code == 403
    assert incomplete.status_code == 400
    assert error_of(incomplete.text) == "The sign-in form was incomplete."


def test_a_script_without_the_token_changes_nothing(platform: RunningPlatform) -> None:
    with platform.session("student3") as browser:
        reply = browser.post("/hub/api/users/student3/tokens", json={}, headers={"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"})
    assert reply.status_code == 403


def test_an_invite_link_makes_an_account_and_signs_in(platform: RunningPlatform, accounts: Accounts) -> None:
    path = f"/hub/invite/{accounts.invite().token}"
    with Browser(platform.url) as browser:
        fields = {"display_name": "新同学 <b>", "password": "a new secret", "again": "a new secret"}
        taken = browser.submit(path, username="student1", **fields)
        unlike = browser.submit(path, **(fields | {"username": "newcomer", "again": "another"}))
        bad = browser.submit(path, username="New Comer", **fields)
        done = browser.submit(path, username="newcomer", **fields)
    assert (taken.status_code, error_of(taken.text)) == (409, "This name is taken. Choose another one.")
    assert (unlike.status_code, error_of(unlike.text)) == (400, "the two passwords are not the same")
    assert (bad.status_code, error_of(bad.text)[:26]) == (400, "This cannot be a user name")
    assert done.url.path.startswith("/hub/")
    assert done.status_code == 200
    with Browser(platform.url) as again:
        assert again.view(path).status_code == 404
        assert again.sign_in("newcomer", "a new secret").url.path == "/hub/home"
        assert "新同学 &lt;b&gt;" in again.view("/hub/home").text


def test_changing_the_password_signs_other_browsers_out(platform: RunningPlatform, accounts: Accounts) -> None:
    accounts.create("changer", password="the old secret")
    with Browser(platform.url) as one, Browser(platform.url) as other:
        one.sign_in("changer", "the old secret")
        other.sign_in("changer", "the old secret")
        wrong = one.submit("/hub/password", old="not it", new="the new secret", again="the new secret")
        done = one.submit("/hub/password", old="the old secret", new="the new secret", again="the new secret")
        assert (wrong.status_code, error_of(wrong.text)) == (403, "the old password is wrong")
        assert (done.status_code, "Other browsers were signed out" in done.text) == (200, True)
        assert one.view("/hub/home").url.path == "/hub/home"
        assert other.view("/hub/home").url.path == "/hub/login"
        assert other.sign_in("changer", "the new secret").url.path == "/hub/home"


def test_pages_of_others_stay_closed(platform: RunningPlatform) -> None:
    with Browser(platform.url) as nobody, platform.session("student2") as student:
        assert nobody.view("/hub/password").url.path == "/hub/login"
        assert student.view("/hub/admin").status_code == 403
        assert student.view("/hub/spawn/student1").status_code == 404
        assert student.api("GET", "/users").status_code == 403


def test_the_admin_page_has_the_consoles_tabs(platform: RunningPlatform) -> None:
    with platform.session("admin") as admin:
        page = admin.view("/hub/admin").text
    assert 'class="nav-link active" href="/hub/admin"' in page
    assert "/services/console/admin/" in page
    assert 'id="react-admin-hook"' in page


def test_a_disabled_account_is_refused_at_the_form(platform: RunningPlatform, accounts: Accounts) -> None:
    accounts.create("leaver", password="the old secret")
    accounts.update("leaver", disabled=True)
    with Browser(platform.url) as browser:
        reply = browser.sign_in("leaver", "the old secret")
    assert (reply.status_code, error_of(reply.text)) == (403, "This account is disabled. Ask an administrator of the platform.")


def test_every_sentence_of_the_pages_has_a_translation() -> None:
    done = subprocess.run([sys.executable, "-m", "ltai_hub.pages.check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
