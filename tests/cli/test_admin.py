"""Commands that run the platform itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import call


def test_start_hands_on_what_was_asked_and_leaves_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(options: Any) -> int:
        asked.append(options)
        return 2

    monkeypatch.setattr("ltai_hub.local.supervisor.run", run)
    done = call("start", "--data", "d", "--port", "9000", "--host", "::1", "--demo", "--simulated-gpus", "2")
    assert done.code == 2
    options = asked[0]
    assert (options.data, options.port, options.host, options.demo, options.simulated_gpus) == (Path("d"), 9000, "::1", True, 2)
    assert (options.network, options.public_url) == ("private", "")


def test_a_port_that_is_none() -> None:
    done = call("start", "--port", "70000")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_the_shipped_catalogue_is_right() -> None:
    assert call("check-config").out == "The catalogue is right.\n"


def test_mistakes_in_a_catalogue_are_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "flavors.yaml").write_text("flavors:\n  small:\n    cpu: 1\n    memroy: 2Gi\n")
    (tmp_path / "images.yaml").write_text("images: {}\n")
    (tmp_path / "profiles.yaml").write_text("profiles: {}\n")
    done = call("check-config", str(tmp_path))
    assert done.code == 2
    assert "flavors.yaml:4" in done.err
    assert "memory" in done.err
    assert "Traceback" not in done.err


def test_migrate_needs_a_data_folder(tmp_path: Path) -> None:
    done = call("migrate", "--data", str(tmp_path / "none"))
    assert done.code == 2
    assert "is not there" in done.err


def test_migrate_twice(tmp_path: Path) -> None:
    for _ in range(2):
        done = call("migrate", "--data", str(tmp_path))
        assert (done.code, done.out) == (0, "The database has this version's tables.\n")
    assert (tmp_path / "ltai.sqlite").exists()


def test_a_link_for_an_administrator_needs_an_installation_and_begins_with_its_address(tmp_path: Path) -> None:
    assert call("invite-admin", "--data", str(tmp_path / "none")).code == 2
    call("migrate", "--data", str(tmp_path))
    done = call("invite-admin", "--data", str(tmp_path), "--public-url", "https://lab.example")
    assert done.code == 0
    assert done.out.startswith("https://lab.example/hub/invite/")
