"""Every address of the console is one page: the bundle finds its panel by the address."""

from __future__ import annotations

from tornado import web

from ltai_services.console.login import SignedInHandler
from ltai_services.console.look import Look


class PageHandler(SignedInHandler):
    @web.authenticated
    async def get(self, path: str) -> None:
        look: Look = self.settings["look"]
        self.set_header("Cache-Control", "no-store")
        xsrf = self.xsrf_token.decode()
        self.finish(await look.render("console.html", self.current_user, self.language(), xsrf, active_nav=active_nav(path)))

    async def prepare(self) -> None:
        await super().prepare()
        if self.denied:
            raise web.HTTPError(403, "your account may not open the console; ask an administrator")


def active_nav(path: str) -> str:
    """Which entry of the bar is lit."""
    section = path.split("/", 1)[0]
    return section if section in ("environments", "jobs", "models", "endpoints", "usage", "class", "organisation", "admin") else "console"


class BundleHandler(web.StaticFileHandler):
    """The built files; ``?v=`` in their address lets browsers keep them."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
