"""The console with a hub and services that only pretend: `python tests/front/fake_api.py [--port 9000] [--rows 3] [--mode ok]`.

rows: how long the lists are (0, 3, 5000). mode: ok, error (services refuse with a problem), slow (every answer takes 3 s).
Pictures of every panel are made against it, and the panels are developed against it.
"""

# tables of made-up data

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub.services.auth import HubOAuth
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

Json = dict[str, Any]
GIB = 1024**3
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LONG = "深度卷积神经网络图像分类实验第三次课程作业提交版本含数据增强与学习率余弦退火以及标签平滑和混合精度训练的完整流程示例"
ODD = ["digits", LONG, '<script>alert("x")</script>', "sweep lr=0.1 'quoted' 🎓", "a-very-long-name-without-any-break-" * 2]


def at(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def words(en: str, zh: str) -> Json:
    return {"en": en, "zh-CN": zh}


FLAVORS: list[Json] = [
    {"name": name, "title": title, "cpu": cpu, "memory": memory * GIB, "disk": 10 * GIB, "accelerator": "a100" if gpus else "", "accelerator_count": gpus,
     "accelerator_title": "A100 40 GB" if gpus else "", "architecture": "x86_64", "price_micro_per_hour": price, "currency": "CNY", "simulated": gpus > 0,
     "available_now": gpus < 2}
    for name, title, cpu, memory, gpus, price in (
        ("small", words("Small", "小型"), 0.5, 1, 0, 100_000),
        ("standard", words("Standard", "标准"), 2, 4, 0, 400_000),
        ("gpu", words("One GPU", "单卡 GPU"), 4, 16, 1, 4_800_000),
        ("gpu-2", words("Two GPUs", "双卡 GPU"), 8, 32, 2, 9_600_000),
    )
]  # fmt: skip
IMAGES: list[Json] = [
    {"name": name, "title": words(title, title), "description": words("", ""), "framework": framework, "version": version, "state": state, "progress": progress,
     "message": message, "requirements": requirements, "container": f"registry/{name}"}
    for name, title, framework, version, state, progress, message, requirements in (
        ("scikit-learn", "scikit-learn", "scikit-learn", "1.7", "ready", 1.0, "", ["scikit-learn==1.7.2", "mlflow-skinny==3.17.2", "pandas", "skops"]),
        ("pytorch", "PyTorch", "PyTorch", "2.9", "building", 0.42, "downloading torch (412 of 780 MB)", ["torch==2.9.1", "torchvision"]),
        ("tensorflow", "TensorFlow", "TensorFlow", "2.20", "absent", 0.0, "", ["tensorflow-cpu==2.20"]),
        ("jax", "JAX", "JAX", "0.8", "failed", 0.0, "jaxlib has no wheel for this Python", ["jax[cpu]"]),
    )
]  # fmt: skip
PROFILES: list[Json] = [
    {"name": "digits", "title": words("Digits: first model", "手写数字：第一个模型"), "description": words("Train a classifier on scanned digits.", "用扫描的手写数字训练分类器。"),
     "image": "scikit-learn", "flavor": "standard", "flavors": ["small", "standard"], "images": ["scikit-learn"], "picture": "", "ready": True,
     "price_micro_per_hour": 400_000, "currency": "CNY", "tenant": "ml-101"},
    {"name": "deep", "title": words("Deep learning with PyTorch", "PyTorch 深度学习"), "description": words("Convolutional networks on one GPU.", "单卡 GPU 上的卷积网络。"),
     "image": "pytorch", "flavor": "gpu", "flavors": ["gpu", "gpu-2"], "images": ["pytorch", "tensorflow"], "picture": "", "ready": False,
     "price_micro_per_hour": 4_800_000, "currency": "CNY", "tenant": "ml-101"},
    {"name": "blank", "title": words("Blank notebook", "空白笔记本"), "description": words("JupyterLab, nothing else.", "只有 JupyterLab。"),
     "image": "scikit-learn", "flavor": "small", "flavors": [], "images": [], "picture": "", "ready": True,
     "price_micro_per_hour": 100_000, "currency": "CNY", "tenant": "ml-101"},
]  # fmt: skip
TENANTS: list[Json] = [
    {"slug": slug, "name": name, "kind": kind, "parent": parent, "path": path, "depth": len(path) - 1, "members": members, "role": role, "created_at": at(days=90),
     "weight": 3, "cluster": {"ready": slug != "vision", "message": "" if slug != "vision" else "the cluster has not heard of it yet"}}
    for slug, name, kind, parent, path, members, role in (
        ("school", "Demo school", "organisation", None, ["Demo school"], 8, "admin"),
        ("physics", "Physics", "department", "school", ["Demo school", "Physics"], 3, "admin"),
        ("cs", "Computer science", "department", "school", ["Demo school", "Computer science"], 5, "admin"),
        ("ml-101", "Machine learning 101", "course", "cs", ["Demo school", "Computer science", "Machine learning 101"], 6, "teacher"),
        ("vision", LONG, "course", "cs", ["Demo school", "Computer science", LONG], 2, "teacher"),
    )
]  # fmt: skip
PHASES = ["running", "queued", "succeeded", "failed", "starting", "cancelled", "stopped", "stopping"]


def make_job(number: int) -> Json:
    phase = ["running", "succeeded", "queued", "failed", "succeeded", "cancelled", "starting"][number % 7]
    ended = phase in ("succeeded", "failed", "cancelled")
    started = phase not in ("queued",)
    return {
        "id": 5000 - number, "name": ODD[number % 5], "user": ["zhang.wei", "student1", "li.na"][number % 3], "tenant": "ml-101", "profile": "digits",
        "image": "scikit-learn", "flavor": ["standard", "gpu"][number % 2], "command": ["python", "train.py", "--lr", "0.1", "--note", "two words"], "cwd": "digits",
        "env": {}, "phase": phase,
        "reason": {"failed": "exit code 3", "queued": "ml-101 uses 2 of its 2 GPUs", "cancelled": "cancelled by student1"}.get(phase, ""),
        "exit_code": {"succeeded": 0, "failed": 3}.get(phase), "queue_position": 2 if phase == "queued" else None, "created_at": at(minutes=7 * number + 3),
        "started_at": at(minutes=7 * number + 2) if started else None, "ended_at": at(minutes=7 * number + 1, seconds=12) if ended else None,
        "duration_seconds": 48.2 if ended else None, "run_id": "0f3c", "experiment_id": "1", "run_url": "/services/models/mlflow/#/experiments/1/runs/0f3c",
        "attempt": 1, "rerun_of": 4999 if number == 0 else None, "max_seconds": None, "cost_micro": 64_267 * (number % 4), "currency": "CNY",
    }  # fmt: skip


def make_environment(number: int) -> Json:
    phase = ["running", "queued", "stopped", "starting"][number % 4]
    return {
        "id": 100 + number, "name": "default" if number == 0 else f"env-{number}", "display_name": "" if number == 0 else ODD[number % 5],
        "user": ["student1", "zhang.wei", "li.na", "student4", "student5"][number % 5], "tenant": "ml-101", "profile": ["digits", "deep"][number % 2],
        "image": ["scikit-learn", "pytorch"][number % 2], "flavor": ["standard", "gpu"][number % 2], "phase": phase,
        "reason": "ml-101 uses 2 of its 2 GPUs" if phase == "queued" else "", "url": "/user/student1/lab", "created_at": at(hours=number + 1),
        "started_at": at(minutes=42 * (number + 1)) if phase in ("running", "stopped") else None, "ended_at": at(minutes=5) if phase == "stopped" else None,
        "queue_position": 1 if phase == "queued" else None, "price_micro_per_hour": [400_000, 4_800_000][number % 2], "currency": "CNY",
    }  # fmt: skip


def make_model(number: int) -> Json:
    return {"name": ODD[number % 5] if number < 5 else f"model-{number}", "tenant": "ml-101", "latest_version": str(number % 9 + 1), "versions": number % 9 + 1,
            "framework": ["sklearn", "pytorch"][number % 2], "description": "Logistic regression on 8 × 8 scans", "updated_at": at(hours=5 * number + 1)}  # fmt: skip


def make_version(number: int) -> Json:
    return {"version": str(number), "name": "digits", "tenant": "ml-101", "framework": "sklearn", "framework_version": "1.7.2",
            "metrics": {"accuracy": 0.96111, "log_loss": 0.1302, "epochs": 20}, "params": {"lr": "0.1", "C": "1.0", "solver": "lbfgs"}, "source": "models:/m-1",
            "run_id": "0f3c", "job_id": 4999, "image": "scikit-learn", "flavor": "standard", "user": "student1", "command": "python train.py", "description": "",
            "status": "READY", "created_at": at(hours=3 * number), "aliases": ["champion"] if number == 3 else [], "endpoints": [7] if number == 3 else []}  # fmt: skip


def make_endpoint(number: int) -> Json:
    phase = ["running", "stopped", "queued", "starting", "failed"][number % 5]
    return {
        "id": 7 + number, "name": ODD[number % 5], "slug": "digits", "user": "student1", "tenant": "ml-101", "model": "digits", "version": "3",
        "image": "scikit-learn", "flavor": "small", "instances": 2, "most_instances": 4 if number % 5 == 1 else None, "ready_instances": 2 if phase == "running" else 0, "phase": phase,
        "reason": "instance 1 ended with exit code 1: the model needs skops" if phase == "failed" else "", "address": "/endpoints/ml-101/digits",
        "infer_url": "/endpoints/ml-101/digits/v2/models/digits/infer", "queue_position": 1 if phase == "queued" else None, "max_seconds": 7200,
        "stops_at": at(minutes=-66) if phase == "running" else None, "created_at": at(hours=1), "started_at": at(minutes=54) if phase == "running" else None,
        "ended_at": None, "cost_micro": 90_000, "currency": "CNY",
        "signature": {"inputs": [{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 8]}}]},
    }  # fmt: skip


