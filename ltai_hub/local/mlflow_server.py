"""MLflow's tracking server and registry: one uvicorn process on a unix socket, reached only through ``ltai_services.models``.

``mlflow server`` would do the same with a parent process of 250 MB more. Variables: ``mlflow.server.constants``.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ltai_hub.collector import calm_collector
from ltai_hub.mlflow_app import STORE, make_app
from ltai_hub.paths import DataFolder

PREFIX = "/services/models/mlflow"


def make_environment(folder: DataFolder, key: str) -> dict[str, str]:
    """What the process is started with; ``key`` encrypts secrets MLflow keeps and signs its sessions."""
    root = folder.root / "mlflow"
    return {
        STORE: f"sqlite:///{root / 'mlflow.db'}",
        "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{root / 'mlflow.db'}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(root / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_STATIC_PREFIX": PREFIX,
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_ENABLE_WORKSPACES": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": key,
        "MLFLOW_CRYPTO_KEK_PASSPHRASE": key,
        # nothing but our own proxy reaches the socket, and it checks host and origin itself
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "LTAI_MLFLOW_SOCKET": str(folder.mlflow_socket),
    }


def main() -> None:
    import uvicorn

    path = Path(os.environ["LTAI_MLFLOW_SOCKET"])
    path.unlink(missing_ok=True)
    # uvicorn would open its own unix socket to everybody on the machine (mode 0666)
    with socket.socket(socket.AF_UNIX) as listening:
        os.umask(0o177)
        listening.bind(str(path))
        os.umask(0o077)
        config = uvicorn.Config(make_app(), log_level="warning", access_log=False, timeout_graceful_shutdown=3)
        calm_collector()
        uvicorn.Server(config).run(sockets=[listening])
