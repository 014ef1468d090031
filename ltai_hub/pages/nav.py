"""Navigation that the hub's pages and the console share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ltai_hub.pages.i18n import LANGUAGES, page_language, page_translate


@dataclass(frozen=True)
class Item:
    """``href`` is relative to the hub's base URL ("/"); ``staff``: for those who teach or administer somewhere."""

    key: str
    title: str
    href: str
    staff: bool = False


CONSOLE = "services/console/"
NAV = (
    Item("console", "Console", CONSOLE),
    Item("environments", "Environments", CONSOLE + "environments"),
    Item("jobs", "Jobs", CONSOLE + "jobs"),
    Item("models", "Models", CONSOLE + "models"),
    Item("endpoints", "Endpoints", CONSOLE + "endpoints"),
    Item("usage", "Usage", CONSOLE + "usage"),
    Item("class", "Class", CONSOLE + "class", staff=True),
    Item("organisation", "Organisation", CONSOLE + "organisation", staff=True),
)
ADMIN_TABS = (
    Item("servers", "Users and servers", "hub/admin"),
    Item("overview", "Overview", CONSOLE + "admin/overview"),
    Item("environments", "Environments", CONSOLE + "admin/environments"),
    Item("jobs", "Jobs", CONSOLE + "admin/jobs"),
    Item("endpoints", "Endpoints", CONSOLE + "admin/endpoints"),
    Item("tenants", "Tenants", CONSOLE + "admin/tenants"),
    Item("accounts", "Accounts", CONSOLE + "admin/accounts"),
    Item("catalogue", "Catalogue", CONSOLE + "admin/catalogue"),
    Item("nodes", "Nodes", CONSOLE + "admin/nodes"),
    Item("billing", "Billing", CONSOLE + "admin/billing"),
)


def template_vars() -> dict[str, Any]:
    """For ``JupyterHub.template_vars``, which calls what is callable with the user: hence the lambdas."""
    return {
        "_": lambda user: page_translate,
        "page_language": lambda user: page_language,
        "languages": LANGUAGES,
        "ltai_nav": NAV,
        "admin_tabs": ADMIN_TABS,
    }


def page_globals() -> dict[str, Any]:
    """The same for somebody else's jinja environment (the console's)."""
    return {name: value(None) if callable(value) else value for name, value in template_vars().items()}
