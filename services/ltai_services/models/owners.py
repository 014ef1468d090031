"""Asks MLflow whose something is, and the permission table whether the caller may change it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from urllib.parse import quote

from ltai_hub.db.engine import Database
from ltai_hub.errors import Denied
from ltai_hub.tenancy.permit import permit
from ltai_hub.web.callers import Caller
from ltai_services.models.ownership import Kind, Thing, run_owner, tagged_owner
from ltai_services.registry import Registry, Version
from ltai_services.tracking import Tracking

# Metrics come one request each: whose a run or a logged model is does not change and is remembered.
REMEMBERED = {Kind.RUN, Kind.LOGGED_MODEL}
MOST_REMEMBERED = 10_000
UNKNOWN = ""


class Owners:
    def __init__(self, database: Database, tracking: Tracking) -> None:
        self._database = database
        self._tracking = tracking
        self._registry = Registry(tracking)
        self._remembered: dict[tuple[str, Thing], set[str]] = {}

    async def check(self, caller: Caller, workspace: str, things: Iterable[Thing]) -> None:
        """Only owners change a thing, or the roles that may delete what is others'. Raises Denied, NotFound."""
        for thing in things:
            others = await self.of(workspace, thing) - {caller.name}
            if others:
                await asyncio.to_thread(self._permit, caller, workspace, thing, sorted(others))

    async def of(self, workspace: str, thing: Thing) -> set[str]:
        """Everybody whose the thing is; UNKNOWN for somebody unknown; empty when it is nobody's. Raises NotFound."""
        known = self._remembered.get((workspace, thing))
        if known is None:
            known = await self._ask(workspace, thing)
            if thing.kind in REMEMBERED:
                if len(self._remembered) >= MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[workspace, thing] = known
        return known

    def _permit(self, caller: Caller, workspace: str, thing: Thing, others: list[str]) -> None:
        with self._database.reading() as tx:
            try:
                permit(tx, caller, "models:delete", workspace, owner=others[0] or "somebody else")
            except Denied:
                whose = " and ".join(name or "somebody else" for name in others[:2])
                raise Denied(
                    f"{caller.name} may not change {thing}: it belongs to {whose}; only they, a teacher or an administrator may"
                ) from None

    async def _ask(self, workspace: str, thing: Thing) -> set[str]:
        if thing.kind is Kind.RUN:
            return {run_owner(await self._tracking.get_run(workspace, thing.name))}
        if thing.kind is Kind.LOGGED_MODEL:
            found = await self._tracking.call(workspace, "GET", f"2.0/mlflow/logged-models/{quote(thing.name, safe='')}")
            return {tagged_owner(found.get("model", {}).get("info", {}))}
        if thing.kind is Kind.EXPERIMENT:
            found = await self._tracking.call(workspace, "GET", "2.0/mlflow/experiments/get", {"experiment_id": thing.name})
            return {tagged_owner(found.get("experiment", {}))}
        if thing.kind is Kind.EXPERIMENT_RUNS:
            return await self._of_runs(workspace, thing.name)
        if thing.kind is Kind.SEVERAL:
            return {UNKNOWN}
        return await self._in_registry(workspace, thing)

    async def _of_runs(self, workspace: str, experiment: str) -> set[str]:
        """Of the runs in it, as far as two different people show."""
        owners: set[str] = set()
        while len(owners) < 2:
            others = " and ".join(f"attributes.user_id != '{owner}'" for owner in sorted(owners))
            body = {"experiment_ids": [experiment], "filter": others, "max_results": 1, "run_view_type": "ACTIVE_ONLY"}
            runs = (await self._tracking.call(workspace, "POST", "2.0/mlflow/runs/search", body)).get("runs", [])
            if not runs:
                break
            owners.add(run_owner(runs[0]))
        return owners

    async def _in_registry(self, workspace: str, thing: Thing) -> set[str]:
        if thing.kind is Kind.VERSION:
            return _of_versions([await self._registry.get_version(workspace, thing.name, thing.part)])
        versions = (await self._registry.get_model(workspace, thing.name)).versions
        if thing.kind is Kind.ALL_VERSIONS:
            return _of_versions(versions)
        if thing.kind is Kind.ALIAS:
            return _of_versions(version for version in versions if thing.part in version.aliases)
        found = await self._tracking.call(workspace, "GET", "2.0/mlflow/registered-models/get", {"name": thing.name})
        # one that was registered from a job has no tag: it is whose its first version is
        owner = tagged_owner(found.get("registered_model", {}))
        return {owner} if owner else _of_versions(versions[-1:])


def _of_versions(versions: Iterable[Version]) -> set[str]:
    return {version.owner or UNKNOWN for version in versions}
