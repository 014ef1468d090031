"""LtAI inside JupyterLab: the server half. Imported by a fork server before users exist, so it stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__version__ = "0.1.0"


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "@ltai/lab"}]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "ltai_lab"}]


def _load_jupyter_server_extension(server_app: ServerApp) -> None:
    from ltai_lab.handlers import make_handlers
    from ltai_lab.language import follow_the_person

    follow_the_person()
    server_app.web_app.add_handlers(".*$", make_handlers(server_app.web_app.settings["base_url"]))