def make_user(number: int) -> Json:
    return {"name": ["admin", "teacher", "zhang.wei"][number] if number < 3 else f"student{number}", "display_name": ["Admin", "Dr. Wang", LONG][number] if number < 3 else "",
            "admin": number == 0, "disabled": number == 2, "language": "", "created_at": at(days=30), "last_login_at": at(hours=number) if number % 2 == 0 else None,
            "tenants": [{"slug": "ml-101", "role": "teacher" if number == 1 else "member"}]}  # fmt: skip


def make_metrics() -> Json:
    return {"at": datetime.now(UTC).isoformat(), "cpu_cores": round(random.uniform(0.2, 1.9), 2), "cpu_limit": 2.0, "memory": int(random.uniform(0.8, 2.1) * GIB),
            "memory_limit": 4 * GIB, "disk": 3 * GIB, "disk_limit": 10 * GIB, "accelerators": [make_gpu("0")]}  # fmt: skip


def make_gpu(index: str) -> Json:
    return {"index": index, "name": "A100 40 GB", "utilisation": random.randint(30, 99), "memory_used": int(random.uniform(4, 30) * GIB), "memory_total": 40 * GIB,
            "fan": 38.0, "temperature": 61.0, "power": 212.0, "simulated": True}  # fmt: skip


