"""``client.endpoints``: model versions published as online services."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltai_hub.client.jobs import decoded
from ltai_hub.client.transport import Transport, dropped, follow_log, is_final, wait_until, whose
from ltai_hub.client.types import Endpoint, Event, Page, Prediction
from ltai_hub.errors import BadInput

SERVICE = "serving"


@dataclass(frozen=True)
class Endpoints:
    transport: Transport

    def create(
        self,
        name: str,
        model: str,
        version: int | str,
        *,
        tenant: str | None = None,
        instances: int | None = None,
        most_instances: int | None = None,
        image: str | None = None,
        flavor: str | None = None,
        max_seconds: int | None = None,
    ) -> Endpoint:
        """``token`` in the answer is shown this once. ``most_instances``: a cluster may add instances under load, up to so many."""
        body = {"name": name, "model": model, "version": str(version), "tenant": tenant, "instances": instances}
        body |= {"image": image, "flavor": flavor, "max_seconds": max_seconds, "most_instances": most_instances}
        made: Endpoint = self.transport.call("POST", SERVICE, "/endpoints", json=dropped(body))
        return made

    def list(
        self,
        *,
        tenant: str | None = None,
        user: str | None = None,
        q: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Page[Endpoint]:
        """``user``: "me", a name, or everybody's the caller may see."""
        return self.transport.page(SERVICE, "/endpoints", {"tenant": tenant, "user": whose(user), "q": q, "sort": sort}, limit, offset)

    def get(self, id: int) -> Endpoint:
        found: Endpoint = self.transport.call("GET", SERVICE, f"/endpoints/{id}")
        return found

    def update(
        self,
        id: int,
        *,
        instances: int | None = None,
        most_instances: int | None = None,
        version: int | str | None = None,
        max_seconds: int | None = None,
    ) -> Endpoint:
        """``max_seconds`` 0 lifts the limit; ``most_instances`` 0: none are added under load."""
        wanted = None if version is None else str(version)
        body = dropped({"instances": instances, "most_instances": most_instances, "version": wanted, "max_seconds": max_seconds})
        changed: Endpoint = self.transport.call("PATCH", SERVICE, f"/endpoints/{id}", json=body)
        return changed

    def start(self, id: int) -> Endpoint | None:
        started: Endpoint | None = self.transport.call("POST", SERVICE, f"/endpoints/{id}/start")
        return started

    def stop(self, id: int) -> Endpoint | None:
        stopped: Endpoint | None = self.transport.call("POST", SERVICE, f"/endpoints/{id}/stop")
        return stopped

    def renew_token(self, id: int) -> Endpoint:
        """``token`` in the answer is shown this once. The old one works until the last instance is replaced."""
        made: Endpoint = self.transport.call("POST", SERVICE, f"/endpoints/{id}/token")
        return made

    def delete(self, id: int) -> None:
        self.transport.call("DELETE", SERVICE, f"/endpoints/{id}")

    def predict(self, id: int, data: Path | str | dict[str, Any]) -> Prediction:
        """``data``: path of a png, jpg, csv or json file, or a JSON body. Raises BadInput for a file that cannot be read."""
        if isinstance(data, dict):
            body: dict[str, Any] = {"json": data}
        else:
            body = {"files": {"file": read_upload(Path(data))}}
        answer: Prediction = self.transport.call("POST", SERVICE, f"/endpoints/{id}/predict", **body)
        return answer

    def log(self, id: int, *, instance: int | None = None, follow: bool = False, offset: int = 0) -> Iterator[str]:
        """Pieces of one instance's output (of the first, unless told); with ``follow`` until the endpoint has ended."""
        return decoded(self.log_bytes(id, instance=instance, follow=follow, offset=offset))

    def log_bytes(self, id: int, *, instance: int | None = None, follow: bool = False, offset: int = 0) -> Iterator[bytes]:
        def read(start: int) -> Iterator[bytes]:
            params = {"instance": instance, "offset": offset + start, "follow": "true" if follow else None}
            return self.transport.stream(SERVICE, f"/endpoints/{id}/log", params)

        if not follow:
            return read(0)
        return follow_log(read, lambda: is_final(self.get(id)["phase"]), self.transport.sleep)

    def events(self, id: int) -> Page[Event]:
        return self.transport.page(SERVICE, f"/endpoints/{id}/events", {})

    def wait(self, id: int, timeout: float | None = None) -> Endpoint:
        """The endpoint once it answers or has ended instead. Raises Unavailable after ``timeout`` seconds."""
        return wait_until(lambda: self.get(id), has_settled, self.transport.sleep, timeout, f"endpoint {id}")


def has_settled(endpoint: Endpoint) -> bool:
    return endpoint["phase"] == "running" or is_final(endpoint["phase"])


def read_upload(path: Path) -> tuple[str, bytes, str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    return path.name, content, mimetypes.guess_type(path.name)[0] or "application/octet-stream"
