"""``client.models``: registered models and their versions."""

from __future__ import annotations

from dataclasses import dataclass

from ltai_hub.client.transport import Transport, dropped, part
from ltai_hub.client.types import Model, ModelVersion, Page

SERVICE = "models"


@dataclass(frozen=True)
class Models:
    transport: Transport

    def register(self, job: int, name: str, *, model_id: str | None = None, description: str | None = None) -> ModelVersion:
        """A new version of ``name`` from a model the job logged; ``model_id`` when it logged several: the last one, unless told."""
        body = {"job": job, "name": name, "model_id": model_id, "description": description}
        made: ModelVersion = self.transport.call("POST", SERVICE, "/models", json=dropped(body))
        return made

    def list(
        self, *, tenant: str | None = None, q: str | None = None, sort: str | None = None, limit: int | None = None, offset: int = 0
    ) -> Page[Model]:
        return self.transport.page(SERVICE, "/models", {"tenant": tenant, "q": q, "sort": sort}, limit, offset)

    def get(self, tenant: str, name: str) -> Model:
        """With ``version_list``: framework, metrics, parameters and lineage of each version."""
        found: Model = self.transport.call("GET", SERVICE, f"/models/{part(tenant)}/{part(name)}")
        return found

    def set_alias(self, tenant: str, name: str, alias: str, version: int | str) -> None:
        """A name for a version that may move to another, such as "champion"."""
        self.transport.call("PUT", SERVICE, alias_path(tenant, name, alias), json={"version": str(version)})

    def remove_alias(self, tenant: str, name: str, alias: str) -> None:
        self.transport.call("DELETE", SERVICE, alias_path(tenant, name, alias))

    def delete(self, tenant: str, name: str) -> None:
        self.transport.call("DELETE", SERVICE, f"/models/{part(tenant)}/{part(name)}")

    def delete_version(self, tenant: str, name: str, version: int | str) -> None:
        self.transport.call("DELETE", SERVICE, f"/models/{part(tenant)}/{part(name)}/versions/{part(version)}")


def alias_path(tenant: str, name: str, alias: str) -> str:
    return f"/models/{part(tenant)}/{part(name)}/aliases/{part(alias)}"
