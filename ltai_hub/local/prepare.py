"""What has to be right before anything starts: catalogue, database, first accounts. ``python -m ltai_hub.local.prepare``.

A process of its own, so that ``ltai start`` does not keep SQLAlchemy and alembic in memory for as long as it runs.
Settings come from the environment; the answer is one line of JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field

from ltai_hub.errors import Problem


@dataclass(frozen=True)
class SchoolAccount:
    name: str
    password: str = field(repr=False)
    role: str


@dataclass(frozen=True)
class Prepared:
    """``problem``: why nothing can start. ``accounts``: of the demo school. ``invite``: link for the first administrator."""

    problem: str = ""
    accounts: list[SchoolAccount] = field(default_factory=list)
    invite: str = ""


def read_prepared(line: str) -> Prepared:
    raw = json.loads(line)
    return Prepared(raw["problem"], [SchoolAccount(**account) for account in raw["accounts"]], raw["invite"])


def prepare() -> Prepared:
    """Raises Problem."""
    from ltai_hub.accounts.service import Accounts
    from ltai_hub.catalog import load_catalog
    from ltai_hub.catalog.prices import seed_prices
    from ltai_hub.db.engine import Database
    from ltai_hub.db.migrate import migrate
    from ltai_hub.demo import make_demo_school
    from ltai_hub.settings import Settings
    from ltai_hub.units import utc_now

    settings = Settings()
    catalog = load_catalog(settings.catalog)
    migrate(settings.database)
    database = Database(settings.database)
    with database.transaction() as tx:
        seed_prices(tx, catalog, utc_now())
    if settings.demo:
        made = make_demo_school(database, settings.folder, catalog, settings.simulated_gpus)
        return Prepared(accounts=[SchoolAccount(a.name, a.password, a.role) for a in made])
    accounts = Accounts(database)
    return Prepared(invite="" if accounts.has_admin() else accounts.invite(admin=True).link(settings.public_url))


def main() -> None:
    try:
        prepared = prepare()
    except Problem as problem:
        prepared = Prepared(problem=problem.message)
    print(json.dumps(asdict(prepared)))
    sys.exit(2 if prepared.problem else 0)


if __name__ == "__main__":
    main()
