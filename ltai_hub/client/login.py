"""Name and password → hub token, through the hub's own login page.

JupyterHub also takes ``{"auth": {...}}`` at ``/hub/api/users/NAME/tokens``, but only for people it has seen before, and it
does not say why it refuses. The login page knows new people, locks out guessers once per try, and shows a reason.
"""

from __future__ import annotations

import html
import re

import httpx

from ltai_hub.client.problems import make_problem
from ltai_hub.client.settings import Login, clean_url
from ltai_hub.client.transport import TIMEOUT, USER_AGENT, connection_errors, part
from ltai_hub.errors import Denied, NotFound, Unavailable
from ltai_hub.trust import certificates

DAY = 24 * 3600
LOGIN_ERROR = re.compile(r'<p[^>]*class="[^"]*login_error[^"]*"[^>]*>(.*?)</p>', re.DOTALL)


def sign_in(url: str, name: str, password: str, *, days: int = 30, note: str = "ltai command line") -> Login:
    """A token that is valid ``days`` days. Raises Denied with the hub's reason, Unavailable, NotFound when it is no JupyterHub."""
    url = clean_url(url)
    with httpx.Client(headers={"User-Agent": USER_AGENT}, timeout=TIMEOUT, verify=certificates()) as http, connection_errors(url):
        _open_login_page(http, url)
        _post_login(http, url, name, password)
        return _make_token(http, url, name, days * DAY, note)


def _open_login_page(http: httpx.Client, url: str) -> None:
    answer = http.get(f"{url}/hub/login")
    if answer.is_redirect or answer.status_code in (502, 503):
        raise make_problem(answer)
    if answer.status_code != 200 or not _xsrf(http):
        raise NotFound(f"{url} has no login page of a JupyterHub; is this the address of an LtAI hub?")


def _post_login(http: httpx.Client, url: str, name: str, password: str) -> None:
    answer = http.post(f"{url}/hub/login", data={"username": name, "password": password, "_xsrf": _xsrf(http)})
    if answer.is_redirect:
        return
    if answer.status_code >= 500:
        raise make_problem(answer)
    raise Denied(_reason(answer.text) or "the hub refused this name and password")


def _make_token(http: httpx.Client, url: str, name: str, seconds: int, note: str) -> Login:
    # The login gave a new session, to which a new XSRF cookie belongs; any page sets it.
    http.get(f"{url}/hub/token")
    answer = http.post(
        f"{url}/hub/api/users/{part(name.lower())}/tokens",
        json={"note": note, "expires_in": seconds},
        headers={"X-XSRFToken": _xsrf(http)},
    )
    if answer.status_code >= 300:
        raise make_problem(answer)
    made = answer.json()
    if not isinstance(made.get("token"), str):
        raise Unavailable(f"{url} gave no token; the hub is too old or is not LtAI's")
    # the hub's own spelling of the name
    return Login(url, made["token"], str(made.get("user", name)))


def _xsrf(http: httpx.Client) -> str:
    """The cookie with the longest path is the hub's own."""
    found = [(len(cookie.path), cookie.value or "") for cookie in http.cookies.jar if cookie.name == "_xsrf"]
    return max(found)[1] if found else ""


def _reason(page: str) -> str:
    found = LOGIN_ERROR.search(page)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found[1])).split()) if found else ""


def revoke(login: Login) -> None:
    """Deletes the token at the hub. A token the hub does not know any more is fine. Raises Unavailable, Problem."""
    headers = {"User-Agent": USER_AGENT, "Authorization": f"token {login.token}"}
    with httpx.Client(headers=headers, timeout=TIMEOUT, verify=certificates()) as http, connection_errors(login.url):
        user = http.get(f"{login.url}/hub/api/user")
        if user.status_code in (401, 403):
            return
        if user.status_code >= 300:
            raise make_problem(user)
        model = user.json()
        answer = http.delete(f"{login.url}/hub/api/users/{part(model['name'])}/tokens/{part(model['token_id'])}")
        if answer.status_code >= 300 and answer.status_code not in (401, 403, 404):
            raise make_problem(answer)
