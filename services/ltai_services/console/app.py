"""Routes of the console, and its listening socket."""

from __future__ import annotations

from re import escape

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler
from tornado import httpserver, web

from ltai_services.console.look import Look
from ltai_services.console.pages import BundleHandler, PageHandler
from ltai_services.console.proxy import ProxyHandler
from ltai_services.console.settings import ConsoleSettings

# How long a hub token's answer is believed; a role taken away holds at most this long.
BELIEVED_SECONDS = 60
LARGEST_BODY = 64 << 30


class CallbackHandler(HubOAuthCallbackHandler):  # type: ignore[misc]  # JupyterHub has no types
    """The last step of signing in."""

    @property
    def hub_auth(self) -> HubOAuth:
        return self.settings["hub_auth"]


def make_app(settings: ConsoleSettings, hub_auth: HubOAuth | None = None) -> web.Application:
    auth = hub_auth or HubOAuth()
    auth.cache_max_age = BELIEVED_SECONDS
    prefix = escape(settings.prefix)
    return web.Application(
        [
            (prefix + "oauth_callback", CallbackHandler),
            (prefix + "static/(.*)", BundleHandler, {"path": str(settings.bundle)}),
            (prefix + "api/([a-z][a-z-]*)/(.*)", ProxyHandler),
            (prefix + "(.*)", PageHandler),
            (escape(settings.prefix.rstrip("/")), web.RedirectHandler, {"url": settings.prefix, "permanent": False}),
        ],
        cookie_secret=settings.cookie_secret,
        # HubOAuth checks XSRF itself for callers with a cookie; tornado's own check would refuse those with a token.
        xsrf_cookies=False,
        compress_response=True,
        hub_auth=auth,
        console=settings,
        look=Look(settings),
    )


def listen(app: web.Application, address: str, port: int) -> httpserver.HTTPServer:
    """Serve on the running event loop. Raises OSError when the port is taken."""
    server = httpserver.HTTPServer(app, xheaders=True, max_body_size=LARGEST_BODY)
    server.listen(port, address)
    return server
