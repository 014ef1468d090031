"""Who asks: JupyterHub's OAuth cookie, or a hub token."""

from __future__ import annotations

from typing import Any

from jupyterhub.services.auth import HubOAuth, HubOAuthenticated
from tornado import web

from ltai_hub.pages.i18n import COOKIE, choose_language
from ltai_services.console.settings import ConsoleSettings


class SignedInHandler(HubOAuthenticated, web.RequestHandler):  # type: ignore[misc]  # JupyterHub has no types
    """``current_user`` is the hub's model of the person, or None; ``denied`` tells a person without access from nobody."""

    denied = False

    @property
    def hub_auth(self) -> HubOAuth:
        return self.settings["hub_auth"]

    @property
    def console(self) -> ConsoleSettings:
        settings: ConsoleSettings = self.settings["console"]
        return settings

    async def prepare(self) -> None:
        # The stock get_current_user() would block the event loop while the hub answers.
        model: dict[str, Any] | None = await self.hub_auth.get_user(self, sync=False)
        allowed = model is not None and self.hub_auth.check_scopes(self.hub_scopes, model)
        self.current_user = model if allowed else None
        self.denied = model is not None and not allowed

    def language(self) -> str:
        """As on the hub's pages: the cookie, the account, the browser."""
        saved = ((self.current_user or {}).get("user_info") or {}).get("language", "")
        return choose_language(self.get_cookie(COOKIE, "") or "", saved, self.request.headers.get("Accept-Language", ""))
