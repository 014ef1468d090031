"""The platform core as the hub process holds it: one instance, made at first use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import ParamSpec, TypeVar

from ltai_hub.accounts.service import Accounts
from ltai_hub.catalog import load_catalog
from ltai_hub.db.engine import Database
from ltai_hub.domain.catalog import Catalog
from ltai_hub.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

# Two at once: password hashes take 46 MiB and a core each, and sqlite has one writer anyway
THREADS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="ltai")


@dataclass(frozen=True)
class HubCore:
    settings: Settings
    database: Database
    accounts: Accounts
    catalog: Catalog


@lru_cache(maxsize=1)
def hub_core() -> HubCore:
    settings = Settings()
    database = Database(settings.database)
    return HubCore(settings, database, Accounts(database), load_catalog(settings.catalog))


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run something that blocks beside the hub's loop."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, partial(call, *args, **kwargs))
