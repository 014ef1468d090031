"""JupyterLab speaks the language in which the person reads the hub's pages, unless they chose another in JupyterLab.

jupyterlab_server knows one default for the whole process, taken from LANG when it is imported. Here the default depends on who asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

COOKIE = "ltai_lang"
ENGLISH, CHINESE = "en", "zh_CN"


def wanted(handler: Any) -> str:
    """As on the hub's pages: the cookie, the account, the browser. A locale as JupyterLab writes it."""
    account = getattr(handler.current_user, "hub_user", None) or {}
    saved = (account.get("user_info") or {}).get("language", "")
    accepted = handler.request.headers.get("Accept-Language", "")
    said = handler.get_cookie(COOKIE, "") or saved or accepted
    return CHINESE if said.lower().startswith("zh") else ENGLISH


def follow_the_person() -> None:
    """Makes JupyterLab's "default" language the person's. Without JupyterLab there is nothing to do."""
    try:
        settings: Any = import_module("jupyterlab_server.settings_utils")
        translations: Any = import_module("jupyterlab_server.translations_handler")
    except ImportError:
        return
    answer, current = translations.TranslationsHandler.get, settings.SchemaHandler.get_current_locale

    async def get(self: Any, locale: str | None = None) -> None:
        await answer(self, wanted(self) if locale == "default" else locale)

    def get_current_locale(self: Any) -> str:
        system = settings.SYS_LOCALE
        settings.SYS_LOCALE = wanted(self)
        try:
            return str(current(self))
        finally:
            settings.SYS_LOCALE = system

    translations.TranslationsHandler.get = get
    settings.SchemaHandler.get_current_locale = get_current_locale
