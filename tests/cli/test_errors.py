"""Whatever goes wrong: one line, the right exit code, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from ltai_hub import errors
from ltai_hub.client import Client
from tests.cli.conftest import Run, call
from tests.cli.fake import TOKEN, State, problem


def test_nobody_signed_in() -> None:
    done = call("job", "list")
    assert (done.code, done.err) == (2, "ltai: not signed in; run: ltai login URL (or set LTAI_URL and LTAI_TOKEN)\n")


def test_half_a_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTAI_TOKEN", "x")
    assert "LTAI_URL is not" in call("job", "list").err
    monkeypatch.delenv("LTAI_TOKEN")
    monkeypatch.setenv("LTAI_URL", "127.0.0.1:8000")
    assert "run: ltai login http://127.0.0.1:8000" in call("job", "list").err


def test_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTAI_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("LTAI_TOKEN", "x")
    done = call("job", "list")
    assert done.code == 1
    assert done.err.startswith("ltai: nothing answers at http://127.0.0.1:9 (")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("url", ["http://", "ftp://x", "http://[::1", "http://a b"])
def test_no_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTAI_URL", url)
    monkeypatch.setenv("LTAI_TOKEN", "x")
    done = call("job", "list")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "unexpected" not in done.err


def test_an_old_token(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTAI_TOKEN", "old")
    done = run("job", "list")
    assert done.code == 1
    assert done.err == "ltai: the token is unknown or has expired (to sign in again: ltai login URL)\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jib"], "there is no command 'jib'; did you mean 'job'?; see: ltai --help"),
        (["job", "lst"], "No such command 'lst'"),
        (["job", "show"], "Missing argument 'JOB'; see: ltai job show --help"),
        (["job", "show", "x"], "Invalid value for 'JOB'"),
        (["job", "list", "-o", "xml"], "'xml' is not one of"),
        (["job", "submit", "--env", "novalue", "--", "true"], "--env 'novalue' has no name and value"),
        (["model", "register", "--name", "x"], "Missing option '--job'"),
        (["login", "http://x", "--token-stdin", "--user", "ana"], "--token-stdin takes neither"),
        (["login", "http://x"], "there is no terminal"),
        (["login", "http://x", "--password-stdin"], "--password-stdin needs --user"),
    ],
)
def test_usage_errors_are_one_line_and_2(run: Run, words: list[str], said: str) -> None:
    done = run(*words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_a_noun_alone_shows_its_verbs(run: Run) -> None:
    done = run("job")
    assert done.code == 2
    assert "submit" in done.err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (HTMLResponse("<h1>502</h1>", 502), "does not run now; try again in a few seconds"),
        (HTMLResponse("<h1>404</h1>", 404), "is this the address of an LtAI hub"),
        (RedirectResponse("/hub/services/training"), "is this the address of an LtAI hub"),
        (RedirectResponse("https://elsewhere/"), "use that address"),
        (PlainTextResponse("no", 418), "answered 418"),
        (problem(500, "internal", "something went wrong here"), "something went wrong here (request r1)"),
        (problem(400, "bad-input", "the request is not valid", errors=[{"field": "name", "message": "too long"}]), "name: too long"),
    ],
)
def test_answers_that_are_no_answers(run: Run, state: State, answer: HTMLResponse, said: str) -> None:
    state.instead["training/jobs"] = [answer]
    done = run("job", "list")
    assert done.code == 1
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_every_error_of_the_tree_arrives_as_its_own_class(client: Client, state: State) -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.Problem) and k is not errors.Problem]
    assert len(kinds) >= 10
    for kind in kinds:
        state.instead["tenancy/me"] = [problem(kind.status, kind.code, "the sentence", resource="cpu")]
        with pytest.raises(errors.Problem) as caught:
            client.me()
        assert type(caught.value) is kind
        assert caught.value.message == "the sentence"
        assert caught.value.details == {"resource": "cpu", "request_id": "r1"}


def test_try_later_carries_the_seconds(client: Client, state: State) -> None:
    answer = problem(503, "try-later", "the backend restarts")
    answer.headers["Retry-After"] = "7"
    state.instead["tenancy/me"] = [answer]
    with pytest.raises(errors.TryLater) as caught:
        client.me()
    assert caught.value.after == 7


def test_unexpected_errors_are_one_line_too(run: Run, state: State) -> None:
    state.instead["training/jobs"] = [PlainTextResponse("[]", 200)]
    done = run("job", "list")
    assert done.code == 1
    assert done.err.startswith("ltai: unexpected ")
    assert "Traceback" not in done.err


def test_a_reader_that_goes_away_is_no_error(hub_url: str, state: State) -> None:
    from tests.cli.fake import make_job

    state.jobs |= {id: make_job(id, "n" * 200, ["true"]) for id in range(1, 900)}
    command = f"{sys.executable} -c 'from ltai_hub.cli.main import app; app()' job list --limit 0 | head -1"
    env = {"LTAI_URL": hub_url, "LTAI_TOKEN": TOKEN, "PATH": "/usr/bin:/bin"}
    root = Path(__file__).parents[2]
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=env, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
