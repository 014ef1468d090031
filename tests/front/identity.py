"""Who asks a test's notebook server: whoever the header X-User names."""

from jupyter_server.auth.identity import IdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler


class HeaderIdentity(IdentityProvider):  # type: ignore[misc]  # jupyter_server has no types here
    def get_user(self, handler: JupyterHandler) -> User | None:
        name = handler.request.headers.get("X-User")
        return User(username=name) if name else None

    @property
    def auth_enabled(self) -> bool:
        return True

    def should_check_origin(self, handler: JupyterHandler) -> bool:
        return True

    def is_token_authenticated(self, handler: JupyterHandler) -> bool:
        """Like a browser with a cookie: XSRF is checked."""
        return "X-Token" in handler.request.headers
