"""A real MLflow server on a socket, once a session, behind the service as the platform runs it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from ltai_services.models.api import make_router
from ltai_services.models.proxy import MlflowProxy, mounts
from ltai_services.models.service import ModelService
from ltai_services.tracking import PREFIX, MlflowServer, Tracking
from starlette.testclient import TestClient

from ltai_hub.local.mlflow_server import make_environment
from ltai_hub.paths import DataFolder
from ltai_hub.service import Parts, Platform, ServiceSpec, build_app


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path_factory.mktemp("mlflow"))
    for name in ("run", "mlflow/artifacts"):
        (folder.root / name).mkdir(parents=True)
    env = {"PATH": str(Path(sys.executable).parent), "HOME": str(folder.root), **make_environment(folder, "k" * 32)}
    log = (folder.root / "mlflow.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", "from ltai_hub.local.mlflow_server import main; main()"], env=env, stdout=log, stderr=subprocess.STDOUT
    )
    client = httpx.Client(transport=httpx.HTTPTransport(uds=str(folder.mlflow_socket)), base_url="http://127.0.0.1")
    until = time.monotonic() + 90
    while True:
        try:
            client.get(f"{PREFIX}/health").raise_for_status()
            break
        except httpx.HTTPError:
            assert process.poll() is None, (folder.root / "mlflow.log").read_text()
            assert time.monotonic() < until, "MLflow does not answer"
            time.sleep(0.1)
    yield folder
    process.terminate()
    process.wait(20)


@pytest.fixture
def settled(platform: Platform, mlflow_folder: DataFolder) -> Platform:
    """The platform with a signing key."""
    return replace(platform, settings=platform.settings.model_copy(update={"signing_key": "cd" * 32}))


@pytest.fixture
def app(settled: Platform, mlflow_folder: DataFolder) -> Any:
    tracking = Tracking(MlflowServer(mlflow_folder.mlflow_socket))
    transport = httpx.AsyncHTTPTransport(uds=str(mlflow_folder.mlflow_socket))
    proxy = MlflowProxy(settled.settings, settled.database, settled.resolver, tracking, transport)
    parts = Parts(make_router(ModelService(settled, tracking)), mounts=mounts(proxy))
    return build_app([ServiceSpec("models", "models", lambda _: parts)], settled)


@pytest.fixture
def client(app: Any) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    """The service on a real port, for MLflow's own client."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
