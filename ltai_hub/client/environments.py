"""``client.environments``: notebook servers."""

from __future__ import annotations

from dataclasses import dataclass

from ltai_hub.client.transport import Transport, dropped, is_final, part, wait_until
from ltai_hub.client.types import Environment, Page

SERVICE = "environments"


@dataclass(frozen=True)
class Environments:
    transport: Transport

    def create(
        self,
        name: str = "default",
        *,
        profile: str | None = None,
        image: str | None = None,
        flavor: str | None = None,
        tenant: str | None = None,
    ) -> Environment:
        """Makes and starts it, or starts the stopped one of that name with the new choices; ``wait`` for it to be running.

        The unnamed environment is called "default". Without ``profile`` it is the tenant's first.
        """
        body = {"name": name, "profile": profile, "image": image, "flavor": flavor, "tenant": tenant}
        made: Environment = self.transport.call("POST", SERVICE, "/environments", json=dropped(body))
        return made

    def list(
        self,
        *,
        tenant: str | None = None,
        user: str | None = None,
        active: bool = False,
        q: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Page[Environment]:
        """``user``: "me" (the server's default), "all" or a name. ``active``: only what waits or runs."""
        params = {"tenant": tenant, "user": user, "active": "true" if active else None, "q": q, "sort": sort}
        return self.transport.page(SERVICE, "/environments", params, limit, offset)

    def get(self, id: str | int) -> Environment:
        found: Environment = self.transport.call("GET", SERVICE, f"/environments/{part(id)}")
        return found

    def start(self, id: str | int) -> Environment | None:
        started: Environment | None = self.transport.call("POST", SERVICE, f"/environments/{part(id)}/start")
        return started

    def stop(self, id: str | int) -> Environment | None:
        stopped: Environment | None = self.transport.call("POST", SERVICE, f"/environments/{part(id)}/stop")
        return stopped

    def delete(self, id: str | int) -> None:
        """The environment goes, the home folder stays."""
        self.transport.call("DELETE", SERVICE, f"/environments/{part(id)}")

    def wait(self, id: str | int, timeout: float | None = None) -> Environment:
        """The environment once it runs or has ended instead. Raises Unavailable after ``timeout`` seconds."""
        return wait_until(lambda: self.get(id), has_settled, self.transport.sleep, timeout, f"environment {id}")


def has_settled(environment: Environment) -> bool:
    return environment["phase"] == "running" or is_final(environment["phase"])
