"""Which hub to talk to and with which token: environment variables, or the file that ``ltai login`` writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ltai_hub.errors import ConfigProblem

NO_LOGIN = "not signed in; run: ltai login URL (or set LTAI_URL and LTAI_TOKEN)"


@dataclass(frozen=True)
class Login:
    """A hub's public address (no slash at the end) and a token of the person named."""

    url: str
    token: str = field(repr=False)
    name: str = ""


def login_file() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "ltai" / "login.json"


def find_login(environ: Mapping[str, str] | None = None, file: Path | None = None) -> Login:
    """First of: LTAI_URL + LTAI_TOKEN; inside an environment the notebook server's own token; the login file. Raises ConfigProblem."""
    environ = os.environ if environ is None else environ
    saved = load_login(file or login_file())
    url = clean_url(environ.get("LTAI_URL") or environ.get("JUPYTERHUB_PUBLIC_HUB_URL", ""))
    token = environ.get("LTAI_TOKEN") or (environ.get("JUPYTERHUB_API_TOKEN", "") if url else "")
    if url and token:
        return Login(url, token)
    if token:
        raise ConfigProblem("LTAI_TOKEN is set but LTAI_URL is not; set it to the address of the hub, for example http://127.0.0.1:8000")
    if url and (saved is None or saved.url != url):
        raise ConfigProblem(f"LTAI_URL is set but LTAI_TOKEN is not; set it, or run: ltai login {url}")
    if saved is None:
        raise ConfigProblem(NO_LOGIN)
    return saved


def load_login(file: Path) -> Login | None:
    """What ``save_login`` wrote; None when there is no such file. Raises ConfigProblem when it cannot be used."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigProblem(f"{file} cannot be read ({error.strerror}); mend its rights or delete it") from error
    try:
        values = json.loads(text)
        return Login(clean_url(values["url"]), values["token"], values.get("name", ""))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigProblem(f"{file} is damaged; delete it and run: ltai login URL") from error


def save_login(login: Login, file: Path | None = None) -> Path:
    """Writes the login file, readable by its owner only, in one step."""
    file = file or login_file()
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            json.dump(asdict(login), out)
        fresh.replace(file)
    except OSError as error:
        raise ConfigProblem(f"{file} cannot be written ({error.strerror}); mend its rights, or set LTAI_URL and LTAI_TOKEN") from error
    return file


def clean_url(text: str) -> str:
    """What people paste → the hub's public address: scheme added, ``/hub/…`` and slashes at the end cut."""
    url = text.strip()
    if not url:
        return ""
    if "://" not in url:
        host = url.split("/")[0].rsplit(":", 1)[0]
        url = f"{'http' if host in ('localhost', '127.0.0.1', '[::1]') else 'https'}://{url}"
    scheme, _, rest = url.partition("://")
    rest = rest.split("?")[0].split("#")[0]
    host, slash, path = rest.partition("/")
    path = f"{slash}{path}".partition("/hub/")[0].removesuffix("/hub").rstrip("/")
    return f"{scheme.lower()}://{host}{path}"
