"""Many at once against few places: never more than the quota, everybody in turn, and nothing stays held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from ltai_services.training.controller import JobController
from sqlalchemy import func, select

from ltai_hub.backends.base import State
from ltai_hub.backends.fake import FakeBackend
from ltai_hub.db.tables import reservation_amounts, reservations
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.workloads import Workload
from tests.faults.whole import Whole

PLACES, ASKED = 3, 12


def limit(whole: Whole, cores: float | None, tenant: str = "ml", user: str | None = None) -> None:
    body = {"resource": "cpu", "limit": cores, "user": user}
    assert whole.call("root", "PUT", "tenancy", f"/tenants/{tenant}/quotas", json=body).status_code == 200


def held(whole: Whole) -> float:
    with whole.platform.database.reading() as tx:
        return float(
            tx.execute(
                select(func.coalesce(func.sum(reservation_amounts.c.amount), 0)).where(reservation_amounts.c.resource == "cpu")
            ).scalar_one()
        )


def open_reservations(whole: Whole) -> int:
    with whole.platform.database.reading() as tx:
        return int(tx.execute(select(func.count()).select_from(reservations).where(reservations.c.state != "released")).scalar_one())


def jobs(whole: Whole) -> list[dict[str, Any]]:
    """Oldest first."""
    return sorted(whole.call("root", "GET", "training", "/jobs").json()["items"], key=lambda job: int(job["id"]))


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def controller_of(whole: Whole) -> JobController:
    return JobController(whole.platform, whole.mlflow.tracking())


async def passes(controller: JobController, number: int = 3) -> None:
    for _ in range(number):
        await controller.pass_once()
        await controller.settle()


def test_submitted_at_once_they_never_hold_more_than_the_quota(whole: Whole) -> None:
    limit(whole, PLACES)
    at_once([lambda who=who: whole.a_job(who) for who in ("sam", "sue") * (ASKED // 2)])  # type: ignore[misc]
    assert held(whole) == PLACES
    waiting = [job for job in jobs(whole) if job["queue_position"]]
    assert [job["queue_position"] for job in waiting] == list(range(1, ASKED - PLACES + 1))
    for job in waiting:
        assert job["reason"].startswith("Ml has 0 cores of 3 cores left and this needs 1 core")


async def test_all_start_in_turn_and_nothing_stays_held(whole: Whole) -> None:
    limit(whole, PLACES)
    numbers = [whole.a_job("sam") for _ in range(ASKED)]
    controller, backend = controller_of(whole), whole.platform.backend
    assert isinstance(backend, FakeBackend)
    started: list[int] = []
    for _ in range(ASKED):
        await passes(controller)
        running = [int(name.removeprefix("job-")) for name, group in backend.workloads.items() if group[0].exit_code is None]
        assert len(running) <= PLACES
        started += [number for number in sorted(running) if number not in started]
        # by turns: one succeeds, one fails, one is cancelled
        if running:
            first = min(running)
            if first % 3 == 2:
                assert whole.call("sam", "POST", "training", f"/jobs/{first}/cancel").status_code == 200
            else:
                backend.finish(f"job-{first}", first % 3)
    await passes(controller)
    assert started == numbers
    assert {job["phase"] for job in jobs(whole)} == {"succeeded", "failed", "cancelled"}
    assert (held(whole), open_reservations(whole)) == (0, 0)


def test_cancelled_from_the_queue_at_once_they_leave_no_gap(whole: Whole) -> None:
    limit(whole, PLACES)
    numbers = [whole.a_job("sam") for _ in range(ASKED)]
    # every second one, two times at once
    doomed = numbers[1::2] * 2
    codes = at_once([lambda n=n: whole.call("sam", "POST", "training", f"/jobs/{n}/cancel").status_code for n in doomed])  # type: ignore[misc]
    assert sorted(codes) == [200] * (ASKED // 2) + [409] * (ASKED // 2)
    assert (held(whole), open_reservations(whole)) == (PLACES, ASKED // 2)
    left = [job for job in jobs(whole) if job["phase"] == "queued"]
    assert [job["queue_position"] for job in left] == [None] * PLACES + list(range(1, ASKED // 2 - PLACES + 1))


def test_the_limit_of_each_user_counts_beside_that_of_the_tenant(whole: Whole) -> None:
    limit(whole, 4, tenant="school")
    limit(whole, 1, user="*")
    for _ in range(3):
        whole.a_job("sam")
    whole.a_job("sue")
    assert held(whole) == 2
    limit(whole, 3, user="sam")
    assert held(whole) == 4


def test_who_waits_for_what_a_lowered_quota_never_gives_holds_up_nobody(whole: Whole) -> None:
    limit(whole, 2)
    first = whole.a_job("sam")
    wide = whole.a_job("sam", flavor="cpu-medium")
    narrow = whole.a_job("sue")
    limit(whole, 1)
    assert whole.call("sam", "POST", "training", f"/jobs/{first}/cancel").status_code == 200
    assert whole.call("sue", "GET", "training", f"/jobs/{narrow}").json()["queue_position"] is None
    assert held(whole) == 1
    assert "may use 1 core in all, and this asks for 2 cores" in whole.call("sam", "GET", "training", f"/jobs/{wide}").json()["reason"]


@pytest.mark.parametrize("resource", ["cpu", "memory", "storage"])
def test_what_can_never_fit_is_refused_and_leaves_nothing(whole: Whole, resource: str) -> None:
    whole.call("root", "PUT", "tenancy", "/tenants/physics/quotas", json={"resource": resource, "limit": 0.5})
    reply = whole.call("sam", "POST", "training", "/jobs", json={"name": "x", "command": ["x"]})
    assert (reply.status_code, reply.json()["code"]) == (409, "over-quota")
    assert (jobs(whole), open_reservations(whole)) == ([], 0)


class SlowBackend(FakeBackend):
    """Starts when ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked = asyncio.Event(), asyncio.Event()

    async def start(self, workload: Workload) -> State:
        self.asked.set()
        await self.go.wait()
        return await super().start(workload)