MEMBERS: list[Json] = [
    {"user": user, "display_name": name, "role": role, "inherited_from": source}
    for user, name, role, source in (
        ("admin", "Admin", "admin", "school"),
        ("teacher", "Dr. Wang", "teacher", None),
        ("helper", "Chen Jie", "assistant", None),
        ("student1", "Anna Schmidt", "member", None),
        ("zhang.wei", LONG, "member", None),
        ("li.na", "李娜", "member", None),
        ("student4", "", "member", None),
        ("student5", "José García", "member", None),
    )
]
QUOTAS: list[Json] = [
    {
        "tenant": "school",
        "tenant_name": "Demo school",
        "user": None,
        "resource": "cpu",
        "limit": 16.0,
        "used": 6.5,
        "guaranteed": 4.0,
        "borrowed": 2.5,
    },
    {"tenant": "ml-101", "tenant_name": "Machine learning 101", "user": None, "resource": "accelerators", "limit": 2.0, "used": 2.0},
    {"tenant": "ml-101", "tenant_name": "Machine learning 101", "user": "*", "resource": "memory", "limit": 8.0 * GIB, "used": 7.4 * GIB},
    {
        "tenant": "ml-101",
        "tenant_name": "Machine learning 101",
        "user": "student1",
        "resource": "accelerator:a100",
        "limit": None,
        "used": 1.0,
    },
    {
        "tenant": "ml-101",
        "tenant_name": "Machine learning 101",
        "user": None,
        "resource": "storage",
        "limit": 100.0 * GIB,
        "used": 12.0 * GIB,
    },
]
EVENTS: list[Json] = [
    {"at": at(minutes=1), "from_phase": "running", "to_phase": "failed", "reason": "exit code 3", "actor": ""},
    {"at": at(minutes=3), "from_phase": "starting", "to_phase": "running", "reason": "", "actor": ""},
    {"at": at(minutes=4), "from_phase": "queued", "to_phase": "starting", "reason": "reserved 2 cores, 4 GiB", "actor": ""},
    {"at": at(minutes=9), "from_phase": None, "to_phase": "queued", "reason": "ml-101 uses 2 of its 2 GPUs", "actor": "student1"},
]
LINES: list[Json] = [
    {"key": f"{kind}:{number}", "kind": kind, "noun_id": str(number), "name": name, "user": "student1", "tenant": "ml-101", "flavor": flavor, "seconds": seconds,
     "cost_micro": cost, "intervals": intervals, "running": False}
    for kind, number, name, flavor, seconds, cost, intervals in (
        ("environment", 100, "", "standard", 18_231.0, 2_025_666, 4),
        ("job", 4999, "digits", "gpu", 48.2, 64_267, 1),
        ("endpoint", 7, LONG, "small", 3_240.0, 90_000, 2),
        ("job", 4990, "free", "standard", 3.0, 333, 1),
    )
]  # fmt: skip
LOG = "".join(f"epoch {epoch:2d}  loss {2.3 / epoch:.4f}  accuracy {1 - 0.5 / epoch:.4f}\n" for epoch in range(1, 80))


