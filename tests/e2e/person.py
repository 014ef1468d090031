"""A person in front of a real browser; every page they look at is kept as a picture in tests/artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.conftest import ARTIFACTS
from tests.fixtures import RunningPlatform

PATIENCE = 90_000
# JupyterLab asks for these and takes "not there" for an answer
KNOWN_MISSING = ("/lsp/status", "/api/me", "/static/favicons", "/api/workspaces/")


@dataclass
class Person:
    """``problems`` collects what a developer would see in the console: failed requests and page errors."""

    platform: RunningPlatform
    name: str
    context: BrowserContext
    page: Page
    problems: list[str] = field(default_factory=list)
    pictures: int = 0

    def sign_in(self) -> None:
        self.page.goto(f"{self.platform.url}/hub/login?next=/hub/home")
        self.page.fill("#username_input", self.name)
        self.page.fill("#password_input", self.platform.accounts[self.name]["password"])
        self.page.click("#login_submit")
        self.page.wait_for_url("**/hub/**")

    def go(self, path: str) -> None:
        self.page.goto(f"{self.platform.url}{path}")

    def click(self, name: str, exact: bool = False) -> None:
        self.page.get_by_role("button", name=name, exact=exact).first.click()

    def sees(self, text: str, patience: int = PATIENCE) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=patience)

    def picture(self, what: str) -> Path:
        """tests/artifacts/NAME-01-what.png"""
        self.pictures += 1
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{self.name}-{self.pictures:02d}-{what}.png"
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=path)
        return path


def a_person(browser: Browser, platform: RunningPlatform, name: str, width: int = 1440, dark: bool = False, language: str = "en") -> Person:
    """Signed in."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, locale=language)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    person = Person(platform, name, context, page)

    def on_response(response: Response) -> None:
        if response.status >= 400 and not any(part in response.url for part in KNOWN_MISSING):
            person.problems.append(f"{response.status} {response.request.method} {response.url}")

    context.on("response", on_response)
    context.on("weberror", lambda error: person.problems.append(f"page error: {error.error}"))
    person.sign_in()
    return person
