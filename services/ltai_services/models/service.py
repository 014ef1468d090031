"""The verbs of models: list, show, register from a job, alias, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ltai_hub.domain.lists import Part, in_order, read_order
from ltai_hub.errors import BadInput, Conflict, NotFound
from ltai_hub.service import Platform
from ltai_hub.slugs import check_number, check_title, shown
from ltai_hub.tenancy.permit import permit, permitted_tenants
from ltai_hub.tenancy.store import subtree
from ltai_hub.web.callers import Caller
from ltai_services.models import store
from ltai_services.models.models import ModelDetails, ModelOut, NewVersion, VersionOut
from ltai_services.models.owners import Owners
from ltai_services.models.ownership import Kind, Thing
from ltai_services.models.store import Served, SourceJob
from ltai_services.registry import Framework, RegisteredModel, Registry, Version, check_model_name, check_version
from ltai_services.tracking import Tracking, from_pairs, is_finite, metrics_of

AT_ONCE = 8
FRAMEWORK = "framework"
SORTS: Mapping[str, Callable[[tuple[str, RegisteredModel]], Any]] = {
    "name": lambda pair: pair[1].name.lower(),
    "tenant": lambda pair: pair[0],
    "versions": lambda pair: len(pair[1].versions),
    "updated_at": lambda pair: pair[1].updated_at,
}


class ModelService:
    def __init__(self, platform: Platform, tracking: Tracking) -> None:
        self.database = platform.database
        self.tracking = tracking
        self.registry = Registry(tracking)
        self.owners = Owners(platform.database, tracking)

    async def select(self, caller: Caller, part: Part, tenant: str | None) -> tuple[list[ModelOut], int]:
        """Models of all the caller's tenants, or of one and those below it; newest first. Raises BadInput for an unknown ``part.sort``."""
        order = read_order(part.sort, {*SORTS, FRAMEWORK})
        workspaces = await asyncio.to_thread(self._readable, caller, tenant)
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(workspace: str) -> list[tuple[str, RegisteredModel]]:
            async with turn:
                return [(workspace, model) for model in await self.registry.list_models(workspace)]

        found = [pair for pairs in await asyncio.gather(*map(one, workspaces)) for pair in pairs]
        found = [pair for pair in found if part.text.lower() in pair[1].name.lower()]
        found.sort(key=lambda pair: (-pair[1].updated_at.timestamp(), pair[1].name))
        by_framework = order is not None and order.field == FRAMEWORK
        # it stands in each model's own files: all of them have to be read before they can be put in order
        wanted = found if by_framework else in_order(found, part.sort, SORTS)[part.offset : part.offset + part.limit]

        async def brief(pair: tuple[str, RegisteredModel]) -> ModelOut:
            async with turn:
                return await self._model_out(*pair)

        rows = list(await asyncio.gather(*map(brief, wanted)))
        if by_framework:
            rows = in_order(rows, part.sort, {FRAMEWORK: lambda model: model.framework or None})[part.offset : part.offset + part.limit]
        return rows, len(found)

    async def show(self, caller: Caller, tenant: str, name: str) -> ModelDetails:
        served = await asyncio.to_thread(self._served, caller, "models:read", tenant)
        model = await self.registry.get_model(tenant, name)
        brief = await self._model_out(tenant, model)
        versions = await asyncio.gather(*(self._version_out(tenant, version, served) for version in model.versions))
        return ModelDetails(**brief.model_dump(), version_list=list(versions))

    async def register(self, caller: Caller, new: NewVersion) -> VersionOut:
        """Raises Conflict when the job's run logged no model."""
        name = check_model_name(check_title(new.name, "model"))
        job = await asyncio.to_thread(self._source, caller, new.job)
        logged = await self._choose_logged(job, new.model_id)
        model_id = str(logged["info"]["model_id"])
        framework, run = await asyncio.gather(
            self.registry.framework_of(job.tenant, model_id), self.tracking.get_run(job.tenant, job.run_id or "")
        )
        tags = make_tags(job, framework, metrics_of(run))
        version = await self.registry.register(job.tenant, name, model_id, job.run_id or "", new.description, tags)
        return await self._version_out(job.tenant, version, [])

    async def set_alias(self, caller: Caller, tenant: str, name: str, alias: str, version: str) -> None:
        await asyncio.to_thread(self._served, caller, "models:write", tenant)
        changed = {Thing(Kind.VERSION, name, check_version(version)), Thing(Kind.ALIAS, name, alias)}
        await self.owners.check(caller, tenant, changed)
        await self.registry.set_alias(tenant, name, alias, version)

    async def delete_alias(self, caller: Caller, tenant: str, name: str, alias: str) -> None:
        await asyncio.to_thread(self._served, caller, "models:write", tenant)
        await self.owners.check(caller, tenant, {Thing(Kind.ALIAS, name, alias)})
        await self.registry.delete_alias(tenant, name, alias)

    async def delete_version(self, caller: Caller, tenant: str, name: str, number: str) -> None:
        """Raises Conflict while an endpoint serves it."""
        served = await asyncio.to_thread(self._served, caller, "models:read", tenant)
        await self.owners.check(caller, tenant, {Thing(Kind.VERSION, name, check_version(number))})
        refuse_served([s for s in served if s.model == name and s.version == number], f"version {number} of {name}")
        await self.registry.delete_version(tenant, name, number)

    async def delete_model(self, caller: Caller, tenant: str, name: str) -> None:
        """With all its versions. Raises Conflict while an endpoint serves one."""
        served = await asyncio.to_thread(self._served, caller, "models:read", tenant)
        await self.owners.check(caller, tenant, {Thing(Kind.MODEL, name), Thing(Kind.ALL_VERSIONS, name)})
        refuse_served([s for s in served if s.model == name], f"the model {name}")
        await self.registry.delete_model(tenant, name)

    # ---- permission and rows

    def _readable(self, caller: Caller, tenant: str | None) -> list[str]:
        with self.database.reading() as tx:
            allowed = permitted_tenants(tx, caller, "models:read", own=True)
            if tenant is None:
                return sorted(allowed)
            permit(tx, caller, "models:read", tenant)
            return sorted(subtree(tx, [tenant]) & allowed)

    def _served(self, caller: Caller, action: str, tenant: str) -> list[Served]:
        with self.database.reading() as tx:
            permit(tx, caller, action, tenant)
            return store.served_versions(tx, tenant)

    def _source(self, caller: Caller, job_id: int) -> SourceJob:
        check_number(job_id, "job")
        with self.database.reading() as tx:
            job = store.get_job(tx, job_id)
            permit(tx, caller, "jobs:read", job.tenant, owner=job.user)
            permit(tx, caller, "models:write", job.tenant)
        if job.run_id is None or job.experiment_id is None:
            raise Conflict(f"job {job.id} has not started yet, so it has no run and no model")
        return job

    async def _choose_logged(self, job: SourceJob, model_id: str | None) -> Mapping[str, Any]:
        logged = await self.tracking.logged_models(job.tenant, job.experiment_id or "", job.run_id or "")
        if model_id is not None:
            found = next((model for model in logged if model["info"]["model_id"] == model_id), None)
            if found is None:
                raise NotFound(f"the run of job {job.id} logged no model {shown(model_id)}")
            return found
        if not logged:
            raise Conflict(no_model(job, await self.registry.model_files(job.tenant, job.run_id or "")))
        return logged[0]

    # ---- replies

    async def _model_out(self, workspace: str, model: RegisteredModel) -> ModelOut:
        framework = await self.registry.framework(workspace, model.latest) if model.latest else Framework()
        return ModelOut(
            name=model.name,
            tenant=workspace,
            latest_version=model.latest.version if model.latest else None,
            versions=len(model.versions),
            framework=framework.name,
            description=model.description,
            updated_at=model.updated_at,
        )

    async def _version_out(self, workspace: str, version: Version, served: Sequence[Served]) -> VersionOut:
        framework, run = await asyncio.gather(self.registry.framework(workspace, version), self._run(workspace, version.run_id))
        data = run.get("data", {})
        tags = {**from_pairs(data.get("tags")), **version.tags}
        return VersionOut(
            version=version.version,
            name=version.name,
            tenant=workspace,
            framework=framework.name,
            framework_version=framework.version,
            metrics=metrics_of(run) or tagged_metrics(version.tags),
            params=from_pairs(data.get("params")),
            source=version.source,
            run_id=version.run_id or None,
            job_id=job_number(tags.get("ltai.job", "")),
            image=tags.get("ltai.image", ""),
            flavor=tags.get("ltai.flavor", ""),
            user=tags.get("ltai.user") or tags.get("mlflow.user", ""),
            command=tags.get("ltai.command", ""),
            description=version.description,
            status=version.status,
            created_at=version.created_at,
            aliases=list(version.aliases),
            endpoints=[s.endpoint for s in served if (s.model, s.version) == (version.name, version.version)],
        )

    async def _run(self, workspace: str, run_id: str) -> Mapping[str, Any]:
        """{} when the version has no run, or it was deleted for good."""
        if not run_id:
            return {}
        try:
            return await self.tracking.get_run(workspace, run_id)
        except (NotFound, BadInput):
            return {}


