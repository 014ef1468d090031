"""One engine a process; short transactions; sqlite tuned so that several processes lose nothing.

With SQLAlchemy's defaults six processes silently lost more than half of their read-then-write updates on sqlite;
with BEGIN IMMEDIATE, WAL and a busy timeout they lose none (``tests/db/test_engine.py`` keeps that measured).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, CursorResult, Engine
from sqlalchemy.exc import OperationalError

from ltai_hub.errors import Unavailable

Value = TypeVar("Value")
BUSY_MILLISECONDS = 30_000
MOST_VALUES = 5000
# a PostgreSQL whose machine is gone refuses nothing: it is just silent
GIVE_UP = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
log = logging.getLogger("ltai.database")


class Database:
    """Opens transactions. Never call a backend or the network inside one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        # Threads of one process wait for one another here: sqlite itself only tries again, after up to a tenth of a second.
        self._writing: AbstractContextManager[object] = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Read and write; all or nothing. On sqlite the write lock is taken at the beginning."""
        try:
            with self._writing, self.engine.connect() as connection:
                if self.is_sqlite:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    try:
                        yield connection
                    except BaseException:
                        # a full disk makes sqlite roll back by itself
                        with suppress(OperationalError):
                            connection.exec_driver_sql("ROLLBACK")
                        raise
                    connection.exec_driver_sql("COMMIT")
                else:
                    with connection.begin():
                        # One admission at a time: quota sums must not race. The lock ends with the transaction.
                        connection.execute(text("SELECT pg_advisory_xact_lock(7421)"))
                        yield connection
        except OperationalError as error:
            raise Unavailable(explain(error)) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read only; sees one consistent state."""
        try:
            with self.engine.connect() as connection:
                if self.is_sqlite:
                    # ended by the rollback with which the connection goes back to the pool
                    connection.exec_driver_sql("BEGIN")
                else:
                    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                yield connection
        except OperationalError as error:
            raise Unavailable(explain(error)) from error

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        self.engine.dispose()


def make_engine(url: str) -> Engine:
    more: dict[str, Any] = {} if url.startswith("sqlite") else {"pool_pre_ping": True, "connect_args": GIVE_UP}
    engine = create_engine(url, **more)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None
    write_ahead(connection, record)
    for pragma in ("foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
        connection.execute(f"PRAGMA {pragma}")


def write_ahead(connection: Any, _record: object) -> None:
    """Of a sqlite connection, as it is made: a commit waits for no disk. One that a power cut takes back leaves the file whole."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def new_id(done: CursorResult[Any]) -> int:
    """The id of the row just inserted."""
    key = done.inserted_primary_key
    if key is None:
        raise AssertionError("the insert returned no key")
    return int(key[0])


def in_parts(values: Sequence[Value]) -> Iterator[Sequence[Value]]:
    """As many as one statement takes: no database takes more than some tens of thousands."""
    return (values[begin : begin + MOST_VALUES] for begin in range(0, len(values), MOST_VALUES))


def explain(error: OperationalError) -> str:
    """The driver's words as one sentence that says what to do."""
    words = str(error.orig)
    if "full" in words:
        return "the disk of the platform's database is full; free some space and try again"
    if "readonly" in words or "read-only" in words:
        return "the platform's database cannot be written; check the owner of the data folder and the disk"
    if "locked" in words:
        return "the platform's database is busy; try again in a moment"
    log.warning("the database does not answer: %s", words)
    return "the platform's database does not answer; try again in a moment, and tell an administrator if it stays"
