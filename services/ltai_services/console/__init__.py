"""The console: pages around the React panels, and the way from them to the services.

A tornado app behind JupyterHub's OAuth, hub service ``console`` at ``/services/console/``.
"""

from ltai_services.console.app import listen, make_app
from ltai_services.console.settings import ConsoleSettings

__all__ = ["ConsoleSettings", "listen", "make_app", "start"]


def start() -> None:
    """Listen in the running event loop; the entry point ``ltai.pages``."""
    settings = ConsoleSettings.from_environ()
    listen(make_app(settings), settings.address, settings.port)
