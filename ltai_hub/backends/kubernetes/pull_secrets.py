"""The secrets with which images are pulled, copied from the platform's namespace to the tenants'.

Nobody may list the secrets of tenants; which copy a namespace has is therefore noted on the namespace itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from ltai_hub.backends.kubernetes.api import SECRET, Cluster, Object
from ltai_hub.backends.kubernetes.names import DOMAIN, installation_labels
from ltai_hub.errors import Unavailable
from ltai_hub.settings import KubernetesSettings

NOTED = f"{DOMAIN}/pull-secrets"


async def read(cluster: Cluster, settings: KubernetesSettings) -> list[Object]:
    """Raises Unavailable for one that is not there."""
    found = []
    for name in settings.image_pull_secrets:
        secret = await cluster.find(SECRET, settings.namespace, name)
        if secret is None:
            raise Unavailable(f"the secret {name}, with which images are pulled, is not in the namespace {settings.namespace}")
        found.append(secret)
    return found


def version_of(secrets: Sequence[Object]) -> str:
    """Another one when a password changed; it does not tell them."""
    text = json.dumps(
        [[secret["metadata"]["name"], secret["metadata"].get("uid"), secret["metadata"].get("resourceVersion")] for secret in secrets]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16] if secrets else ""


def has(namespace: Object | None, version: str) -> bool:
    return not version or ((namespace or {}).get("metadata", {}).get("annotations") or {}).get(NOTED) == version


def make_copies(settings: KubernetesSettings, secrets: Sequence[Object], namespace: str) -> list[Object]:
    labels: Mapping[str, str] = installation_labels(settings.instance)
    return [
        {
            "metadata": {"name": secret["metadata"]["name"], "namespace": namespace, "labels": dict(labels)},
            "type": secret.get("type", "Opaque"),
            "data": secret.get("data", {}),
        }
        for secret in secrets
    ]


def make_note(namespace: str, version: str) -> Object:
    return {"metadata": {"name": namespace, "annotations": {NOTED: version}}}
