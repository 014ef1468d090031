"""The hub's pages around accounts: ``/hub/invite/TOKEN`` and ``/hub/password``."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.orm import new_token
from tornado import web

from ltai_hub.accounts.service import LockedOut
from ltai_hub.accounts.store import Account, Invite
from ltai_hub.domain.tenants import Person
from ltai_hub.errors import BadInput, Conflict, Problem
from ltai_hub.hub.core import hub_core, in_thread
from ltai_hub.hub.records import Records
from ltai_hub.pages.i18n import handler_language, translate
from ltai_hub.slugs import USER_NAME


class AccountHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub has no types
    def t(self, text: str, **values: object) -> str:
        return translate(handler_language(self, self.current_user), text, **values)

    def text(self, name: str) -> str:
        value: str = self.get_body_argument(name, "", strip=False)
        return value

    def explain(self, problem: Problem) -> str:
        """The problem's sentence; those that quote what was typed have a shorter one here that can be translated."""
        name = self.text("username").strip()
        if name and not USER_NAME.fullmatch(name):
            return self.t("This cannot be a user name: use 1 to 64 of a–z, 0–9, '.', '_' and '-', beginning with a letter.")
        if type(problem) is Conflict:
            return self.t("This name is taken. Choose another one.")
        if isinstance(problem, LockedOut):
            return self.t("Too many wrong passwords. Try again in {seconds} seconds.", seconds=problem.seconds)
        return self.t(problem.message)

    def new_password(self, field: str) -> str:
        if self.text(field) != self.text("again"):
            raise BadInput("the two passwords are not the same")
        return self.text(field)


class InviteHandler(AccountHandler):
    """Whoever has the link makes an account, or sets a new password for the one it names."""

    async def get(self, token: str) -> None:
        await self.show(await in_thread(hub_core().accounts.find_invite, token))

    async def post(self, token: str) -> None:
        accounts = hub_core().accounts
        invite = await in_thread(accounts.find_invite, token)
        name, display_name = self.text("username").strip(), self.text("display_name")
        try:
            password = self.new_password("password")
            account = await in_thread(accounts.accept_invite, token, name, display_name, password)
        except Problem as problem:
            self.set_status(problem.status)
            await self.show(invite, error=self.explain(problem), typed_name=name, display_name=display_name)
            return
        await self.sign_in(account)

    async def show(self, invite: Invite | None, **values: Any) -> None:
        # the token is in the address: tell it to nobody the page links to
        self.set_header("Referrer-Policy", "no-referrer")
        if invite is None:
            self.set_status(404)
        self.finish(await self.render_template("invite.html", invite=invite, **values))

    async def sign_in(self, account: Account) -> None:
        from ltai_hub.hub.authenticator import auth_model  # it imports this module

        user = await self.auth_to_user({"auth_state": None, **await in_thread(auth_model, account)})
        self.set_login_cookie(user)
        self.redirect(self.get_next_url(user, default=await self.first_page(account)))

    async def first_page(self, account: Account) -> str | None:
        """None: what JupyterHub would show. An administrator of a platform that is still empty has nothing to start yet."""
        if not account.admin:
            return None
        core = hub_core()
        offer = await in_thread(Records(core.database, core.catalog).offer, Person(account.name, admin=True))
        return None if any(offer.profiles.values()) else f"{self.settings['base_url']}services/console/"


class PasswordHandler(AccountHandler):
    @web.authenticated
    async def get(self) -> None:
        await self.show()

    @web.authenticated
    async def post(self) -> None:
        user = self.current_user
        try:
            new = self.new_password("new")
            await in_thread(hub_core().accounts.change_password, user.name, self.text("old"), new)
        except Problem as problem:
            self.set_status(problem.status)
            await self.show(error=self.explain(problem))
            return
        # a new cookie id ends every other browser's session
        user.cookie_id = new_token()
        self.db.commit()
        self.set_login_cookie(user)
        await self.show(done=True)

    async def show(self, **values: Any) -> None:
        self.finish(await self.render_template("password.html", **values))


HANDLERS: list[tuple[str, type]] = [(r"/invite/([A-Za-z0-9_-]{1,100})", InviteHandler), (r"/password", PasswordHandler)]
