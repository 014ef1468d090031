"""One API server, spoken to in plain dicts.

``kubernetes_asyncio`` brings configuration, credentials and transport; its generated models are left out: making and checking
them costs more than the request itself when there are thousands of objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
from kubernetes_asyncio import config
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.client.rest import RESTClientObject

from ltai_hub.backends.kubernetes.names import FIELD_MANAGER
from ltai_hub.errors import BadWorkload, Problem, TryLater

Object = dict[str, Any]
Objects = list[Object]

SECONDS = 10.0
# asked again at once: what was not answered may not have been done, and every request here may be repeated
TRIES = 3
PAUSE_SECONDS = 0.2
AGAIN_SECONDS = 3.0
WATCH_SECONDS = 60
PAGE = 500
# a 403 that names one of these is a rule about the object, not a missing right
RULES = ("admission webhook", "PodSecurity", "ValidatingAdmission", "RuntimeClass")
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


class AlreadyThere(Problem):
    status, code = 409, "already-there"


class Refused(BadWorkload):
    """The API server or a webhook does not take the object as it is."""


@dataclass(frozen=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        return f"{root}{inside}/{self.plural}" + (f"/{quote(name, safe='')}" if name else "")


NAMESPACE = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODE = Resource("", "v1", "nodes", "Node", namespaced=False)
POD = Resource("", "v1", "pods", "Pod")
SERVICE = Resource("", "v1", "services", "Service")
SECRET = Resource("", "v1", "secrets", "Secret")
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
EVENT = Resource("", "v1", "events", "Event")
CLAIM = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment")
AUTOSCALER = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
ROLE_BINDING = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
JOBSET = Resource("jobset.x-k8s.io", "v1alpha2", "jobsets", "JobSet")
WORKLOAD = Resource("kueue.x-k8s.io", "v1beta2", "workloads", "Workload")
CLUSTER_QUEUE = Resource("kueue.x-k8s.io", "v1beta2", "clusterqueues", "ClusterQueue", namespaced=False)
LOCAL_QUEUE = Resource("kueue.x-k8s.io", "v1beta2", "localqueues", "LocalQueue")
COHORT = Resource("kueue.x-k8s.io", "v1beta2", "cohorts", "Cohort", namespaced=False)
RESOURCE_FLAVOR = Resource("kueue.x-k8s.io", "v1beta2", "resourceflavors", "ResourceFlavor", namespaced=False)
ADMISSION_CHECK = Resource("kueue.x-k8s.io", "v1beta2", "admissionchecks", "AdmissionCheck", namespaced=False)
MULTIKUEUE_CONFIG = Resource("kueue.x-k8s.io", "v1beta2", "multikueueconfigs", "MultiKueueConfig", namespaced=False)
MULTIKUEUE_CLUSTER = Resource("kueue.x-k8s.io", "v1beta2", "multikueueclusters", "MultiKueueCluster", namespaced=False)
PRIORITY_CLASS = Resource("kueue.x-k8s.io", "v1beta2", "workloadpriorityclasses", "WorkloadPriorityClass", namespaced=False)


class Cluster:
    """Every call raises TryLater when the API server does not answer, Refused for an object it does not take."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._rest = RESTClientObject(configuration)

    @classmethod
    async def connect(cls, kubeconfig: str | None = None, context: str | None = None) -> Cluster:
        """By the pod's own account inside a cluster; else by ``kubeconfig``, $KUBECONFIG or ~/.kube/config. Raises TryLater."""
        configuration = Configuration()
        try:
            if kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
                return cls(configuration)
        except config.ConfigException:
            pass
        try:
            await config.load_kube_config(kubeconfig, context, client_configuration=configuration)
        except Exception as error:  # a file that is not there, cannot be read, or names a program that does not run
            raise TryLater(f"the cluster cannot be reached: {error}") from error
        return cls(configuration)

    async def close(self) -> None:
        await self._rest.close()

    # ---- objects

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return await self._ask("GET", resource.path(namespace, name), absent_is_fine=True)

    async def list(self, resource: Resource, namespace: str = "", labels: Mapping[str, str] | str = "", cached: bool = True) -> Objects:
        """All of them, page by page; of every namespace when none is named.

        ``cached``: from the API server's memory, which may lag by an instant; else through to its store.
        """
        query = selecting(labels)
        if cached:
            return await self._items(resource, namespace, {**query, "resourceVersion": "0"})
        found: Objects = []
        more = ""
        while True:
            page = await self.raw("GET", resource.path(namespace), query={**query, "limit": str(PAGE), "continue": more})
            found += page.get("items", [])
            more = page.get("metadata", {}).get("continue", "")
            if not more:
                return found

    async def _items(self, resource: Resource, namespace: str, query: Mapping[str, str]) -> Objects:
        items: Objects = (await self.raw("GET", resource.path(namespace), query=query)).get("items", [])
        return items

    async def create(self, resource: Resource, body: Object) -> Object:
        """Raises AlreadyThere."""
        return await self.raw("POST", resource.path(_namespace(body)), body)

    async def ensure(self, resource: Resource, body: Object) -> Object:
        """Made when it is not there; what is there stays as it is."""
        try:
            return await self.create(resource, body)
        except AlreadyThere:
            return await self.find(resource, _namespace(body), body["metadata"]["name"]) or body

    async def find_or_create(self, resource: Resource, body: Object) -> Object:
        """As ``ensure``, cheaper for the API server where it mostly is there."""
        found = await self.find(resource, _namespace(body), body["metadata"]["name"])
        return found or await self.ensure(resource, body)

    async def apply(self, resource: Resource, body: Object) -> Object:
        """Server-side apply: the fields in ``body`` become so, whoever set them before."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        full = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        return await self.raw("PATCH", resource.path(_namespace(body), body["metadata"]["name"]), full, query, APPLY)

    async def patch(self, resource: Resource, namespace: str, name: str, body: Object) -> Object | None:
        """Merge patch; None when it is not there."""
        return await self._ask("PATCH", resource.path(namespace, name), body, content=MERGE, absent_is_fine=True)

    async def delete(self, resource: Resource, namespace: str, name: str, grace_seconds: int | None = None) -> bool:
        """With what it owns, in the background. False when it was not there."""
        options: Object = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return await self._ask("DELETE", resource.path(namespace, name), options, absent_is_fine=True) is not None

    async def watch(
        self, resource: Resource, namespace: str, labels: Mapping[str, str], since: str, seconds: int = WATCH_SECONDS
    ) -> AsyncIterator[tuple[str, Object]]:
        """(ADDED, MODIFIED, DELETED or BOOKMARK, object) of every change after the resourceVersion ``since``, for about ``seconds``.

        Raises TryLater also when ``since`` is too old: list again.
        """
        query = {**selecting(labels), "watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
        rest = b""
        try:
            response = await self._send("GET", resource.path(namespace), None, query, "application/json", seconds + SECONDS)
            async with response:
                if response.status >= 300:
                    raise make_problem(response.status, await response.read())
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        change = orjson.loads(line)
                        if change["type"] == "ERROR":
                            raise TryLater(f"watching broke off: {change['object'].get('message', '')}", after=AGAIN_SECONDS)
                        yield change["type"], change["object"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TryLater(f"watching broke off ({type(error).__name__})", after=AGAIN_SECONDS) from error

    # ---- logs

    async def log(self, namespace: str, pod: str, container: str, follow: bool = False, since: str = "") -> AsyncIterator[bytes]:
        """What the container wrote, each line with its time (``loglines``); nothing when it has not begun or is gone.

        ``since`` a time of such a line: from about there. Raises TryLater when its node does not tell.
        """
        query = {"container": container, "follow": str(follow).lower(), "timestamps": "true", **({"sinceTime": since} if since else {})}
        response = await self._send("GET", f"{POD.path(namespace, pod)}/log", None, query, "application/json", None)
        try:
            if response.status >= 500:
                raise TryLater(f"the node of {pod} does not tell its log ({response.status})", after=AGAIN_SECONDS)
            if response.status >= 400:
                return
            async for chunk in response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TryLater(f"the log of {pod} broke off ({type(error).__name__}); it is read again", after=AGAIN_SECONDS) from error
        finally:
            response.close()

    # ---- one request

    async def has_group(self, group: str) -> bool:
        """Whether the API server, or one behind it, has such an API group."""
        return await self._ask("GET", f"/apis/{group}", absent_is_fine=True) is not None

    async def raw(
        self, method: str, path: str, body: Object | None = None, query: Mapping[str, str] | None = None, content: str = "application/json"
    ) -> Object:
        return await self._ask(method, path, body, query, content) or {}

    async def _ask(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        absent_is_fine: bool = False,
    ) -> Object | None:
        for attempt in range(1, TRIES + 1):
            try:
                response = await self._send(method, path, body, query, content, SECONDS)
                data = await response.read()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if attempt == TRIES:
                    raise TryLater(f"the cluster does not answer ({type(error).__name__}); it is tried again") from error
            else:
                if response.status < 300:
                    answer: Object = orjson.loads(data)
                    return answer
                if response.status == 404 and absent_is_fine:
                    return None
                if response.status not in (429, 500, 502, 503, 504) or attempt == TRIES:
                    raise make_problem(response.status, data)
            await asyncio.sleep(PAUSE_SECONDS * attempt)
        raise AssertionError("every attempt returns or raises")

    async def _send(
        self, method: str, path: str, body: Object | None, query: Mapping[str, str] | None, content: str, seconds: float | None
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": content, "Accept": "application/json"}
        for auth in (await self._configuration.auth_settings()).values():
            headers[auth["key"]] = auth["value"]
        response: aiohttp.ClientResponse = await self._rest.request(
            method,
            self._configuration.host + path,
            query_params=dict(query) if query else None,
            headers=headers,
            body=body,
            _preload_content=False,
            _request_timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=5),
        )
        return response


def selecting(labels: Mapping[str, str] | str) -> dict[str, str]:
    """The query that picks what has all of the labels; a selector as Kubernetes writes it is taken as it is."""
    selector = labels if isinstance(labels, str) else ",".join(f"{name}={value}" for name, value in labels.items())
    return {"labelSelector": selector} if selector else {}


def make_problem(status: int, data: bytes) -> Problem:
    """The API server's own words, with what they mean for us."""
    said = _message(data)
    if status == 409 and "object has been modified" not in said:
        return AlreadyThere(said)
    # a 403 that no rule of the cluster explains is a right that has not reached the API server yet
    if status in (400, 422) or (status == 403 and any(rule in said for rule in RULES)):
        return Refused(f"the cluster refused it: {said}")
    return TryLater(f"the cluster cannot do it now: {said}", after=AGAIN_SECONDS)


def _message(data: bytes) -> str:
    try:
        return str(orjson.loads(data).get("message", ""))[:1000]
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace")


def _namespace(body: Object) -> str:
    return str(body["metadata"].get("namespace", ""))
