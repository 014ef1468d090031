"""JupyterHub's configuration, from plain values. ``hub_config/`` picks the mode and calls ``configure``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ltai_hub.db.engine import GIVE_UP
from ltai_hub.hub.authenticator import LocalAuthenticator
from ltai_hub.pages import TEMPLATES
from ltai_hub.pages.nav import template_vars

SERVICES = ("tenancy", "catalog", "environments", "training", "models", "serving", "billing", "monitor")
ACCESS = "access:services"
# A notebook server's own token: call the services as its owner, report activity, be opened. Nothing of the hub's administration.
SERVER_SCOPES = [ACCESS, "read:users!user", "users:activity!user", "access:servers!server"]
PLATFORM_SCOPES = ["admin:users", "admin:servers", "admin:groups", "list:users", "tokens", "read:services", ACCESS, "read:hub"]

# MLflow's pages have a login of their own, apart from the console's
MLFLOW_CALLBACK = "/services/models/mlflow/oauth_callback"


@dataclass(frozen=True)
class HubPlaces:
    """Where the parts of one installation find each other. URLs without a slash at the end.

    ``services`` is one address for all of them; ``service_urls`` has those that answer at one of their own.
    """

    public_bind: str
    hub_bind: str
    hub_connect: str
    proxy_api: str
    services: str
    console: str
    hub_database: str
    service_urls: Mapping[str, str] = field(default_factory=dict)

    def service(self, name: str) -> str:
        return self.service_urls.get(name, self.services)


@dataclass(frozen=True)
class HubSecrets:
    cookie_secret: bytes = field(repr=False)
    proxy_token: str = field(repr=False)
    platform_token: str = field(repr=False)
    console_token: str = field(repr=False)
    mlflow_token: str = field(repr=False)


@dataclass(frozen=True)
class ServicesProcess:
    """The hub-managed process that serves all services; empty command: somebody else runs it."""

    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict, repr=False)


def configure(c: Any, places: HubPlaces, secrets: HubSecrets, services: ServicesProcess, spawner_class: type) -> None:
    """Everything that is the same in every mode."""
    configure_hub(c, places, secrets)
    configure_pages(c)
    configure_roles(c)
    configure_services(c, places, secrets, services)
    configure_spawner(c, spawner_class)


def configure_hub(c: Any, places: HubPlaces, secrets: HubSecrets) -> None:
    c.JupyterHub.bind_url = places.public_bind
    c.JupyterHub.hub_bind_url = places.hub_bind
    c.JupyterHub.hub_connect_url = places.hub_connect
    c.JupyterHub.db_url = places.hub_database
    if not places.hub_database.startswith("sqlite"):
        c.JupyterHub.db_kwargs = {"connect_args": GIVE_UP}
    c.JupyterHub.cookie_secret = secrets.cookie_secret
    c.JupyterHub.authenticator_class = LocalAuthenticator
    c.JupyterHub.cleanup_proxy = False
    # A queued start counts as pending, so a limit on pending starts would let the queue block everybody
    c.JupyterHub.concurrent_spawn_limit = 0
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 2, "slow_stop_timeout": 10}
    c.JupyterHub.allow_named_servers = True
    c.JupyterHub.load_groups = {}
    c.JupyterHub.activity_resolution = 60
    c.JupyterHub.service_check_interval = 60
    # The proxy is a process of its own, so that a hub that restarts cuts nobody's connection
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = places.proxy_api
    c.ConfigurableHTTPProxy.auth_token = secrets.proxy_token


def configure_pages(c: Any) -> None:
    from ltai_hub.hub.pages import hub_template_vars

    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.template_vars = {**template_vars(), **hub_template_vars()}


def configure_roles(c: Any) -> None:
    c.JupyterHub.extra_user_scopes = {ACCESS}
    c.JupyterHub.load_roles = [{"name": "platform", "services": ["ltai"], "scopes": PLATFORM_SCOPES}]


def configure_services(c: Any, places: HubPlaces, secrets: HubSecrets, process: ServicesProcess) -> None:
    console: dict[str, Any] = {
        "name": "console",
        "url": places.console,
        "api_token": secrets.console_token,
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": ["inherit"],
        "display": False,
        "timeout": 60,
    }
    if process.command:
        console |= {"command": list(process.command), "environment": dict(process.environment)}
    others: list[dict[str, Any]] = [{"name": name, "url": places.service(name), "display": False} for name in SERVICES]
    for service in others:
        if service["name"] == "models":
            service |= {
                "api_token": secrets.mlflow_token,
                "oauth_redirect_uri": MLFLOW_CALLBACK,
                "oauth_no_confirm": True,
                "oauth_client_allowed_scopes": ["inherit"],
            }
    # the console first: it starts the process the others answer from
    c.JupyterHub.services = [console, *others, {"name": "ltai", "api_token": secrets.platform_token, "display": False}]


def ignore_options(_spawner: Any, _options: dict[str, Any]) -> None:
    return


def configure_spawner(c: Any, spawner_class: type) -> None:
    c.JupyterHub.spawner_class = spawner_class
    c.Spawner.default_url = "/lab"
    # start() also waits in the queue, for as long as it takes
    c.Spawner.start_timeout = 30 * 24 * 3600
    c.Spawner.http_timeout = 30
    c.Spawner.poll_interval = 5
    # one person's broken starts must not end the hub
    c.Spawner.consecutive_failure_limit = 0
    c.Spawner.server_token_scopes = SERVER_SCOPES
    # the spawner reads its options itself; without this JupyterHub warns at every start that nobody does
    c.Spawner.apply_user_options = ignore_options
    c.Spawner.args = [
        # probing for language servers stalls a new server's first answer by half a second
        "--LanguageServerManager.autodetect=False",
    ]
    # The page needs to know that there are choices; what is offered is drawn by templates/spawn.html
    c.Spawner.options_form = "ltai"
