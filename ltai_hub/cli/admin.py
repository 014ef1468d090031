"""What ``ltai start``, ``migrate`` and ``check-config`` do; the platform's modules are imported only here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltai_hub.errors import ConfigProblem

if TYPE_CHECKING:
    from ltai_hub.settings import Settings


def start_platform(options: Mapping[str, Any]) -> int:
    """``options`` as StartOptions takes them. Runs until it is stopped; the exit code. Raises ConfigProblem."""
    from ltai_hub.local.options import StartOptions
    from ltai_hub.local.supervisor import run

    return run(StartOptions(**options))


def migrate_database(data: Path) -> str:
    """The sentence to show. Raises ConfigProblem for a data folder that is not there or a database from a newer version."""
    from ltai_hub.db.migrate import migrate

    migrate(settings_of(data).database)
    return "The database has this version's tables."


def invite_admin(data: Path, public_url: str) -> str:
    """A one-time link that makes an administrator's account; ``public_url`` "": as the settings have it. Raises ConfigProblem."""
    from ltai_hub.accounts.service import Accounts
    from ltai_hub.db.engine import Database

    settings = settings_of(data)
    return Accounts(Database(settings.database)).invite(admin=True).link(public_url or settings.public_url)


def settings_of(data: Path) -> Settings:
    """Of an installation that is there. Raises ConfigProblem."""
    from ltai_hub.settings import Settings

    settings = Settings(data=data)
    if not settings.database_url and not settings.folder.root.is_dir():
        raise ConfigProblem(f"{data} is not there; give the data folder with --data, or make one with: ltai start")
    return settings


def check_catalogue(folder: Path | None) -> list[str]:
    """A line a mistake."""
    from ltai_hub.catalog.load import check
    from ltai_hub.paths import shipped

    return [str(mistake) for mistake in check(folder or shipped("spawner_profiles"))]
