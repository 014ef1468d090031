"""The platform's database as pods find it: perhaps not there yet, or with an older version's tables."""

from __future__ import annotations

import logging
import time

from sqlalchemy.exc import OperationalError

from ltai_hub.catalog import load_catalog
from ltai_hub.catalog.prices import seed_prices
from ltai_hub.db.engine import Database, make_engine
from ltai_hub.db.migrate import check_version, migrate
from ltai_hub.errors import ConfigProblem
from ltai_hub.settings import Settings
from ltai_hub.units import utc_now

LOOK_SECONDS, LOG_SECONDS, DATABASE_SECONDS = 1.0, 15.0, 300.0
log = logging.getLogger("ltai.cluster")


def bring_up_to_date(settings: Settings) -> None:
    """The tables of this version and the catalogue's prices. Safe to repeat and from several pods at once. Raises ConfigProblem."""
    catalog = load_catalog(settings.catalog)
    wait_for_database(settings.database)
    migrate(settings.database)
    database = Database(settings.database)
    with database.transaction() as tx:
        seed_prices(tx, catalog, utc_now())
    database.close()
    log.info("the database has this version's tables")


def wait_for_database(url: str, seconds: float = DATABASE_SECONDS) -> None:
    """Raises ConfigProblem when it does not answer for so long."""
    engine, until = make_engine(url), time.monotonic() + seconds
    try:
        while True:
            try:
                engine.connect().close()
                return
            except OperationalError as error:
                if time.monotonic() > until:
                    raise ConfigProblem(f"the database does not answer: {error.orig}") from error
                time.sleep(LOOK_SECONDS)
    finally:
        engine.dispose()


def wait_for_tables(url: str) -> None:
    """Until somebody else has made this version's tables. Raises ConfigProblem for a newer version's."""
    tell_at = 0.0
    while not has_tables(url):
        if time.monotonic() >= tell_at:
            log.info("waiting for the database's tables")
            tell_at = time.monotonic() + LOG_SECONDS
        time.sleep(LOOK_SECONDS)


def has_tables(url: str) -> bool:
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            return not check_version(connection)
    except OperationalError:
        return False
    finally:
        engine.dispose()
