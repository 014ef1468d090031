"""The verbs of endpoints: permission, quota, one transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy.engine import Connection

from ltai_hub.backends.base import AddsReplicas, ScalesReplicas, State, check_fits
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.lists import Part
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.errors import BadInput, Conflict, Denied, Unavailable
from ltai_hub.metering import store as metering
from ltai_hub.metering.costs import costs_of
from ltai_hub.metering.phases import change_phase, change_replicas
from ltai_hub.service import Platform
from ltai_hub.slugs import check_number, check_title, make_slug, shown
from ltai_hub.tenancy.admission import Admission, Ask, admit, release, standings
from ltai_hub.tenancy.permit import default_tenant, permit, sight_of
from ltai_hub.tenancy.store import profiles_of
from ltai_hub.trust import certificates
from ltai_hub.web.callers import Caller
from ltai_hub.web.history import EventOut, history_of
from ltai_services.registry import Registry, Version, check_version, flavors_in, framework_in
from ltai_services.serving import store
from ltai_services.serving.models import EndpointChange, EndpointOut, EndpointWithToken, NewEndpoint, ScalingOut
from ltai_services.serving.plan import stops_at
from ltai_services.serving.store import RUNNING, STOPPED, Endpoint, NewRow
from ltai_services.serving.workload import charged_replicas, hash_token, make_subject, new_token, platform_token
from ltai_services.tracking import Tracking, from_pairs

# Which image serves a model that was not trained in one of ours, by the model's framework.
FIXED = "on one machine the number of instances stays as it was asked for"
IMAGE_WORDS = {"sklearn": "scikit-learn", "keras": "tensorflow", "xgboost": "scikit-learn", "lightgbm": "scikit-learn"}


@dataclass(frozen=True)
class Source:
    """What of a model version an endpoint is made from."""

    uri: str
    image: str
    framework: str
    signature: dict[str, Any] | None


class ServingService:
    """``poke`` wakes the controller; it may be called from any thread."""

    def __init__(self, platform: Platform, tracking: Tracking, poke: Callable[[], None], client: httpx.AsyncClient | None = None) -> None:
        self.platform = platform
        self.database = platform.database
        self.catalog = platform.catalog
        self.tracking = tracking
        self.registry = Registry(tracking)
        self.poke = poke
        self._client = client or httpx.AsyncClient(timeout=60, verify=certificates())

    async def create(self, caller: Caller, new: NewEndpoint) -> EndpointWithToken:
        name = check_title(new.name, "endpoint")
        tenant = await asyncio.to_thread(self._check_create, caller, new, make_slug(name))
        source = await self._source(tenant, new.model, check_version(new.version))
        image = choose_image(self.catalog, new.image or source.image, source.framework)
        flavor = new.flavor or cheapest_flavor(self.catalog)
        await self._check_most(new.instances, new.most_instances)
        await check_fits(self.platform.backend, self.catalog.get_flavor(flavor).resources, new.most_instances or new.instances)
        token = new_token()
        row = NewRow(
            name=name,
            slug=make_slug(name),
            user=caller.name,
            tenant=tenant,
            model=new.model,
            version=new.version,
            model_uri=source.uri,
            signature=source.signature,
            image=image,
            flavor=flavor,
            instances=new.instances,
            most_instances=new.most_instances,
            max_seconds=new.max_seconds,
            token_hash=hash_token(token),
        )
        endpoint = await asyncio.to_thread(self._insert, caller, row)
        self.poke()
        return EndpointWithToken(**endpoint.model_dump(), token=token)

    async def start(self, caller: Caller, endpoint_id: int) -> EndpointOut:
        """A stopped or failed one, again. Starting one that runs changes nothing."""
        endpoint = await asyncio.to_thread(self.read, caller, "endpoints:update", endpoint_id)
        await self._check_fits(endpoint, endpoint.reserved_instances)
        answer = await asyncio.to_thread(self._start, caller, endpoint_id)
        self.poke()
        return answer

    def _start(self, caller: Caller, endpoint_id: int) -> EndpointOut:
        now = self.platform.clock()
        with self.database.transaction() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:update", endpoint_id)
            if endpoint.phase is Phase.STOPPING:
                raise Conflict(f"{endpoint.name} is still stopping; start it when it has stopped")
            if endpoint.phase.is_final:
                self._begin(tx, caller, endpoint, now)
            return self._out(tx, store.get(tx, endpoint_id), now)

    async def scaling(self) -> ScalingOut:
        backend = self.platform.backend
        reason = await backend.why_none_added() if isinstance(backend, AddsReplicas) else FIXED
        return ScalingOut(available=not reason, reason=reason)

    async def _check_most(self, instances: int, most: int | None) -> None:
        """Raises BadInput."""
        if not most:
            return
        if most < instances:
            raise BadInput(f"most_instances is {most} and instances {instances}; it must be at least as many")
        if reason := (await self.scaling()).reason:
            raise BadInput(f"most_instances cannot be used: {reason}")

    async def _check_fits(self, endpoint: Endpoint, instances: int) -> None:
        await check_fits(self.platform.backend, self.catalog.resources_of(endpoint.flavor), instances)

    def stop(self, caller: Caller, endpoint_id: int) -> EndpointOut:
        """Stopping what has stopped changes nothing."""
        now = self.platform.clock()
        with self.database.transaction() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:update", endpoint_id)
            if not endpoint.phase.is_final:
                self._end(tx, endpoint, f"stopped by {caller.name}", caller.name, now)
            answer = self._out(tx, store.get(tx, endpoint_id), now)
        self.poke()
        return answer

    async def change(self, caller: Caller, endpoint_id: int, change: EndpointChange) -> EndpointOut:
        """Another number of instances at once; another version as a rolling update."""
        endpoint = await asyncio.to_thread(self.read, caller, "endpoints:update", endpoint_id)
        instances, most = change.instances or endpoint.instances, wished_most(endpoint, change)
        if (instances, most) != (endpoint.instances, endpoint.most_instances):
            await self._check_most(instances, most)
            await self._check_fits(endpoint, most or instances)
        source = None
        if change.version is not None and change.version != endpoint.version:
            source = await self._source(endpoint.tenant, endpoint.model, check_version(change.version))
        answer = await asyncio.to_thread(self._change, caller, endpoint_id, change, source)
        self.poke()
        return answer

    def renew_token(self, caller: Caller, endpoint_id: int) -> EndpointWithToken:
        """The instances are replaced one generation by the next; the old token dies with the last old one."""
        token, now = new_token(), self.platform.clock()
        with self.database.transaction() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:update", endpoint_id)
            store.change(tx, endpoint.id, token_hash=hash_token(token), generation=endpoint.generation + 1, failures=0)
            self._event(tx, endpoint, f"new token made by {caller.name}", caller.name, now)
            answer = self._out(tx, store.get(tx, endpoint_id), now)
        self.poke()
        return EndpointWithToken(**answer.model_dump(), token=token)

    def delete(self, caller: Caller, endpoint_id: int) -> None:
        """Its address and token end at once; the instances follow."""
        now = self.platform.clock()
        with self.database.transaction() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:delete", endpoint_id)
            if not endpoint.phase.is_final:
                self._end(tx, endpoint, f"deleted by {caller.name}", caller.name, now)
            store.change(tx, endpoint.id, deleted=True)
        self.poke()

    def select(self, caller: Caller, part: Part, tenant: str | None, user: str | None) -> tuple[list[EndpointOut], int]:
        now = self.platform.clock()
        with self.database.reading() as tx:
            sight = sight_of(tx, caller, "endpoints:read", tenant, user)
            found, total = store.select_endpoints(tx, sight, part, now)
            return self._out_all(tx, found, now), total

    def show(self, caller: Caller, endpoint_id: int) -> EndpointOut:
        with self.database.reading() as tx:
            return self._out(tx, self._permitted(tx, caller, "endpoints:read", endpoint_id), self.platform.clock())

    def events(self, caller: Caller, endpoint_id: int) -> list[EventOut]:
        with self.database.reading() as tx:
            return history_of(tx, Kind.ENDPOINT, self._permitted(tx, caller, "endpoints:read", endpoint_id).noun_id)

    def read(self, caller: Caller, action: str, endpoint_id: int) -> Endpoint:
        with self.database.reading() as tx:
            return self._permitted(tx, caller, action, endpoint_id)

    def log_place(self, caller: Caller, endpoint_id: int, place: int) -> tuple[State, int] | None:
        """Where the log of instance ``place`` is: the newest process that was started there, and which of its replicas."""
        with self.database.reading() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:update", endpoint_id)
            found = [(i.place, i.backend_state) for i in store.instances_of(tx, [endpoint.id]) if i.backend_state is not None]
        if isinstance(self.platform.backend, ScalesReplicas):  # one stands for all
            return (found[-1][1], place) if found else None
        mine = [state for number, state in found if number == place]
        return (mine[-1], 0) if mine else None

    async def predict(self, caller: Caller, endpoint_id: int, content_type: str, body: bytes) -> dict[str, Any]:
        """The page's "try it": straight to an instance, with the platform's own key. Raises Conflict, BadInput, Unavailable."""
        endpoint, addresses = await asyncio.to_thread(self._ready, caller, endpoint_id)
        if not addresses:
            raise Conflict(f"{endpoint.name} is {endpoint.phase}; it answers when it is running")
        headers = {
            "Authorization": f"Bearer {platform_token(self.platform.settings.signing_key, endpoint.id)}",
            "Content-Type": content_type,
        }
        try:
            reply = await self._client.post(f"http://{addresses[-1]}{endpoint.path}/predict", content=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"{endpoint.name} did not answer ({type(error).__name__}); its log may say why") from error
        return read_prediction(reply)

    # ---- parts of the verbs

    def _check_create(self, caller: Caller, new: NewEndpoint, slug: str) -> str:
        """The tenant; everything that can be refused before MLflow is asked is refused here."""
        with self.database.reading() as tx:
            tenant = new.tenant or default_tenant(tx, caller.name)
            permit(tx, caller, "endpoints:create", tenant, owner=caller.name)
            existing = store.find_by_slug(tx, tenant, slug)
            if existing is not None:
                raise Conflict(f"{tenant} has an endpoint {shown(existing.name)} with the address {existing.path}; choose another name")
            if new.flavor is not None:
                check_flavor(tx, self.catalog, tenant, new.flavor)
        return tenant

    def _insert(self, caller: Caller, row: NewRow) -> EndpointOut:
        now = self.platform.clock()
        with self.database.transaction() as tx:
            existing = store.find_by_slug(tx, row.tenant, row.slug)
            if existing is not None:
                raise Conflict(f"{row.tenant} has an endpoint {shown(existing.name)} with that address; choose another name")
            endpoint = store.insert_endpoint(tx, row, now)
            self._admit(tx, caller, endpoint, None, now)
            return self._out(tx, store.get(tx, endpoint.id), now)

    def _begin(self, tx: Connection, caller: Caller, endpoint: Endpoint, now: datetime) -> None:
        store.drop_instances(tx, [i.id for i in store.instances_of(tx, [endpoint.id]) if not i.is_alive])
        fresh = {"wanted": RUNNING, "stop_reason": "", "failed": False, "failures": 0, "started_at": None, "ended_at": None}
        store.change(tx, endpoint.id, phase=Phase.QUEUED, generation=endpoint.generation + 1, **fresh)
        self._admit(tx, caller, endpoint, endpoint.phase, now)

    def _admit(self, tx: Connection, caller: Caller, endpoint: Endpoint, old: Phase | None, now: datetime) -> None:
        """Reserve or queue, as the endpoint's owner is entitled to."""
        subject = make_subject(endpoint, self.catalog)
        action = "endpoints:create" if old is None else "endpoints:update"
        admission = admit(tx, caller, action, make_ask(endpoint, self.catalog), now, self.platform.left_to_queue)
        change_phase(tx, subject, old, Phase.QUEUED, admission.reason, now, caller.name)
        store.change(tx, endpoint.id, reason=admission.reason)

    def _end(self, tx: Connection, endpoint: Endpoint, reason: str, actor: str, now: datetime) -> None:
        """A queued one ends at once; else the controller stops its instances."""
        subject = make_subject(endpoint, self.catalog)
        store.change(tx, endpoint.id, wanted=STOPPED, stop_reason=reason, reason=reason)
        alive = [i for i in store.instances_of(tx, [endpoint.id]) if i.is_alive]
        if not alive:
            change_phase(tx, subject, endpoint.phase, Phase.STOPPED, reason, now, actor)
            store.change(tx, endpoint.id, phase=Phase.STOPPED, ended_at=now)
        elif endpoint.phase is Phase.RUNNING:
            change_phase(tx, subject, endpoint.phase, Phase.STOPPING, reason, now, actor)
            store.change(tx, endpoint.id, phase=Phase.STOPPING)

    def _change(self, caller: Caller, endpoint_id: int, change: EndpointChange, source: Source | None) -> EndpointOut:
        now = self.platform.clock()
        with self.database.transaction() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:update", endpoint_id)
            if change.max_seconds is not None:
                store.change(tx, endpoint.id, max_seconds=change.max_seconds or None)
            instances, most = change.instances or endpoint.instances, wished_most(endpoint, change)
            if (instances, most) != (endpoint.instances, endpoint.most_instances):
                self._scale(tx, caller, endpoint, instances, most, now)
            if source is not None and change.version is not None:
                self._update(tx, caller, endpoint, change.version, source, now)
            return self._out(tx, store.get(tx, endpoint_id), now)

    def _scale(self, tx: Connection, caller: Caller, endpoint: Endpoint, instances: int, most: int | None, now: datetime) -> None:
        """Raises OverQuota or Conflict when there is no room; then everything stays as it was."""
        store.change(tx, endpoint.id, instances=instances, most_instances=most)
        scaled = store.get(tx, endpoint.id)
        if endpoint.phase.is_final:
            return
        release(tx, Kind.ENDPOINT, endpoint.noun_id, now)
        admission = admit(tx, caller, "endpoints:update", make_ask(scaled, self.catalog), now, self.platform.left_to_queue)
        if not admission.held and endpoint.phase is not Phase.QUEUED:
            raise Conflict(f"{most or instances} instances do not fit now: {admission.reason}")
        alive = [instance for instance in store.instances_of(tx, [endpoint.id]) if instance.is_alive]
        charged = charged_replicas(scaled, alive[-1].ready if alive else 0)
        change_replicas(tx, replace(make_subject(scaled, self.catalog), replicas=charged), now)
        self._event(tx, scaled, f"{range_of(endpoint)} → {range_of(scaled)} instances by {caller.name}", caller.name, now)

    def _update(self, tx: Connection, caller: Caller, endpoint: Endpoint, version: str, source: Source, now: datetime) -> None:
        image = choose_image(self.catalog, source.image or endpoint.image, source.framework)
        fields = {"version": version, "model_uri": source.uri, "signature": source.signature, "image": image}
        store.change(tx, endpoint.id, generation=endpoint.generation + 1, failures=0, **fields)
        self._event(tx, endpoint, f"version {endpoint.version} → {version} by {caller.name}", caller.name, now)

    def _event(self, tx: Connection, endpoint: Endpoint, reason: str, actor: str, now: datetime) -> None:
        """Something happened that is no change of phase."""
        who = (endpoint.noun_id, endpoint.name, endpoint.user, endpoint.tenant, actor)
        metering.insert_event(tx, now, Kind.ENDPOINT, *who, endpoint.phase, endpoint.phase, reason)

    def _ready(self, caller: Caller, endpoint_id: int) -> tuple[Endpoint, list[str]]:
        with self.database.reading() as tx:
            endpoint = self._permitted(tx, caller, "endpoints:read", endpoint_id)
            found = store.instances_of(tx, [endpoint.id])
        return endpoint, [i.address for i in found if i.is_ready and i.address]

    def _permitted(self, tx: Connection, caller: Caller, action: str, endpoint_id: int) -> Endpoint:
        check_number(endpoint_id, "endpoint")
        endpoint = store.get(tx, endpoint_id)
        permit(tx, caller, action, endpoint.tenant, owner=endpoint.user)
        return endpoint

    async def _source(self, tenant: str, model: str, number: str) -> Source:
        """Raises NotFound with MLflow's sentence, Conflict when the version cannot be served."""
        version = await self.registry.get_version(tenant, model, number)
        if version.model_id is None:
            raise Conflict(f"version {number} of {model} points to files without an MLmodel; log it with log_model to serve it")
        mlmodel, image = await asyncio.gather(self.registry.read_mlmodel(tenant, version.model_id), self._trained_in(tenant, version))
        if not flavors_in(mlmodel).get("python_function"):
            raise Conflict(f"version {number} of {model} has no python_function flavor, so it cannot be served")
        return Source(f"models:/{version.model_id}", image, framework_in(mlmodel).name, read_signature(mlmodel))

    async def _trained_in(self, tenant: str, version: Version) -> str:
        if version.tags.get("ltai.image"):
            return version.tags["ltai.image"]
        if not version.run_id:
            return ""
        run = await self.tracking.get_run(tenant, version.run_id)
        return str(from_pairs(run.get("data", {}).get("tags")).get("ltai.image", ""))

    def _out(self, tx: Connection, endpoint: Endpoint, now: datetime) -> EndpointOut:
        return self._out_all(tx, [endpoint], now)[0]

    def _out_all(self, tx: Connection, endpoints: Sequence[Endpoint], now: datetime) -> list[EndpointOut]:
        queued = [e.noun_id for e in endpoints if e.phase is Phase.QUEUED]
        queue = standings(tx, Kind.ENDPOINT, queued, self.platform.left_to_queue)
        costs = costs_of(tx, Kind.ENDPOINT, [e.noun_id for e in endpoints], now)
        ready = store.count_ready(tx, [e.id for e in endpoints])
        shown = [self._one_out(e, queue.get(e.noun_id), costs.get(e.noun_id, 0), ready.get(e.id, 0)) for e in endpoints]
        instances = store.instances_of(tx, [int(noun) for noun in queued]) if queued else []
        states = {instance.endpoint_id: instance.backend_state for instance in instances if instance.is_alive}
        for endpoint in shown:
            endpoint._state = states.get(endpoint.id)
        return shown

    def _one_out(self, endpoint: Endpoint, queued: Admission | None, cost: int, ready: int) -> EndpointOut:
        return EndpointOut(
            id=endpoint.id,
            name=endpoint.name,
            slug=endpoint.slug,
            user=endpoint.user,
            tenant=endpoint.tenant,
            model=endpoint.model,
            version=endpoint.version,
            image=endpoint.image,
            flavor=endpoint.flavor,
            instances=endpoint.instances,
            most_instances=endpoint.most_instances,
            ready_instances=min(ready, endpoint.reserved_instances),
            phase=endpoint.phase,
            reason=(queued.reason if queued is not None else "") or endpoint.reason,
            address=endpoint.path,
            infer_url=f"{self.platform.settings.public_url}{endpoint.path}/v2/models/{endpoint.model}/infer",
            queue_position=queued.position if queued is not None else None,
            max_seconds=endpoint.max_seconds,
            stops_at=stops_at(endpoint) if not endpoint.phase.is_final else None,
            created_at=endpoint.created_at,
            started_at=endpoint.started_at,
            ended_at=endpoint.ended_at,
            cost_micro=cost,
            currency=self.platform.settings.currency,
            signature=endpoint.signature,
        )