class FakeServices:
    """Answers of all services; ``rows`` and ``mode`` are changed between pictures."""

    rows = 3
    mode = "ok"

    def answer(self, service: str, path: str, query: dict[str, str]) -> Any:
        plain: dict[str, Callable[[], Any]] = {
            "tenancy/me": self.me,
            "tenancy/tenants": lambda: listed(TENANTS if self.rows else []),
            "tenancy/quotas": lambda: listed(QUOTAS if self.rows else []),
            "tenancy/events": lambda: listed(EVENTS),
            "catalog/flavors": lambda: listed(FLAVORS),
            "catalog/images": lambda: listed(IMAGES),
            "catalog/profiles": lambda: listed(PROFILES if self.rows else []),
            "serving/scaling": lambda: {"available": bool(self.rows), "reason": ""},
            "training/spread": lambda: {"most_nodes": 1024, "clusters": ["east"]} if self.rows else {"most_nodes": 1, "clusters": []},
            "monitor/overview": self.overview,
            "monitor/nodes": lambda: listed([self.node(), self.node_of_a_cluster()]),
            "billing/bills": self.bill,
            "billing/prices": lambda: listed([{"flavor": "gpu", "price_micro_per_hour": 4_800_000, "currency": "CNY", "valid_from": at(days=20)}] if self.rows else []),
        }  # fmt: skip
        lists: dict[str, Callable[[int], Json]] = {
            "environments/environments": make_environment,
            "training/jobs": make_job,
            "models/models": make_model,
            "serving/endpoints": make_endpoint,
            "tenancy/users": make_user,
        }
        name = f"{service}/{path}"
        if name in plain:
            return plain[name]()
        if name in lists:
            return self.paged(lists[name], query)
        return self.one(name)

    def paged(self, make: Callable[[int], Json], query: dict[str, str]) -> Json:
        limit, offset, search = int(query.get("limit", 100)), int(query.get("offset", 0)), query.get("q", "").lower()
        rows = [make(number) for number in range(self.rows)] if search else []
        found = [row for row in rows if search in row["name"].lower()]
        if search:
            return {"items": found[offset : offset + limit], "total": len(found)}
        return {"items": [make(number) for number in range(offset, min(self.rows, offset + limit))], "total": self.rows}

    def one(self, name: str) -> Any:
        parts = name.split("/")
        if name.startswith("monitor/metrics/"):
            return make_metrics()
        if parts[-1] == "events":
            return listed(EVENTS)
        if parts[-1] == "metrics":
            models = [{"model_id": "m-1", "name": "digits", "framework": "sklearn"}] if self.rows else []
            return {"metrics": {"accuracy": 0.9611, "loss": 0.1302}, "params": {"lr": "0.1", "epochs": "79"}, "models": models}
        if parts[-1] == "members":
            return listed(MEMBERS if self.rows else [])
        if parts[-1] == "quotas":
            return listed(QUOTAS if self.rows else [])
        if parts[-1] == "profiles":
            return listed([{"profile": "digits", "inherited": False}])
        if parts[-1] == "intervals":
            return listed([{"started_at": at(hours=2), "ended_at": at(hours=1), "running": False, "seconds": 3600, "replicas": 1, "flavor": "gpu",
                            "price_micro_per_hour": 4_800_000, "price_valid_from": at(days=20), "cost_micro": 4_800_000}])  # fmt: skip
        if name.startswith("tenancy/tenants/"):
            return next(tenant for tenant in TENANTS if tenant["slug"] == parts[2])
        if name.startswith("models/models/"):
            return {**make_model(0), "version_list": [make_version(number) for number in (3, 2, 1)]}
        makers: dict[str, Callable[[int], Json]] = {"training": make_job, "environments": make_environment, "serving": make_endpoint}
        return {**makers[parts[0]](0), "id": int(parts[2])}

    def me(self) -> Json:
        mine = [{key: one[key] for key in ("slug", "name", "path", "kind", "role")} for one in TENANTS] if self.rows else []
        actions = ["members:write", "tenants:update", "quotas:write", "profiles:assign", "bills:read"]
        return {"name": "student1", "display_name": "Anna Schmidt", "admin": True, "language": "", "tenants": mine,
                "default_tenant": "ml-101" if self.rows else None, "actions": {one["slug"]: actions for one in mine}}  # fmt: skip

    def overview(self) -> Json:
        count = min(self.rows, 3)
        running = {"environments": count, "jobs": count and 1, "endpoints": count and 1}
        waiting = {"environments": count and 1, "jobs": count and 2, "endpoints": 0}
        return {"running": running, "waiting": waiting, "cost_this_month_micro": 2_180_266 if self.rows else 0, "currency": "CNY"}

    def node(self) -> Json:
        share = {
            "cpu": {"used": 6.5, "total": 16},
            "memory": {"used": 21 * GIB, "total": 64 * GIB},
            "disk": {"used": 310 * GIB, "total": 1000 * GIB},
        }
        missing = [
            "Memory limits are checked by the platform every second, because this machine gives it no cgroups; start it under systemd to have them enforced."
        ]
        return {"name": "this machine", **share, "accelerators": [make_gpu("0"), make_gpu("1")],
                "isolation": {"mode": "namespaces", "network": "private", "limits": "watched", "missing": missing},
                "allocated": False, "devices": {}, "ready": True, "reason": ""}  # fmt: skip

    def node_of_a_cluster(self) -> Json:
        share = {"cpu": {"used": 60.5, "total": 64}, "memory": {"used": 200 * GIB, "total": 512 * GIB}, "disk": {"used": 0, "total": 0}}
        return {"name": "worker-7", **share, "accelerators": [], "isolation": None, "allocated": True,
                "devices": {"nvidia.com/gpu": {"used": 6, "total": 8}}, "ready": False, "reason": "Kubelet stopped posting node status."}  # fmt: skip

    def bill(self) -> Json:
        lines = LINES if self.rows else []
        return {"tenant": None, "user": "student1", "month": f"{datetime.now(UTC):%Y-%m}", "started_at": at(days=20), "ended_at": at(), "currency": "CNY",
                "total_micro": sum(line["cost_micro"] for line in lines), "lines": lines}  # fmt: skip


