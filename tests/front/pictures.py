"""Pictures of the panels against the pretended services: `python tests/front/pictures.py OUT [NAME …]`. Look at every one of them."""

# tables of made-up data

from __future__ import annotations

import asyncio
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from tests.front.fake_api import FakeServices, start

ARGS = [
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass(frozen=True)
class Picture:
    name: str
    path: str
    width: int = 1440
    dark: bool = False
    language: str = "en"
    rows: int = 3
    mode: str = "ok"
    click: tuple[str, ...] = ()


PAGES = {
    "home": "", "environments": "environments", "environments-new": "environments/new", "environment": "environments/100", "jobs": "jobs", "jobs-new": "jobs/new",
    "job": "jobs/5000", "job-log": "jobs/5000?tab=log", "job-metrics": "jobs/5000?tab=metrics", "models": "models", "model": "models/ml-101/digits",
    "endpoints": "endpoints", "endpoints-new": "endpoints/new", "endpoint": "endpoints/7", "endpoint-address": "endpoints/7?tab=address",
    "endpoint-settings": "endpoints/7?tab=settings", "usage": "usage", "class": "class/ml-101", "class-roster": "class/ml-101?tab=roster",
    "class-profiles": "class/ml-101?tab=profiles", "organisation": "organisation/ml-101", "organisation-quotas": "organisation/ml-101?tab=quotas",
    "admin": "admin", "admin-accounts": "admin/accounts", "admin-environments": "admin/environments", "admin-jobs": "admin/jobs",
    "admin-catalogue": "admin/catalogue", "admin-images": "admin/catalogue?show=images", "admin-nodes": "admin/nodes", "admin-billing": "admin/billing",
}  # fmt: skip


def pictures() -> list[Picture]:
    made = [Picture(f"{name}-1440-light-en", path) for name, path in PAGES.items()]
    made += [Picture(f"{name}-1024-dark-zh", path, 1024, True, "zh-CN") for name, path in PAGES.items()]
    lists = ("home", "environments", "environments-new", "jobs", "models", "endpoints", "endpoints-new", "usage", "class", "organisation")
    made += [Picture(f"{name}-empty", PAGES[name], 1024, rows=0) for name in lists]
    made += [
        Picture(f"{name}-error", PAGES[name], 1024, dark=name == "jobs", mode="error") for name in ("home", "jobs", "class", "endpoint")
    ]
    made += [Picture(f"{name}-slow", PAGES[name], 1024, mode="slow") for name in ("jobs",)]
    made += [Picture("jobs-5000", "jobs?page=3&sort=-cost", 1440, rows=5000), Picture("jobs-all", "jobs?user=all", 1440, rows=8)]
    made += [
        Picture("job-menu", "jobs/4999", click=("button[aria-haspopup=menu]",)),
        Picture("job-cancel", "jobs/5000", click=("text=Cancel job",)),
        Picture("register", "jobs?q=digits", 1440, rows=20, click=("text=Register model",)),
        Picture("quota-edit", "organisation/ml-101?tab=quotas", click=("button:has-text('New limit')",)),
        Picture("tenant-edit", "organisation/ml-101", click=("button:has-text('Edit')",)),
        Picture("try", "endpoints/7", click=("UPLOAD",)),
        Picture("invite", "admin/accounts", click=("text=Invite link",)),
        Picture("usage-open", "usage", click=("text=digits",)),
        Picture("token", "endpoints/7", click=("button:has-text('New token')", "dialog button.lt-danger")),
    ]
    return made


async def take(browser: Browser, base: str, services: FakeServices, picture: Picture, out: Path) -> list[str]:
    services.rows, services.mode = picture.rows, picture.mode
    context = await browser.new_context(viewport={"width": picture.width, "height": 900}, color_scheme="dark" if picture.dark else "light")
    await context.add_cookies([{"name": "ltai_lang", "value": picture.language, "url": base}])
    page = await context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(f"{picture.name}: {error}"))
    page.on(
        "console",
        lambda message: problems.append(f"{picture.name}: {message.text}") if message.type == "error" and picture.mode != "error" else None,
    )
    await page.goto(f"{base}/services/console/{picture.path}")
    await page.wait_for_timeout(700 if picture.mode != "error" else 4000)
    for step in picture.click:
        await click(page, step)
        await page.wait_for_timeout(500)
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        problems.append(f"{picture.name}: the page is {wide} px too wide")
    await page.screenshot(path=out / f"{picture.name}.png", full_page=not picture.click)
    await context.close()
    return problems


async def click(page: Page, step: str) -> None:
    if step == "UPLOAD":
        image = Path(__file__).parent / "digit.png"
        await page.set_input_files("input[type=file]", image)
    else:
        await page.locator(step).first.click()


async def main(out: Path, wanted: list[str]) -> list[str]:
    out.mkdir(parents=True, exist_ok=True)
    services = FakeServices()
    base = f"http://127.0.0.1:{start(services)}"
    problems: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        for picture in pictures():
            if not wanted or any(picture.name.startswith(name) for name in wanted):
                try:
                    problems += await take(browser, base, services, picture, out)
                except Exception as error:
                    problems.append(f"{picture.name}: {error}")
        await browser.close()
    return problems


if __name__ == "__main__":
    found = asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
    print("\n".join(found) or "no problems")
    sys.exit(1 if found else 0)