def make_tags(job: SourceJob, framework: Framework, metrics: Mapping[str, float]) -> dict[str, str]:
    """Kept with the version, so that they outlive the run."""
    return {
        "framework": framework.name,
        "framework_version": framework.version,
        "ltai.job": str(job.id),
        "ltai.image": job.image,
        "ltai.flavor": job.flavor,
        "ltai.user": job.user,
        "ltai.command": " ".join(job.command)[:4000],
        **{f"metric.{name}": f"{value:.6g}" for name, value in list(metrics.items())[:20]},
    }


def job_number(tag: str) -> int | None:
    """A person may write what they like into a tag."""
    return int(tag) if tag.isdecimal() and len(tag) < 19 else None


def tagged_metrics(tags: Mapping[str, str]) -> dict[str, float]:
    found = {name.removeprefix("metric."): value for name, value in tags.items() if name.startswith("metric.")}
    return {name: float(value) for name, value in found.items() if is_finite(value)}


def no_model(job: SourceJob, files: Sequence[str]) -> str:
    """Why there is nothing to register, and what to write."""
    how = "log it in the script with mlflow.sklearn.log_model(model, name='model', input_example=X[:2]), then run the job again"
    if files:
        return (
            f"job {job.id} saved {', '.join(files[:3])} as a plain file, which carries no signature and cannot be served; "
            f"{how} (mlflow.pytorch, mlflow.tensorflow, … for other frameworks)"
        )
    return f"job {job.id} logged no model; {how}"


def refuse_served(served: Sequence[Served], what: str) -> None:
    if served:
        names = ", ".join(s.name for s in served[:3])
        raise Conflict(f"{what} is served by {names}; delete the endpoint or give it another version first")
