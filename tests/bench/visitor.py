"""A person with a browser, as far as timing needs one: login, click, wait for JupyterLab's page."""

from __future__ import annotations

import re
import time
from urllib.parse import urlsplit

import httpx

NAVIGATE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"}
FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


class Visitor:
    """Signed in at a hub. ``form`` is what the spawn page sends; None where the hub has no such form."""

    def __init__(self, url: str, name: str, password: str, form: dict[str, str] | None = None) -> None:
        self.url = url
        self.name = name
        self.form = form
        self.http = httpx.Client(base_url=url, follow_redirects=True, timeout=120, headers={"User-Agent": "bench"})
        page = self.http.get("/hub/login", headers=NAVIGATE)
        found = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        if found is None:
            raise RuntimeError(f"the login page of {url} has no form ({page.status_code})")
        data = {"username": name, "password": password, "_xsrf": found[1]}
        answer = self.http.post("/hub/login?next=%2Fhub%2Fhome", data=data, headers=NAVIGATE)
        if urlsplit(str(answer.url)).path != "/hub/home":
            raise RuntimeError(f"{name} could not log in at {url}: {answer.status_code} {answer.url}")

    @property
    def xsrf(self) -> str:
        """The hub's own XSRF cookie; servers and services set others on their paths."""
        return next(c.value or "" for c in self.http.cookies.jar if c.name == "_xsrf" and c.path == "/hub/")

    def click(self) -> float:
        """Seconds from the click on Start until JupyterLab's page answers 200."""
        start = time.perf_counter()
        if self.form is None:
            page = self.http.get(f"/hub/spawn/{self.name}", headers=NAVIGATE)
        else:
            page = self.http.post(f"/hub/spawn/{self.name}", params={"_xsrf": self.xsrf}, data=self.form, headers=NAVIGATE)
        while not self.is_lab(page):
            if page.status_code >= 400:
                raise RuntimeError(f"{page.request.method} {page.url}: {page.status_code} {page.text[:300]}")
            self.wait_until_ready()
            page = self.http.get(f"/user/{self.name}/lab", headers=NAVIGATE)
        return time.perf_counter() - start

    def is_lab(self, page: httpx.Response) -> bool:
        return page.status_code == 200 and urlsplit(str(page.url)).path.startswith(f"/user/{self.name}/lab")

    def wait_until_ready(self) -> None:
        """What the pending page does: follow the progress events."""
        url = f"/hub/api/users/{self.name}/server/progress"
        with self.http.stream("GET", url, params={"_xsrf": self.xsrf}, headers=FETCH | {"Accept": "text/event-stream"}) as events:
            for line in events.iter_lines():
                if line.startswith("data:") and ('"ready": true' in line or '"failed": true' in line):
                    return

    def stop(self) -> None:
        self.http.delete(f"/hub/api/users/{self.name}/server", headers=FETCH | {"X-XSRFToken": self.xsrf})
        for _ in range(600):
            model = self.http.get(f"/hub/api/users/{self.name}", headers=FETCH | {"X-XSRFToken": self.xsrf}).json()
            if not model.get("servers"):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server of {self.name} does not stop")
