"""An endpoint's row → what a backend starts, and the tokens that open it. Pure."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from ltai_hub.derived import derive
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.workloads import Kind, Workload
from ltai_hub.metering.phases import Subject
from ltai_services.serving.store import Endpoint, Instance


@dataclass(frozen=True)
class Access:
    """How an instance fetches its model. ``token`` is the owner's, good for MLflow only."""

    tracking_url: str
    token: str


def make_subject(endpoint: Endpoint, catalog: Catalog) -> Subject:
    resources = catalog.resources_of(endpoint.flavor)
    return Subject(
        Kind.ENDPOINT, endpoint.noun_id, endpoint.name, endpoint.user, endpoint.tenant, endpoint.flavor, resources, endpoint.instances
    )


def charged_replicas(endpoint: Endpoint, ready: int) -> int:
    """Of what the backend adds to under load: those that answer, and never less than what was asked for."""
    return min(max(ready, endpoint.instances), endpoint.reserved_instances)


def workload_name(instance: Instance) -> str:
    return f"endpoint-{instance.endpoint_id}-{instance.generation}-{instance.place}-{instance.attempt}"


def make_workload(endpoint: Endpoint, instance: Instance, catalog: Catalog, access: Access, home: Path, signing_key: str) -> Workload:
    image = catalog.images.get(endpoint.image)
    hashes = (endpoint.token_hash, hash_token(platform_token(signing_key, endpoint.id)))
    return Workload(
        name=workload_name(instance),
        kind=Kind.ENDPOINT,
        user=endpoint.user,
        tenant=endpoint.tenant,
        image=endpoint.image,
        flavor=endpoint.flavor,
        resources=catalog.get_flavor(endpoint.flavor).resources,
        command=("python", "-m", "ltai_lab.serving"),
        env={
            **(image.environment if image else {}),
            "PYTHONUNBUFFERED": "1",
            "GIT_PYTHON_REFRESH": "quiet",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MODEL_URI": endpoint.model_uri,
            "MODEL_NAME": endpoint.model,
            "MODEL_VERSION": endpoint.version,
            "LTAI_PREFIX": endpoint.path,
            "LTAI_TOKEN_HASHES": ",".join(hashes),
            "LTAI_PORT_GROUP": f"endpoint-{endpoint.id}",
            "LTAI_ENDPOINT": str(endpoint.id),
            "MLFLOW_TRACKING_URI": access.tracking_url,
            "MLFLOW_TRACKING_TOKEN": access.token,
            "MLFLOW_WORKSPACE": endpoint.tenant,
        },
        home=str(home),
        cwd=str(home),
        port=True,
        replicas=instance.replicas,
        most_replicas=instance.most_replicas,
        grace_seconds=10,
    )


def new_token() -> str:
    return f"ltai-{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def platform_token(signing_key: str, endpoint_id: int) -> str:
    """The platform's own key to an endpoint, for the page's "try it"; made anew from the signing key, kept nowhere."""
    return derive(signing_key, f"endpoint:{endpoint_id}")