def wished_most(endpoint: Endpoint, change: EndpointChange) -> int | None:
    return endpoint.most_instances if change.most_instances is None else change.most_instances or None


def range_of(endpoint: Endpoint) -> str:
    """ "2", or "1 to 4" under load."""
    return f"{endpoint.instances} to {endpoint.most_instances}" if endpoint.most_instances else str(endpoint.instances)


def make_ask(endpoint: Endpoint, catalog: Catalog) -> Ask:
    resources = catalog.get_flavor(endpoint.flavor).resources
    return Ask(Kind.ENDPOINT, endpoint.noun_id, endpoint.user, endpoint.tenant, endpoint.flavor, resources, endpoint.reserved_instances)


def choose_image(catalog: Catalog, wanted: str, framework: str) -> str:
    """``wanted``, else the first image of the model's framework. Raises NotFound, BadInput."""
    if wanted:
        return catalog.get_image(wanted).name
    word = IMAGE_WORDS.get(framework, framework)
    for image in catalog.images.values():
        if word and word in (image.name, image.framework.lower()):
            return image.name
    raise BadInput(f"it is not known in which image the model was trained; name one of {', '.join(catalog.images)}")


def cheapest_flavor(catalog: Catalog) -> str:
    plain = [flavor for flavor in catalog.flavors.values() if not flavor.resources.accelerator_count]
    return min(plain or catalog.flavors.values(), key=lambda f: (f.price_micro_per_hour, f.resources.cpu)).name


