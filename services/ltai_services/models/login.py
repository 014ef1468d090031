"""Who asks: a hub token in the request, or in a browser the hub's login by OAuth, kept in a cookie of these pages only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urlsplit

import httpx

from ltai_hub.derived import MLFLOW_CLIENT, derive
from ltai_hub.errors import BadInput, Denied, NotLoggedIn, Unavailable
from ltai_hub.settings import Settings
from ltai_hub.trust import certificates
from ltai_services.tracking import PREFIX

CLIENT = "service-models"
CALLBACK = f"{PREFIX}/oauth_callback"
COOKIE, STATE_COOKIE = "ltai-mlflow", "ltai-mlflow-state"
STATE_SECONDS = 600
COOKIE_SECONDS = 14 * 86_400


@dataclass(frozen=True)
class Sent:
    """What of a request tells who asks. Header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def is_page(self) -> bool:
        """A person opening a page, who can be sent to the login."""
        if self.method != "GET":
            return False
        return self.header("sec-fetch-mode") == "navigate" or (
            "sec-fetch-mode" not in self.headers and "text/html" in self.header("accept")
        )


def header_token(authorization: str) -> str | None:
    """The hub token of "Bearer x", "token x" or Basic (its password). None without the header. Raises NotLoggedIn."""
    if not authorization:
        return None
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() in ("bearer", "token") and value.strip():
        return value.strip()
    if scheme.lower() == "basic":
        try:
            _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError:
            password = ""
        if password:
            return password
    raise NotLoggedIn("send a hub token: MLFLOW_TRACKING_TOKEN, or your name and the token as MLFLOW_TRACKING_USERNAME and …_PASSWORD")


class BrowserLogin:
    """The OAuth code flow of the hub (RFC 6749) with PKCE (RFC 7636)."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient | None = None) -> None:
        self._key = settings.signing_key.encode()
        self._secret = derive(settings.signing_key, MLFLOW_CLIENT)
        self._token_url = f"{settings.hub_api_url.rstrip('/')}/oauth2/token"
        self._secure = "; Secure" if settings.public_url.startswith("https:") else ""
        self._client = client or httpx.AsyncClient(timeout=15, verify=certificates())

    def cookie_token(self, sent: Sent) -> str | None:
        """The token kept at the last login. Raises Denied when another site's page made the browser send it."""
        token = self._unsign(_cookies(sent).get(COOKIE, ""), b"login", COOKIE_SECONDS)
        if token is not None:
            check_site(sent)
        return token

    def begin(self, sent: Sent, now: float) -> tuple[str, str]:
        """Where to send the browser, and the cookie to set."""
        nonce, verifier = secrets.token_urlsafe(18), secrets.token_urlsafe(32)
        target = sent.path + (f"?{sent.query}" if sent.query else "")
        state = self._sign(f"{nonce} {verifier} {target}", b"state", now)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": CLIENT,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "state": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"/hub/api/oauth2/authorize?{urlencode(query)}", self._cookie(STATE_COOKIE, state, STATE_SECONDS)

    async def finish(self, sent: Sent, query: dict[str, str], now: float) -> tuple[str, list[str]]:
        """Where the person wanted to go, and the cookies to set. Raises BadInput, NotLoggedIn, Unavailable."""
        kept = self._unsign(_cookies(sent).get(STATE_COOKIE, ""), b"state", STATE_SECONDS)
        if kept is None or "code" not in query:
            raise BadInput("the login took too long or began elsewhere; open the page again")
        nonce, verifier, target = kept.split(" ", 2)
        if not hmac.compare_digest(nonce, query.get("state", "")):
            raise BadInput("the login was begun in another tab; open the page again")
        token = await self._exchange(query["code"], verifier)
        login = self._cookie(COOKIE, self._sign(token, b"login", now), COOKIE_SECONDS)
        return safe_target(target), [login, self._cookie(STATE_COOKIE, "", 0)]

    async def _exchange(self, code: str, verifier: str) -> str:
        form = {
            "client_id": CLIENT,
            "client_secret": self._secret,
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": verifier,
        }
        try:
            reply = await self._client.post(self._token_url, data=form)
        except httpx.HTTPError as error:
            raise Unavailable(f"the hub does not answer ({type(error).__name__}); try again in a moment") from error
        if not reply.is_success:
            raise NotLoggedIn("the hub did not accept the login; open the page again")
        return str(reply.json()["access_token"])

    def _cookie(self, name: str, value: str, seconds: int) -> str:
        return f"{name}={value}; Path={PREFIX}/; Max-Age={seconds}; HttpOnly; SameSite=Lax{self._secure}"

    def _sign(self, text: str, purpose: bytes, now: float) -> str:
        body = base64.urlsafe_b64encode(f"{int(now)} {text}".encode()).rstrip(b"=").decode()
        return f"{body}.{self._digest(body, purpose)}"

    def _unsign(self, value: str, purpose: bytes, seconds: int) -> str | None:
        body, _, digest = value.partition(".")
        if not body or not hmac.compare_digest(digest, self._digest(body, purpose)):
            return None
        made, _, text = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode().partition(" ")
        return text if time.time() - int(made) < seconds else None

    def _digest(self, body: str, purpose: bytes) -> str:
        return hmac.new(self._key, purpose + b":" + body.encode(), hashlib.sha256).hexdigest()


def check_site(sent: Sent) -> None:
    """A cookie counts only for pages of this origin (a person following a link from elsewhere may still read). Raises Denied."""
    site = sent.header("sec-fetch-site")
    if site in ("same-origin", "none") or (sent.method in ("GET", "HEAD") and sent.is_page):
        return
    if not site:  # browsers older than 2023 and programs: the origin decides
        origin = urlsplit(sent.header("origin") or sent.header("referer")).netloc
        if origin == sent.header("host") or (not origin and sent.method in ("GET", "HEAD")):
            return
    raise Denied("this request came from another site's page; open MLflow from the platform")


def safe_target(target: str) -> str:
    """Only back into these pages: a crafted link must not send a signed-in person elsewhere."""
    return target if target.startswith(PREFIX + "/") and "//" not in target.split("?", 1)[0] and "\\" not in target else f"{PREFIX}/"


def _cookies(sent: Sent) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(sent.header("cookie"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}
