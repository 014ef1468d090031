from __future__ import annotations

from pathlib import Path

import pytest

from ltai_hub.accounts.service import Accounts
from ltai_hub.domain.workloads import Kind
from ltai_hub.errors import ConfigProblem, NotLoggedIn
from ltai_hub.service import Platform
from ltai_hub.tenancy import store
from ltai_hub.units import utc_now
from ltai_hub.web.callers import TokenResolver
from ltai_hub.web.workload_tokens import WorkloadTokens
from tests.services.platform import a_platform


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """Job 7 of sam has its reservation."""
    platform = a_platform(tmp_path)
    with platform.database.transaction() as tx:
        ml = store.get_tenant(tx, "ml")
        store.insert_reservation(tx, Kind.JOB, "7", "sam", ml.id, "cpu-small", 1, {"cpu": 1.0}, utc_now())
    return platform


def a_token(platform: Platform) -> str:
    return platform.workload_tokens.make(Kind.JOB, "7", "sam", ["models"])


async def test_it_is_its_owners_for_the_named_services_and_the_hub_is_not_asked(platform: Platform) -> None:
    # nothing answers at this address
    caller = await TokenResolver("http://127.0.0.1:1", platform.workload_tokens).caller(a_token(platform))
    assert (caller.name, caller.admin) == ("sam", False)
    assert [caller.may_use(service) for service in ("models", "training")] == [True, False]


async def test_it_ends_with_its_workload(platform: Platform) -> None:
    token = a_token(platform)
    with platform.database.transaction() as tx:
        store.release_open(tx, Kind.JOB, "7", utc_now())
    with pytest.raises(NotLoggedIn):
        await TokenResolver("http://127.0.0.1:1", platform.workload_tokens).caller(token)


def test_nobody_else_can_make_or_change_one(platform: Platform) -> None:
    token = a_token(platform)
    others = WorkloadTokens("6" * 64, platform.database).make(Kind.JOB, "7", "sam", ["models"])
    body, _, signature = token.removeprefix("ltai.").rpartition(".")
    shuffled = f"ltai.{body[:-2]}{body[-1]}{body[-2]}.{signature}"
    for forged in (others, shuffled, token[:-3], "ltai.", "ltai.x.y", "ltai.\0"):
        assert platform.workload_tokens.caller(forged) is None


def test_a_disabled_account_is_refused(platform: Platform) -> None:
    token = a_token(platform)
    Accounts(platform.database).update("sam", disabled=True)
    assert platform.workload_tokens.caller(token) is None


def test_without_a_key_there_are_none(platform: Platform) -> None:
    with pytest.raises(ConfigProblem, match="LTAI_SIGNING_KEY"):
        WorkloadTokens("", platform.database)