def check_flavor(tx: Connection, catalog: Catalog, tenant: str, flavor: str) -> None:
    """One that a profile of the tenant offers, or the cheapest. Raises NotFound, Denied."""
    catalog.get_flavor(flavor)
    profiles = [catalog.profiles[name] for name in profiles_of(tx, [tenant]).get(tenant, []) if name in catalog.profiles]
    offered = {cheapest_flavor(catalog), *(name for p in profiles for name in (p.flavor, *p.flavors))}
    if flavor not in offered:
        raise Denied(f"no profile of {tenant} offers the flavor {flavor}; it may use {', '.join(sorted(offered))}")


def read_signature(mlmodel: Mapping[str, Any]) -> dict[str, Any] | None:
    """The MLmodel's signature with its parts as JSON values (MLflow keeps them as text). Raises Conflict for one written wrongly."""
    found = mlmodel.get("signature")
    if not isinstance(found, dict):
        return None
    try:
        parts = {str(name): json.loads(part) if isinstance(part, str) else part for name, part in found.items() if part is not None}
        json.dumps(parts, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise Conflict("the signature in the model's MLmodel is not valid; log the model again") from None
    return parts


def read_prediction(reply: httpx.Response) -> dict[str, Any]:
    """Raises BadInput with the endpoint's own sentence for what the caller did wrong, else Unavailable."""
    try:
        # NaN, which Python writes and JSON does not have, is null for the page
        value = json.loads(reply.content, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        value = {}
    if reply.is_success and isinstance(value, dict):
        return value
    detail = str(value.get("detail", "")) if isinstance(value, dict) else ""
    if reply.status_code in (400, 413, 415):
        raise BadInput(detail or "the endpoint refused the input")
    raise Unavailable(detail or f"the endpoint answered {reply.status_code}")
