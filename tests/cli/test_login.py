"""Where the address and the token come from."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ltai_hub.client.settings import Login, clean_url, find_login, load_login, login_file, save_login
from ltai_hub.errors import ConfigProblem
from tests.cli.conftest import call
from tests.cli.fake import TOKEN, State


def test_a_token_is_tried_and_kept_for_the_owner_only(hub_url: str, state: State) -> None:
    done = call("login", hub_url + "/hub/home", "--token-stdin", stdin=f"{TOKEN}\n")
    assert (done.code, done.err) == (0, f"Signed in at {hub_url} as ana.\n")
    file = login_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == {"url": hub_url, "token": TOKEN, "name": "ana"}
    assert call("me", "--quiet").out == "ana\n"


def test_a_wrong_token_is_not_kept(hub_url: str, state: State) -> None:
    assert call("login", hub_url, "--token-stdin", stdin="wrong\n").code == 1
    assert call("login", hub_url, "--token-stdin", stdin="\n").code == 2
    assert call("login", hub_url, "--token-stdin", stdin="tök en\n").code == 2
    assert not login_file().exists()


def test_signing_out_forgets_even_when_the_hub_is_gone(state: State) -> None:
    save_login(Login("http://127.0.0.1:9", "x"))
    done = call("logout")
    assert done.code == 0
    assert "may live on" in done.err
    assert call("logout").err == "Nobody is signed in.\n"


def test_the_environment_comes_first_then_the_notebook_servers_token_then_the_file(tmp_path: Path) -> None:
    file = save_login(Login("http://file", "f"), tmp_path / "login.json")
    assert find_login({}, file) == Login("http://file", "f")
    inside = {"JUPYTERHUB_API_TOKEN": "j", "JUPYTERHUB_PUBLIC_HUB_URL": "https://school.example/hub/"}
    assert find_login(inside, file) == Login("https://school.example", "j")
    assert find_login({"JUPYTERHUB_API_TOKEN": "j", "LTAI_URL": "http://x/"}, file) == Login("http://x", "j")
    assert find_login(inside | {"LTAI_URL": "http://a", "LTAI_TOKEN": "b"}, file) == Login("http://a", "b")
    assert find_login({"LTAI_URL": "http://file/"}, file) == Login("http://file", "f")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"url": 1, "token": "x"}', '{"url": "x"}'])
def test_a_damaged_login_file_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "login.json"
    file.write_text(text)
    with pytest.raises(ConfigProblem, match=r"login\.json is damaged; delete it"):
        load_login(file)


def test_the_token_is_not_shown_by_accident() -> None:
    assert "secret" not in repr(Login("http://x", "secret"))


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("lab.example", "https://lab.example"),
        ("HTTPS://lab.example/hub/login?next=/hub/", "https://lab.example"),
        ("http://lab.example/ai/hub/spawn", "http://lab.example/ai"),
        ("http://hub/hub", "http://hub"),
        ("http://hub", "http://hub"),
        (" http://x/ ", "http://x"),
        ("", ""),
    ],
)
def test_addresses_as_people_paste_them(typed: str, url: str) -> None:
    assert clean_url(typed) == url
