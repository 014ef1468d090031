"""Keeps the cluster's tenants, where the backend has a queue, as the tree and the quotas say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from ltai_hub.backends.base import HasQueue, TenantShare
from ltai_hub.controllers.controller import Controller
from ltai_hub.domain.tenants import Quota, Tenant
from ltai_hub.errors import Problem
from ltai_hub.service import Platform
from ltai_hub.tenancy import store
from ltai_services.tenancy.store import ALL, note_cluster

# a pass over what is all right costs the API server a few lists; thousands of tenants are looked at less often
SECONDS, MOST_SECONDS, SPARING = 5.0, 30.0, 10


def make_shares(tenants: Sequence[Tenant], quotas: Sequence[Quota]) -> list[TenantShare]:
    """``quotas``: of the tenants as a whole."""
    guaranteed: dict[str, dict[str, float]] = {}
    limits: dict[str, dict[str, float]] = {}
    for quota in quotas:
        limits.setdefault(quota.tenant, {})[quota.resource] = quota.limit
        if quota.guaranteed:
            guaranteed.setdefault(quota.tenant, {})[quota.resource] = quota.guaranteed
    return [TenantShare(t.slug, t.parent, t.name, guaranteed.get(t.slug, {}), limits.get(t.slug, {}), t.weight) for t in tenants]


class TenantController(Controller):
    name = "tenants"

    def __init__(self, platform: Platform, backend: HasQueue) -> None:
        super().__init__()
        self._platform = platform
        self._backend = backend
        self.interval = SECONDS

    async def pass_once(self) -> None:
        began = time.monotonic()
        shares = await asyncio.to_thread(self._look)
        try:
            sentences = await self._backend.mirror(shares)
        except Problem as problem:
            # what is known of each stays as it was
            await asyncio.to_thread(self._record, [], {ALL: problem.message})
        else:
            await asyncio.to_thread(self._record, shares, sentences)
        self.interval = min(max(SECONDS, SPARING * (time.monotonic() - began)), MOST_SECONDS)

    def _look(self) -> list[TenantShare]:
        with self._platform.database.reading() as tx:
            return make_shares(store.all_tenants(tx), store.tenant_quotas(tx))

    def _record(self, shares: Sequence[TenantShare], sentences: Mapping[str, str]) -> None:
        told = {name: sentences.get(name, "") for name in (ALL, *(share.tenant for share in shares))}
        with self._platform.database.transaction() as tx:
            note_cluster(tx, told, self._platform.clock())
