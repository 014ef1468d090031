"""The hub's own look for pages that the hub does not serve: its templates, its bar, its language."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH
from jupyterhub._version import __version__ as hub_version

from ltai_hub.pages import TEMPLATES
from ltai_hub.pages.nav import page_globals
from ltai_services.console.settings import ConsoleSettings

OURS = Path(__file__).parent / "templates"
STOCK = Path(DATA_FILES_PATH) / "templates"
NOT_BUILT = "The front end has not been built. Run: node labextensions/build.mjs"


class Look:
    """Renders templates as the hub would."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        self.hub = settings.base_url + "hub/"

    @cached_property
    def environment(self) -> Environment:
        # "templates/page.html" is the hub's stock one, "page.html" ours: the same search path the hub has.
        stock = PrefixLoader({"templates": FileSystemLoader([STOCK])}, "/")
        environment = Environment(
            loader=ChoiceLoader([stock, FileSystemLoader([OURS, TEMPLATES, STOCK])]), autoescape=True, enable_async=True
        )
        environment.globals.update(page_globals())
        return environment

    def asset(self, name: str) -> str:
        """Address of a file of the bundle; its hash makes it cacheable for ever. "" when the front end is not built."""
        path = self.settings.bundle / name
        if not path.is_file():
            return ""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        return f"{self.settings.prefix}static/{name}?v={digest}"

    async def render(self, template: str, user: Mapping[str, Any], language: str, xsrf: str, **values: Any) -> str:
        scopes = set(user.get("scopes", ()))
        return await self.environment.get_template(template).render_async(
            base_url=self.hub,
            prefix=self.settings.base_url,
            logo_url=self.hub,
            login_url=self.hub + "login",
            logout_url=self.hub + "logout",
            static_url=lambda path, **_: f"{self.hub}static/{path}",
            user=SimpleNamespace(name=user["name"], json_escaped_name=user["name"], user_info=user.get("user_info") or {}),
            no_spawner_check=True,
            services=[],
            parsed_scopes=scopes,
            expanded_scopes=scopes,
            admin_access=bool(user.get("admin")),
            xsrf_token=xsrf,
            xsrf=xsrf,
            version_hash="",
            server_version=hub_version,
            language=language,
            console_prefix=self.settings.prefix,
            script=self.asset("console.js"),
            style=self.asset("console.css"),
            not_built=NOT_BUILT,
            **values,
        )
