"""The SDK on its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ltai_hub.client import Client
from ltai_hub.client.transport import follow_log, wait_until
from ltai_hub.errors import NotFound, Unavailable
from tests.cli.fake import State, make_job

ROOT = Path(__file__).parents[2]


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_sdk_drags_no_heavy_library_along() -> None:
    heavy = {"sqlalchemy", "jupyterhub", "kubernetes", "fastapi", "pydantic", "tornado", "mlflow"}
    loaded = set(python("import sys, ltai_hub.client, ltai_hub.client.login; print(*sys.modules)").split())
    assert not loaded & heavy


def test_help_loads_neither_httpx_nor_the_nouns_and_is_quick() -> None:
    code = "import sys\nfrom ltai_hub.cli.main import app\ntry: app(['--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = set(python(code).splitlines()[-1].split())
    assert not loaded & {"httpx", "rich", "ltai_hub.cli.job", "pydantic", "sqlalchemy"}
    before = os.times()
    python(code)
    after = os.times()
    # processor time, which other work on the machine does not lengthen much; 0.13 s usually
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.6


def test_submit_follow_and_register(client: Client, state: State) -> None:
    job = client.jobs.submit("digits", ["python", "train.py"], profile="digits", env={"A": "1"})
    assert "".join(client.jobs.log(job["id"], follow=True)) == "epoch 1 of digits 数字\n"
    assert client.jobs.wait(job["id"])["phase"] == "succeeded"
    version = client.models.register(job["id"], "digits")
    assert version["job_id"] == job["id"]
    assert [model["name"] for model in client.models.list()] == ["digits"]


def test_pages_know_the_total(client: Client, state: State) -> None:
    state.jobs |= {id: make_job(id, "n", ["true"]) for id in range(1, 6)}
    page = client.jobs.list(limit=2, offset=1)
    assert (len(page), page.total, page[0]["id"]) == (2, 5, 4)


def test_names_are_safe_in_addresses(client: Client, state: State) -> None:
    with pytest.raises(NotFound, match=re.escape("'a/../b? #%'")):
        client.tenants.get("a/../b? #%")


def test_prediction_from_a_json_body(client: Client, state: State) -> None:
    made = client.endpoints.create("d", "digits", 1)
    client.endpoints.wait(made["id"])
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
    assert client.endpoints.predict(made["id"], body)["predictions"] == [3]


def test_a_followed_log_goes_on_where_the_connection_broke() -> None:
    text = b"0123456789"
    breaks = [4, 7]

    def read(offset: int) -> Iterator[bytes]:
        end = breaks.pop(0) if breaks else len(text)
        yield text[offset:end]
        if breaks:
            raise Unavailable("cut")

    ended = iter([False, False, False, True])
    assert b"".join(follow_log(read, lambda: next(ended), lambda _s: None)) == text


def test_a_log_that_never_comes_back_is_given_up() -> None:
    def read(offset: int) -> Iterator[bytes]:
        raise Unavailable("gone")
        yield b""

    with pytest.raises(Unavailable, match="gone"):
        list(follow_log(read, lambda: False, lambda _s: None))


def test_waiting_asks_soon_at_first_and_then_every_two_seconds() -> None:
    slept: list[float] = []
    answers = iter([False] * 30 + [True])
    wait_until(lambda: next(answers), bool, slept.append, None, "it")
    assert slept[0] == 0.1
    assert slept[-1] == 2.0
