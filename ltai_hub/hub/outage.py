"""While the hub's database is away: people are told so, and once it is back the hub begins anew.

JupyterHub takes whoever it cannot look up for somebody who is not signed in, and forgets what it was about to write down: a server
that has just started would stay without a route. A hub that is started again sees what there really is, and starts that are under
way outlive it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from jupyterhub.handlers.base import BaseHandler
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from tornado import web

from ltai_hub.hub.core import in_thread

LOOK_SECONDS = 2.0
AWAY = "the platform's database does not answer; try again in a moment"
log = logging.getLogger("ltai.hub")


class DatabaseAway(web.HTTPError):
    jupyterhub_message = AWAY

    def __init__(self) -> None:
        super().__init__(503, AWAY)


def tell_of_outages() -> None:
    """Every request that needs the database answers 503 with a sentence while it is away."""
    look_up, resolve = BaseHandler.get_current_user, BaseHandler._resolve_roles_and_scopes

    async def get_current_user(handler: BaseHandler) -> object:
        try:
            return await look_up(handler)
        except SQLAlchemyError:
            handler.database_is_away = True
            raise

    # JupyterHub swallows what the one raises and calls the other right after
    def _resolve_roles_and_scopes(handler: BaseHandler) -> None:
        if getattr(handler, "database_is_away", False):
            raise DatabaseAway
        resolve(handler)

    BaseHandler.get_current_user, BaseHandler._resolve_roles_and_scopes = get_current_user, _resolve_roles_and_scopes


class DatabaseWatch:
    """``look`` from time to time; ``begin_anew`` is called once the database is back after it was away."""

    def __init__(self, engine: Engine, begin_anew: Callable[[], None]) -> None:
        self._engine, self._begin_anew = engine, begin_anew
        self._was_away = False

    async def look(self) -> None:
        answers = await in_thread(self._answers)
        if answers and self._was_away:
            log.warning("the database is back; the hub begins anew")
            self._begin_anew()
        elif not answers and not self._was_away:
            log.warning("the database is away")
        self._was_away = not answers

    def _answers(self) -> bool:
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except OperationalError:
            return False
        return True
