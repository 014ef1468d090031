"""MLflow's server on a port of its own, which only the platform's pods may reach; its tables are brought up to date first."""

from __future__ import annotations

import logging
import os

from sqlalchemy import create_engine, inspect

from ltai_hub.cluster.database import wait_for_database
from ltai_hub.cluster.settings import ClusterSettings
from ltai_hub.collector import calm_collector
from ltai_hub.local.mlflow_server import make_environment
from ltai_hub.mlflow_app import STORE, make_app
from ltai_hub.settings import Settings

PORT = 5000
log = logging.getLogger("ltai.cluster")


def cluster_environment(own: ClusterSettings, settings: Settings) -> dict[str, str]:
    return make_environment(settings.folder, own.mlflow_key) | {
        STORE: own.mlflow_database_url,
        "_MLFLOW_SERVER_REGISTRY_STORE": own.mlflow_database_url,
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": own.mlflow_artifacts,
    }


def upgrade(url: str) -> None:
    """As ``mlflow db upgrade URL`` does, whose command line would show the password. MLflow makes missing tables itself."""
    engine = create_engine(url)
    has_tables = inspect(engine).has_table("alembic_version")
    engine.dispose()
    if has_tables:
        from mlflow.db import commands

        commands.main(args=["upgrade", url], standalone_mode=False)


def main() -> None:
    import uvicorn

    own = ClusterSettings()
    wait_for_database(own.mlflow_database_url)
    os.environ.update(cluster_environment(own, Settings()))
    upgrade(own.mlflow_database_url)
    config = uvicorn.Config(make_app(), host="0.0.0.0", port=PORT, log_level="warning", access_log=False)
    calm_collector()
    uvicorn.Server(config).run()
