"""A job's row → what a backend starts. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ltai_hub.domain.catalog import Catalog, Profile
from ltai_hub.domain.workloads import Kind, Mount, Workload
from ltai_hub.errors import BadInput
from ltai_hub.metering.phases import Subject
from ltai_hub.slugs import shown
from ltai_services.training.store import Job

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Set by the platform for every job; a job's own values would send its results elsewhere or under another name.
RESERVED_PREFIXES = ("LTAI_", "MLFLOW_TRACKING_", "JUPYTERHUB_", "LD_")
RESERVED = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_WORKSPACE", "HOME", "USER", "NVIDIA_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES"}
LARGEST_COMMAND = 131_072


@dataclass(frozen=True)
class Tracked:
    """Where the job's results go. ``token`` is the person's, good for MLflow and the job service only; ``public_url`` reaches it from
    anywhere."""

    url: str
    run_id: str
    experiment_id: str
    token: str
    public_url: str = ""


def make_subject(job: Job, catalog: Catalog) -> Subject:
    return Subject(Kind.JOB, job.noun_id, job.name, job.user, job.tenant, job.flavor, catalog.resources_of(job.flavor), job.nodes)


def workload_name(job: Job) -> str:
    return f"job-{job.id}"


def make_workload(job: Job, catalog: Catalog, home: Path, mounts: Sequence[Mount], tracked: Tracked, folder: bytes = b"") -> Workload:
    profile = catalog.profiles.get(job.profile)
    return Workload(
        name=workload_name(job),
        kind=Kind.JOB,
        user=job.user,
        tenant=job.tenant,
        image=job.image,
        flavor=job.flavor,
        resources=catalog.get_flavor(job.flavor).resources,
        command=job.command,
        env=make_env(job, profile, catalog, tracked),
        home=str(home),
        cwd=str(home / job.cwd) if job.cwd else str(home),
        mounts=tuple(mounts),
        copies=profile.copy if profile else (),
        replicas=job.nodes,
        max_seconds=job.max_seconds,
        anywhere=job.anywhere,
        folder=folder,
        env_elsewhere={"MLFLOW_TRACKING_URI": tracked.public_url} if job.anywhere else {},
    )


def make_env(job: Job, profile: Profile | None, catalog: Catalog, tracked: Tracked) -> dict[str, str]:
    """The image's and profile's variables, the person's, then the platform's, which win."""
    image = catalog.images.get(job.image)
    return {
        "PYTHONUNBUFFERED": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **(image.environment if image else {}),
        **(profile.environment if profile else {}),
        **job.env,
        "MLFLOW_TRACKING_URI": tracked.url,
        "MLFLOW_TRACKING_TOKEN": tracked.token,
        "MLFLOW_WORKSPACE": job.tenant,
        "MLFLOW_RUN_ID": tracked.run_id,
        "MLFLOW_EXPERIMENT_ID": tracked.experiment_id,
        "LTAI_JOB": str(job.id),
        "LTAI_TENANT": job.tenant,
        "LTAI_USER": job.user,
        "LTAI_TOKEN": tracked.token,
    }


def run_tags(job: Job) -> dict[str, str]:
    """Lineage kept with the MLflow run."""
    return {
        "ltai.job": str(job.id),
        "ltai.command": " ".join(job.command)[:4000],
        "ltai.image": job.image,
        "ltai.flavor": job.flavor,
        "ltai.user": job.user,
        "ltai.tenant": job.tenant,
    }


def check_cwd(text: str) -> str:
    """A folder inside the home, relative and without detours. Raises BadInput."""
    path = posixpath.normpath(text.strip()) if text.strip() else ""
    if "\0" in text or path.startswith("/") or path == ".." or path.startswith("../"):
        raise BadInput(f"cwd {shown(text)} lies outside your home; name a folder inside it, for example 'digits'")
    return "" if path == "." else path


def check_command(command: Sequence[str]) -> tuple[str, ...]:
    """Raises BadInput."""
    if not command or not command[0].strip():
        raise BadInput("the command is empty; write for example python train.py")
    if any("\0" in word for word in command):
        raise BadInput("the command has a NUL character in it")
    if sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in command) > LARGEST_COMMAND:
        raise BadInput("the command is longer than 128 KiB; put its data into a file")
    return tuple(command)


def check_env(env: Mapping[str, str]) -> dict[str, str]:
    """Raises BadInput."""
    for name, value in env.items():
        if not VARIABLE.fullmatch(name):
            raise BadInput(f"{shown(name)} cannot be the name of an environment variable; use letters, digits and _")
        if name in RESERVED or name.startswith(RESERVED_PREFIXES):
            raise BadInput(f"the platform sets the environment variable {name} itself; choose another name")
        if "\0" in value:
            raise BadInput(f"the environment variable {name} has a NUL character in it")
    return dict(env)