async def test_a_job_deleted_while_it_starts_leaves_no_process(whole: Whole) -> None:
    backend = SlowBackend()
    whole.platform = replace(whole.platform, backend=backend)
    controller = controller_of(whole)
    number = whole.a_job("sam")
    await controller.pass_once()
    await backend.asked.wait()
    assert whole.call("sam", "POST", "training", f"/jobs/{number}/cancel").status_code == 200
    assert whole.call("sam", "DELETE", "training", f"/jobs/{number}").status_code == 204
    backend.go.set()
    await passes(controller)
    assert all(process.exit_code is not None for group in backend.workloads.values() for process in group)
    assert open_reservations(whole) == 0


async def test_a_flavor_taken_out_of_the_catalogue_holds_up_nobody(whole: Whole) -> None:
    running, waiting = whole.a_job("sam", flavor="cpu-medium"), whole.a_job("sue")
    await passes(controller_of(whole))
    late = whole.a_job("sam", flavor="cpu-medium")
    catalog = whole.platform.catalog
    flavors = {name: flavor for name, flavor in catalog.flavors.items() if name != "cpu-medium"}
    whole.platform = replace(whole.platform, catalog=Catalog(flavors, catalog.images, catalog.profiles))
    backend = whole.platform.backend
    assert isinstance(backend, FakeBackend)
    for number in (running, waiting):
        backend.finish(f"job-{number}", 0)
    await passes(controller_of(whole))
    found = {job["id"]: job for job in jobs(whole)}
    assert (found[running]["phase"], found[waiting]["phase"]) == ("succeeded", "succeeded")
    assert found[late]["phase"] == "failed"
    assert "cpu-medium" in found[late]["reason"]
    assert open_reservations(whole) == 0
