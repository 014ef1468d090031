"""A hub with all services as the REST contract describes them, in memory, for the SDK's and the command line's tests.

Just enough behaviour to be told apart: jobs end by their command (``exit 3`` fails with 3, ``sleep`` runs until cancelled),
logs are written in two pieces, names with quotes and slashes come back as they were sent.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

TOKEN = "t0ken"
AT = "2026-11-24T10:00:00+00:00"
Json = dict[str, Any]


@dataclass
class State:
    """What the fake remembers, and every request it got as (method, path, query, body)."""

    jobs: dict[int, Json] = field(default_factory=dict)
    environments: dict[int, Json] = field(default_factory=dict)
    endpoints: dict[int, Json] = field(default_factory=dict)
    models: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    tenants: dict[str, Json] = field(default_factory=dict)
    members: dict[tuple[str, str], str] = field(default_factory=dict)
    users: dict[str, Json] = field(default_factory=dict)
    quotas: list[Json] = field(default_factory=list)
    assigned: set[tuple[str, str]] = field(default_factory=set)
    prices: list[Json] = field(default_factory=list)
    images: dict[str, Json] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    # answers to give instead, by path: one is taken a request
    instead: dict[str, list[Response]] = field(default_factory=dict)

    def last(self) -> tuple[str, str, dict[str, str], Any]:
        return self.seen[-1]


def problem(status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    body = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail, "code": code, "request_id": "r1", **more}
    return JSONResponse(body, status, media_type="application/problem+json")


def page(items: list[Any], request: Request) -> JSONResponse:
    limit, offset = int(request.query_params.get("limit", 100)), int(request.query_params.get("offset", 0))
    q = request.query_params.get("q", "")
    found = [item for item in items if q in json.dumps(item, ensure_ascii=False)]
    return JSONResponse({"items": found[offset : offset + limit], "total": len(found)})


class Fake:
    """Handlers; each route is ``METHOD service/path``."""

    def __init__(self, state: State) -> None:
        self.state = state

    def routes(self) -> list[BaseRoute]:
        return [Route("/services/{service}/api/v1/{path:path}", self.answer, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])]

    async def answer(self, request: Request) -> Response:
        service, path = request.path_params["service"], request.path_params["path"]
        body = await self._body(request)
        self.state.seen.append((request.method, f"{service}/{path}", dict(request.query_params), body))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return problem(401, "not-logged-in", "the token is unknown or has expired")
        waiting = self.state.instead.get(f"{service}/{path}")
        if waiting:
            return waiting.pop(0)
        # the raw path keeps what was quoted inside a part: "a%2Fb" is one part
        raw = request.scope["raw_path"].decode().split("/api/v1/", 1)[1].split("?")[0]
        parts = [unquote(p) for p in raw.split("/")]
        handler = getattr(self, f"{service}_{parts[0].replace('.', '_')}", None)
        if handler is None:
            return problem(404, "not-found", f"no route {path}")
        answer: Response = handler(request, parts[1:], body)
        return answer

    async def _body(self, request: Request) -> Any:
        if request.headers.get("content-type", "").startswith("multipart/"):
            form = await request.form()
            file = form["file"]
            assert not isinstance(file, str)
            return {"filename": file.filename, "type": file.content_type, "size": len(await file.read())}
        raw = await request.body()
        return json.loads(raw) if raw else None

    # tenancy

    def tenancy_me(self, request: Request, parts: list[str], body: Any) -> Response:
        if parts == ["password"]:
            return Response(status_code=204) if body["old"] == "old" else problem(403, "denied", "the old password is wrong")
        tenant = {"slug": "ml101", "name": "ML 101", "path": ["Demo school", "ML 101"], "kind": "course", "role": "member"}
        me = {"name": "ana", "display_name": "Ana 安娜", "admin": False, "language": "", "tenants": [tenant]}
        return JSONResponse({**me, "default_tenant": "ml101", "actions": {"ml101": ["jobs:create"]}})

    def tenancy_tenants(self, request: Request, parts: list[str], body: Any) -> Response:
        if not parts and request.method == "POST":
            slug = body.get("slug") or body["name"].lower().replace(" ", "-")
            self.state.tenants[slug] = make_tenant(slug, body["name"], body.get("kind", "project"), body.get("parent"))
            return JSONResponse(self.state.tenants[slug], 201)
        if not parts:
            return page(list(self.state.tenants.values()), request)
        slug, rest = parts[0], parts[1:]
        if slug not in self.state.tenants:
            return problem(404, "not-found", f"there is no tenant {slug!r}")
        return self._tenant(request, slug, rest, body) if rest else self._one_tenant(request, slug, body)

    def _one_tenant(self, request: Request, slug: str, body: Any) -> Response:
        if request.method == "DELETE":
            del self.state.tenants[slug]
            return Response(status_code=204)
        if request.method == "PATCH":
            self.state.tenants[slug] |= body
        return JSONResponse(self.state.tenants[slug])

    def _tenant(self, request: Request, slug: str, rest: list[str], body: Any) -> Response:
        if rest == ["members"]:
            items = [make_member(u, r) for (t, u), r in self.state.members.items() if t == slug]
            return page(items, request)
        if rest == ["quotas"]:
            if request.method == "PUT":
                self.state.quotas.append({"tenant": slug, "tenant_name": slug, "used": 0, "guaranteed": 0, "borrowed": 0, **body})
            return page([q for q in self.state.quotas if q["tenant"] == slug], request)
        if rest[0] == "profiles":
            return self._assignment(request, slug, rest[1])
        key = (slug, rest[1])
        if request.method == "PUT":
            self.state.members[key] = body["role"]
            return JSONResponse(make_member(rest[1], body["role"]))
        self.state.members.pop(key, None)
        return Response(status_code=204)

    def _assignment(self, request: Request, slug: str, profile: str) -> Response:
        (self.state.assigned.add if request.method == "PUT" else self.state.assigned.discard)((slug, profile))
        return Response(status_code=204)

    def tenancy_quotas(self, request: Request, parts: list[str], body: Any) -> Response:
        return page(self.state.quotas, request)

    def tenancy_users(self, request: Request, parts: list[str], body: Any) -> Response:
        if not parts and request.method == "POST":
            if body["name"] in self.state.users:
                return problem(409, "conflict", f"the name {body['name']!r} is taken")
            self.state.users[body["name"]] = make_user(**body)
            return JSONResponse(self.state.users[body["name"]], 201)
        if not parts:
            return page(list(self.state.users.values()), request)
        if parts[0] not in self.state.users:
            return problem(404, "not-found", f"there is no user {parts[0]!r}")
        if parts[1:] == ["invite"]:
            return JSONResponse({"link": "http://hub/hub/invite/abc", "expires_at": AT})
        if request.method == "DELETE":
            del self.state.users[parts[0]]
            return Response(status_code=204)
        if request.method == "PATCH":
            self.state.users[parts[0]] |= body
        return JSONResponse(self.state.users[parts[0]])

    # catalog

    def catalog_flavors(self, request: Request, parts: list[str], body: Any) -> Response:
        return page([make_flavor("small"), make_flavor("gpu", accelerator_count=2, simulated=True)], request)

    def catalog_images(self, request: Request, parts: list[str], body: Any) -> Response:
        if not parts:
            return page(list(self.state.images.values()), request)
        if parts[0] not in self.state.images:
            return problem(404, "not-found", f"there is no image {parts[0]!r}")
        if not parts[1:]:
            return JSONResponse(self.state.images[parts[0]])
        if parts[1] == "log":
            return PlainTextResponse("resolved 12 packages\n")
        image = self.state.images[parts[0]]
        image |= {"state": "failed", "message": "no room"} if "broken" in parts[0] else {"state": "ready", "progress": 1.0}
        return JSONResponse(image, 202)

    def catalog_profiles(self, request: Request, parts: list[str], body: Any) -> Response:
        return page([make_profile("digits")], request)

    # environments

    def environments_environments(self, request: Request, parts: list[str], body: Any) -> Response:
        rows = self.state.environments
        if not parts and request.method == "POST":
            id = len(rows) + 1
            rows[id] = make_environment(id, **body)
            return JSONResponse(rows[id], 201)
        if not parts:
            return page(list(rows.values()), request)
        if int(parts[0]) not in rows:
            return problem(404, "not-found", f"there is no environment {parts[0]}")
        row = rows[int(parts[0])]
        if request.method == "DELETE":
            del rows[int(parts[0])]
            return Response(status_code=204)
        if parts[1:]:
            row["phase"] = {"start": "starting", "stop": "stopped"}[parts[1]]
            return JSONResponse(row)
        answer = dict(row)
        row["phase"] = "running" if row["phase"] == "starting" else row["phase"]
        return JSONResponse(answer)

    # training

    def training_jobs(self, request: Request, parts: list[str], body: Any) -> Response:
        rows = self.state.jobs
        if not parts and request.method == "POST":
            if body.get("flavor") == "huge":
                return problem(409, "over-quota", "ml101 asked for 4 GPUs but may have 2; ask for fewer", resource="accelerators")
            return JSONResponse(self._new_job(body), 201)
        if not parts:
            return page(sorted(rows.values(), key=lambda j: -j["id"]), request)
        if not parts[0].isdecimal() or int(parts[0]) not in rows:
            return problem(404, "not-found", f"there is no job {parts[0]}")
        return self._job(request, rows[int(parts[0])], parts[1:])

    def _new_job(self, body: Json, **more: Any) -> Json:
        id = len(self.state.jobs) + 1
        self.state.jobs[id] = make_job(id, **body, **more)
        return self.state.jobs[id]

    def _job(self, request: Request, job: Json, rest: list[str]) -> Response:
        if request.method == "DELETE":
            del self.state.jobs[job["id"]]
            return Response(status_code=204)
        if not rest:
            answer = dict(job)
            step(job)
            return JSONResponse(answer)
        if rest == ["log"]:
            return StreamingResponse(log_pieces(job, request), media_type="text/plain")
        if rest == ["events"]:
            return page([make_event("job", job["id"], "queued", "running"), make_event("job", job["id"], None, "queued")], request)
        if rest == ["metrics"]:
            models = [{"model_id": "m-1", "name": "model", "framework": "sklearn"}]
            return JSONResponse({"metrics": {"accuracy": 0.97}, "params": {"lr": "0.1"}, "models": models})
        if rest == ["rerun"]:
            return JSONResponse(self._new_job({"name": job["name"], "command": job["command"]}, rerun_of=job["id"]), 201)
        if job["phase"] in ("succeeded", "failed", "cancelled"):
            return problem(409, "conflict", f"job {job['id']} has ended already")
        job |= {"phase": "cancelled", "reason": "cancelled by ana"}
        return JSONResponse(job)

    # models

    def models_models(self, request: Request, parts: list[str], body: Any) -> Response:
        rows = self.state.models
        if not parts and request.method == "POST":
            versions = rows.setdefault(("ml101", body["name"]), [])
            versions.append(make_version(len(versions) + 1, body["job"]))
            return JSONResponse(versions[-1], 201)
        if not parts:
            return page([make_model(t, n, v) for (t, n), v in rows.items()], request)
        key = (parts[0], parts[1])
        if key not in rows:
            return problem(404, "not-found", f"there is no model {parts[1]!r} in {parts[0]}")
        if parts[2:3] == ["aliases"]:
            aliases = next(v for v in rows[key] if request.method == "DELETE" or v["version"] == body["version"])["aliases"]
            aliases[:] = [parts[3]] if request.method == "PUT" else []
            return Response(status_code=204)
        if request.method == "DELETE":
            if parts[2:]:
                rows[key] = [v for v in rows[key] if v["version"] != parts[3]]
            else:
                del rows[key]
            return Response(status_code=204)
        return JSONResponse({**make_model(*key, rows[key]), "version_list": rows[key]})

    # serving

    def serving_endpoints(self, request: Request, parts: list[str], body: Any) -> Response:
        rows = self.state.endpoints
        if not parts and request.method == "POST":
            id = len(rows) + 1
            rows[id] = make_endpoint(id, **body)
            return JSONResponse({**rows[id], "token": "shown-once"}, 201)
        if not parts:
            return page(list(rows.values()), request)
        if not parts[0].isdecimal() or int(parts[0]) not in rows:
            return problem(404, "not-found", f"there is no endpoint {parts[0]}")
        return self._endpoint(request, rows[int(parts[0])], parts[1:], body)

    def _endpoint(self, request: Request, row: Json, rest: list[str], body: Any) -> Response:
        if request.method == "DELETE":
            del self.state.endpoints[row["id"]]
            return Response(status_code=204)
        if request.method == "PATCH":
            row |= body
        if rest in (["start"], ["stop"]):
            row["phase"] = {"start": "starting", "stop": "stopped"}[rest[0]]
            return JSONResponse(row)
        if rest == ["token"]:
            return JSONResponse({**row, "token": "new-token"})
        if rest == ["events"]:
            return page([make_event("endpoint", row["id"], None, "running")], request)
        if rest == ["log"]:
            return PlainTextResponse(f"instance {request.query_params.get('instance', '0')} listens\n")
        if rest == ["predict"]:
            if row["phase"] != "running":
                return problem(409, "conflict", "the endpoint does not run; start it first")
            outputs = [{"name": "output", "shape": [1], "datatype": "INT64", "data": [3]}]
            return JSONResponse({"outputs": outputs, "predictions": [3], "milliseconds": 4.2})
        answer = dict(row)
        row["phase"] = "running" if row["phase"] == "starting" else row["phase"]
        return JSONResponse(answer)

    # billing, monitor

    def billing_usage(self, request: Request, parts: list[str], body: Any) -> Response:
        row = {"user": "ana", "tenant": "ml101", "kind": "job", "flavor": "small", "seconds": 5400.0, "amounts": {"cpu": 5400.0}}
        return page([{**row, "cost_micro": 1_500_000, "currency": "CNY"}], request)

    def billing_bills(self, request: Request, parts: list[str], body: Any) -> Response:
        if parts:
            interval = {"started_at": AT, "ended_at": AT, "seconds": 60.0, "price_micro_per_hour": 1_000_000, "price_valid_from": AT}
            return page([{**interval, "cost_micro": 16_667}], request)
        line = {"key": "job:1/a", "kind": "job", "noun_id": "1", "name": "digits", "user": "ana", "tenant": "ml101", "flavor": "small"}
        lines = [{**line, "seconds": 60.0, "cost_micro": 16_667, "intervals": 1}]
        month = request.query_params.get("month", "2026-11")
        return JSONResponse({"tenant": None, "user": "ana", "month": month, "total_micro": 16_667, "currency": "CNY", "lines": lines})

    def billing_bills_csv(self, request: Request, parts: list[str], body: Any) -> Response:
        return PlainTextResponse("name,cost\ndigits,0.016667\n", media_type="text/csv")

    def billing_prices(self, request: Request, parts: list[str], body: Any) -> Response:
        if request.method == "POST":
            self.state.prices.append({"valid_from": AT, **body})
            return JSONResponse(self.state.prices[-1], 201)
        return page(self.state.prices, request)

    def monitor_metrics(self, request: Request, parts: list[str], body: Any) -> Response:
        gpu = {"index": 0, "name": "Simulated GPU", "utilisation": 50.0, "memory_used": 1 << 30, "memory_total": 8 << 30, "fan": 30.0}
        use = {"at": AT, "cpu_cores": 0.5, "cpu_limit": 2.0, "memory": 1 << 30, "memory_limit": 2 << 30, "disk": 0, "disk_limit": None}
        return JSONResponse({**use, "accelerators": [{**gpu, "temperature": 40.0, "power": 60.0, "simulated": True}]})


def make_tenant(slug: str, name: str, kind: str = "course", parent: str | None = None) -> Json:
    row = {"slug": slug, "name": name, "kind": kind, "parent": parent, "path": [name], "depth": 0, "members": 2}
    return {**row, "role": "teacher", "created_at": AT}


def make_member(user: str, role: str) -> Json:
    return {"user": user, "display_name": user.title(), "role": role, "inherited_from": None}


def make_user(name: str, display_name: str = "", admin: bool = False, **_: Any) -> Json:
    row = {"name": name, "display_name": display_name or name, "admin": admin, "disabled": False, "language": ""}
    return {**row, "created_at": AT, "last_login_at": None, "tenants": [{"slug": "ml101", "role": "member"}]}


def make_flavor(name: str, accelerator_count: int = 0, simulated: bool = False) -> Json:
    row = {"name": name, "title": {"en": name.title(), "zh-CN": "小"}, "cpu": 2.0, "memory": 2 << 30, "disk": 0, "architecture": ""}
    gpu = {"accelerator": "simulated" if simulated else "", "accelerator_count": accelerator_count, "accelerator_title": "GPU"}
    return {**row, **gpu, "price_micro_per_hour": 1_000_000, "currency": "CNY", "simulated": simulated, "available_now": True}


def make_image(name: str, state: str = "absent") -> Json:
    row = {"name": name, "title": {"en": name, "zh-CN": name}, "framework": "scikit-learn", "version": "1.7", "state": state}
    return {**row, "progress": 0.0, "message": "", "requirements": ["scikit-learn==1.7"]}


def make_profile(name: str) -> Json:
    row = {"name": name, "title": {"en": "Digits", "zh-CN": "数字"}, "description": {"en": "First model", "zh-CN": "…"}}
    choice = {"image": "sklearn", "flavor": "small", "flavors": ["small"], "images": ["sklearn"], "picture": "", "ready": True}
    return {**row, **choice, "price_micro_per_hour": 1_000_000, "tenant": "ml101"}


def make_environment(id: int, name: str = "default", tenant: str = "ml101", phase: str = "starting", **chosen: Any) -> Json:
    row = {"id": id, "name": name, "display_name": name, "user": "ana", "tenant": tenant, "profile": "digits", "image": "sklearn"}
    row |= {"flavor": "small", "phase": phase, "reason": "", "url": f"/user/ana/{name}/lab", "created_at": AT, "started_at": None}
    return {**row, "ended_at": None, "queue_position": None, "price_micro_per_hour": 1_000_000, **chosen}


def make_job(id: int, name: str, command: list[str], phase: str = "queued", **chosen: Any) -> Json:
    row = {"id": id, "name": name, "user": "ana", "tenant": "ml101", "profile": "digits", "image": "sklearn", "flavor": "small"}
    row |= {"command": command, "cwd": "", "phase": phase, "reason": "", "exit_code": None, "queue_position": 1, "created_at": AT}
    row |= {"started_at": None, "ended_at": None, "duration_seconds": None, "run_id": "r", "run_url": "/services/models/mlflow/#/r"}
    chosen.pop("env", None)
    return {**row, "attempt": 1, "rerun_of": None, "cost_micro": 0, "currency": "CNY", **chosen}


def step(job: Json) -> None:
    """One phase further, as the command says it ends."""
    if job["phase"] == "queued":
        job["phase"] = "running"
    elif job["phase"] == "running" and job["command"][0] != "sleep":
        code = int(job["command"][1]) if job["command"][0] == "exit" else 0
        reason = f"exit code {code}" if code else ""
        job |= {"phase": "failed" if code else "succeeded", "exit_code": code, "duration_seconds": 1.5, "reason": reason}


async def log_pieces(job: Json, request: Request) -> AsyncIterator[bytes]:
    """The text from the offset asked for, in two pieces cut inside a character."""
    text = f"epoch 1 of {job['name']} 数字\n".encode()[int(request.query_params.get("offset", 0)) :]
    for piece in (text[:-3], text[-3:]):
        yield piece


def make_version(version: int, job: int) -> Json:
    row: Json = {"version": str(version), "name": "digits", "tenant": "ml101", "framework": "sklearn", "framework_version": "1.7"}
    row |= {"metrics": {"accuracy": 0.97}, "params": {"lr": "0.1"}, "source": "models:/m-1", "run_id": "r", "job_id": job}
    row |= {"image": "sklearn", "flavor": "small", "user": "ana", "command": "", "description": "", "status": "READY"}
    return {**row, "created_at": AT, "aliases": [], "endpoints": []}


def make_model(tenant: str, name: str, versions: list[Json]) -> Json:
    row = {"name": name, "tenant": tenant, "latest_version": str(len(versions)), "versions": len(versions), "framework": "sklearn"}
    return {**row, "description": "", "updated_at": AT}


def make_endpoint(id: int, name: str, model: str, version: str, phase: str = "starting", **chosen: Any) -> Json:
    row: Json = {"id": id, "name": name, "slug": name.lower().replace(" ", "-"), "user": "ana", "tenant": "ml101", "model": model}
    row |= {"version": version, "image": "sklearn", "flavor": "small", "instances": 1, "ready_instances": 1, "phase": phase, "reason": ""}
    address = f"/endpoints/ml101/{row['slug']}"
    row |= {"address": address, "infer_url": f"http://hub{address}/v2/models/{model}/infer", "queue_position": None, "max_seconds": None}
    row |= {"stops_at": None, "created_at": AT, "started_at": AT, "cost_micro": 0, "currency": "CNY", "signature": None}
    return {**row, **chosen}


def make_event(noun: str, id: int, old: str | None, new: str) -> Json:
    row = {"at": AT, "noun": noun, "noun_id": str(id), "name": "digits", "user": "ana", "tenant": "ml101", "actor": "ana"}
    return {**row, "from_phase": old, "to_phase": new, "reason": ""}


@contextmanager
def served(state: State) -> Iterator[str]:
    """The fake's address while it runs, in a thread of this process on a free port."""
    config = uvicorn.Config(Starlette(routes=Fake(state).routes()), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