def listed(items: list[Any]) -> Json:
    return {"items": items, "total": len(items)}


class ServiceHandler(web.RequestHandler):
    """``/services/SERVICE/api/v1/…`` of the pretended services. Remembers what was changed in ``written``."""

    written: ClassVar[list[tuple[str, str, bytes]]] = []

    async def answer(self, service: str, path: str) -> None:
        services: FakeServices = self.settings["services"]
        if services.mode == "slow":
            await asyncio.sleep(3)
        if services.mode == "error" and path != "me":
            return self.problem(503, "unavailable", "The database is being upgraded to version 12; it takes about two minutes.")
        query = {key: self.get_query_argument(key) for key in self.request.query_arguments}
        if self.request.method != "GET":
            ServiceHandler.written.append((self.request.method or "", f"{service}/{path}", self.request.body))
        if path.endswith("/log"):
            return await self.log(query)
        if path.endswith("/predict"):
            probabilities = [0.01, 0.0, 0.02, 0.9, 0.01, 0.02, 0.01, 0.01, 0.01, 0.01]
            self.finish(
                {"predictions": [3], "outputs": [], "probabilities": [probabilities], "classes": list(range(10)), "milliseconds": 4.2}
            )
            return
        if path.endswith("/token"):
            self.finish({**make_endpoint(0), "token": "lt_9Zk2vY7xQmB4fTgH"})
            return
        if path.endswith("/invite"):
            self.finish({"link": "http://127.0.0.1:8000/hub/invite/5f1c0b8e2a", "expires_at": at(days=-3)})
            return
        if self.request.method == "POST" and path == "jobs":
            body = json.loads(self.request.body)
            if body["cwd"] == "nowhere":
                errors = [{"field": "cwd", "message": "there is no folder nowhere in your home"}]
                return self.problem(400, "bad-input", "there is no folder nowhere in your home", errors=errors)
            if body.get("flavor") == "gpu-2":
                return self.problem(409, "over-quota", "ml-101 asked for 2 GPUs but may have 1; stop a job or ask for more")
            self.finish(json.dumps(make_job(0)))
            return
        self.finish(json.dumps(services.answer(service, path, query)))

    get = post = put = patch = delete = answer

    async def log(self, query: dict[str, str]) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(LOG.encode()[int(query.get("offset", 0)) :])
        await self.flush()
        if query.get("follow") == "true":
            await asyncio.sleep(30)

    def problem(self, status: int, code: str, detail: str, **more: Any) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/problem+json")
        self.set_header("X-Request-ID", "req-7f3a21c9")
        self.finish(
            json.dumps(
                {
                    "type": "about:blank",
                    "title": code,
                    "status": status,
                    "detail": detail,
                    "code": code,
                    "request_id": "req-7f3a21c9",
                    **more,
                }
            )
        )


