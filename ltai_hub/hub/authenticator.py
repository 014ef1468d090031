"""Sign-in with the platform's own accounts; tenants become the hub's groups."""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import Authenticator
from tornado import web

from ltai_hub.accounts.service import AccountDisabled, LockedOut, WrongPassword
from ltai_hub.accounts.store import Account
from ltai_hub.domain.permissions import STAFF
from ltai_hub.errors import Conflict
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.handlers import HANDLERS
from ltai_hub.pages.i18n import handler_language, translate
from ltai_hub.tenancy.store import roles_of

REFRESH_SECONDS = 30


class LocalAuthenticator(Authenticator):  # type: ignore[misc]  # JupyterHub has no types
    """Accounts of ``ltai_hub.accounts``. A disabled account and its tokens are refused within half a minute."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allow_all = True
        self.manage_groups = True
        self.auth_refresh_age = REFRESH_SECONDS
        self.auth_refresh_strict = True

    async def authenticate(self, handler: web.RequestHandler, data: dict[str, str]) -> dict[str, Any] | None:
        language = handler_language(handler)
        if "username" not in data:
            raise web.HTTPError(400, translate(language, "The sign-in form was incomplete."))
        try:
            account = await in_thread(hub_core().accounts.check, data["username"].lower(), data.get("password", ""))
        except WrongPassword:
            return None
        except LockedOut as locked:
            raise locked_out(language, locked.seconds) from None
        except AccountDisabled:
            raise web.HTTPError(403, translate(language, "This account is disabled. Ask an administrator of the platform.")) from None
        return await in_thread(auth_model, account)

    async def refresh_user(self, user: Any, handler: web.RequestHandler | None = None) -> dict[str, Any] | bool:
        """What changed in the platform's database since the sign-in; False ends the session."""
        account = await in_thread(hub_core().accounts.find, user.name)
        if account is None or account.disabled:
            return False
        return await in_thread(auth_model, account)

    async def add_user(self, user: Any) -> None:
        """A user made on the hub's admin page gets an account without a password; an invite link lets them in."""
        super().add_user(user)
        try:
            await in_thread(hub_core().accounts.create, user.name)
        except Conflict:
            return

    def delete_user(self, user: Any) -> None:
        super().delete_user(user)
        hub_core().accounts.delete(user.name)

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        return [*super().get_handlers(app), *HANDLERS]


def auth_model(account: Account) -> dict[str, Any]:
    """JupyterHub's auth model; ``user_info`` is what the services see in /hub/api/user."""
    with hub_core().database.reading() as tx:
        roles = roles_of(tx, account.name)
    staff = account.admin or not STAFF.isdisjoint(roles.values())
    return {
        "name": account.name,
        "admin": account.admin,
        "groups": sorted(roles),
        "user_info": {"display_name": account.display_name, "language": account.language, "staff": staff},
    }


def locked_out(language: str, seconds: int) -> web.HTTPError:
    error = web.HTTPError(429, translate(language, "Too many wrong passwords. Try again in {seconds} seconds.", seconds=seconds))
    error.headers = {"Retry-After": str(seconds)}  # type: ignore[attr-defined]  # JupyterHub's handlers send them
    return error