class FakeHubAuth(HubOAuth):  # type: ignore[misc]  # JupyterHub has no types
    """JupyterHub's OAuth, with one person who is signed in as long as ``signed_in``."""

    signed_in = True
    allowed = True

    async def get_user(self, handler: web.RequestHandler, *, sync: bool = True) -> Json | None:
        info = {"display_name": "Anna Schmidt", "language": "", "staff": True}
        return {"name": "student1", "admin": True, "scopes": ["admin-ui", "access:services"], "user_info": info} if self.signed_in else None

    def check_scopes(self, wanted: set[str], user: Json) -> bool:
        return self.allowed

    def get_token(self, handler: web.RequestHandler, in_cookie: bool = True) -> str:
        return "token-of-student1"


def make_auth() -> FakeHubAuth:
    return FakeHubAuth(
        api_url="http://127.0.0.1:1/hub/api",
        api_token="x",
        base_url="/services/console/",
        oauth_client_id="service-console",
        access_scopes={"access:services"},
    )


def start(services: FakeServices, port: int = 0, auth: FakeHubAuth | None = None) -> int:
    """Serves console, hub's static files and services on the running loop; returns the console's port."""
    from jupyterhub._data import DATA_FILES_PATH
    from ltai_services.console import ConsoleSettings, make_app

    upstream = web.Application([(r"/services/([a-z-]+)/api/v1/(.*)", ServiceHandler)], services=services)
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(upstream).add_sockets(sockets)
    upstream_port = sockets[0].getsockname()[1]
    settings = ConsoleSettings("127.0.0.1", port, "/services/console/", "/", f"http://127.0.0.1:{upstream_port}", os.urandom(32))
    app = make_app(settings, auth or make_auth())
    app.add_handlers(".*", [(r"/hub/static/(.*)", web.StaticFileHandler, {"path": str(Path(DATA_FILES_PATH) / "static")})])
    sockets = bind_sockets(port, "127.0.0.1")
    HTTPServer(app, max_body_size=1 << 30).add_sockets(sockets)
    found: int = sockets[0].getsockname()[1]
    return found


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--mode", choices=["ok", "error", "slow"], default="ok")
    args = parser.parse_args()
    services = FakeServices()
    services.rows, services.mode = args.rows, args.mode
    print(f"http://127.0.0.1:{start(services, args.port)}/services/console/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
