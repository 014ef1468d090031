"""The promises of the seam (ltai_hub/backends/base.py), one file for every backend."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ltai_hub.backends.base import Backend, HasQueue, KnowsCapacity, MeasuresUse, PublishesPorts, ScalesReplicas, State, Use
from ltai_hub.backends.fake import FakeBackend, FakeProcess
from ltai_hub.domain.workloads import Phase, Resources, Workload
from ltai_hub.errors import BadWorkload, NoCapacity
from tests.backends.conftest import make_data_folder
from tests.backends.support import RunningForkServer, a_workload, log_of, until, until_ended
from tests.kubernetes.places import CARD_FLAVOR, PYTHON, a_backend_on, a_tenant_in_the_cluster, cards_of_the_cluster

SAYS_HELLO = "print('hello', flush=True)"
FAILS = "print('sorry', flush=True); raise SystemExit(3)"
RUNS = "import time; print('here', flush=True); time.sleep(60)"
# a socket that listens already, or the address to listen on: what serves takes either
LISTENS = """
import os, socket, time
fd = os.environ.get("LTAI_LISTEN_FD")
s = socket.socket(fileno=int(fd)) if fd else socket.create_server((os.environ["LTAI_HOST"], int(os.environ["LTAI_PORT"])))
s.listen()
time.sleep(60)
"""
NEEDS = "needs a cluster with Kueue and JobSet: set KUBECONFIG"


def pretend(process: FakeProcess) -> None:
    """What the fake does for each of the programs above."""
    code = process.workload.command[-1]
    process.log += {SAYS_HELLO: b"hello\n", FAILS: b"sorry\n", RUNS: b"here\n"}.get(code, b"")
    if code in (SAYS_HELLO, FAILS):
        process.finish(3 if code == FAILS else 0)


class Both(Backend, MeasuresUse, KnowsCapacity, PublishesPorts):
    """For the type checker: every backend tested here has the capabilities."""


@dataclass
class Place:
    """``where`` it is as people read it, and how many ``cards`` it has; ``answers``: programs are real and can be talked to."""

    backend: Both
    homes: str
    where: str = "machine"
    cards: int = 2
    answers: bool = True
    image: str = ""
    cpu: float = 1.0

    def workload(self, code: str, **kept: Any) -> Workload:
        made = a_workload(code=code, home=f"{self.homes}/alice", flavor=CARD_FLAVOR if "accelerators" in kept else "", **kept)
        return replace(made, image=self.image, resources=replace(made.resources, cpu=self.cpu, memory=made.resources.memory // 4))


@pytest.fixture(scope="module")
def fork_server() -> Iterator[RunningForkServer]:
    server = RunningForkServer(make_data_folder(), ("--simulated-gpus", "2"))
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def tenant_in_the_cluster() -> Iterator[str]:
    """The name of its instance; its one tenant may have two cards at a time."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip(NEEDS)
    with a_tenant_in_the_cluster(instance := f"kc-{os.getpid()}", "demo"):
        yield instance


@pytest.fixture(params=["fake", "local", pytest.param("kubernetes", marks=pytest.mark.kubernetes)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "fake":
        yield Place(FakeBackend(program=pretend, accelerators=2), "/homes", answers=False)  # type: ignore[arg-type]
    elif request.param == "local":
        server: RunningForkServer = request.getfixturevalue("fork_server")
        yield Place(server.backend, str(server.data / "homes"))  # type: ignore[arg-type]
        await server.end_all()
    else:
        async with a_backend_on(request.getfixturevalue("tenant_in_the_cluster"), tmp_path) as backend:
            yield Place(backend, "/home", "cluster", await cards_of_the_cluster(backend), image=PYTHON, cpu=0.05)  # type: ignore[arg-type]


async def test_a_program_that_ends_well_has_succeeded_with_its_log_and_times(place: Place) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    state = await place.backend.start(place.workload(SAYS_HELLO))
    seen = await until_ended(place.backend, state)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.SUCCEEDED, 0, "")
    assert seen.started_at
    assert seen.ended_at
    assert before < seen.started_at <= seen.ended_at <= datetime.now(UTC)
    assert await log_of(place.backend, state) == "hello\n"


async def test_a_program_that_fails_has_failed_with_its_exit_code(place: Place) -> None:
    state = await place.backend.start(place.workload(FAILS))
    seen = await until_ended(place.backend, state)
    assert (seen.phase, seen.exit_code, seen.reason) == (Phase.FAILED, 3, "exit code 3")


async def test_what_was_started_is_found_by_its_name_although_nobody_noted_it(place: Place) -> None:
    workload = place.workload(SAYS_HELLO)
    assert await place.backend.find(workload.kind, workload.name, workload.tenant) is None
    state = await place.backend.start(workload)
    assert await place.backend.find(workload.kind, workload.name, workload.tenant) == state


async def test_starting_the_same_name_again_starts_nothing_new(place: Place) -> None:
    workload = place.workload(SAYS_HELLO)
    first = await place.backend.start(workload)
    await until_ended(place.backend, first)
    assert await place.backend.start(workload) == first
    assert await log_of(place.backend, first) == "hello\n"


async def test_the_state_is_all_another_process_needs(place: Place) -> None:
    import json

    state = json.loads(json.dumps(await place.backend.start(place.workload(RUNS))))
    assert (await until(place.backend, state, Phase.RUNNING)).phase is Phase.RUNNING


async def test_stopping_ends_it_and_may_be_repeated(place: Place) -> None:
    state = await place.backend.start(place.workload(RUNS))
    await until(place.backend, state, Phase.RUNNING)
    await place.backend.stop(state, grace_seconds=1)
    await place.backend.stop(state, grace_seconds=1)
    seen = await until_ended(place.backend, state)
    assert (seen.phase, seen.reason) == (Phase.FAILED, "stopped")
    await place.backend.stop(state)


async def test_stop_returns_at_once(place: Place) -> None:
    state = await place.backend.start(place.workload(RUNS))
    began = time.monotonic()
    await place.backend.stop(state, grace_seconds=30)
    assert time.monotonic() - began < 1


async def test_what_is_gone_is_no_error(place: Place) -> None:
    gone = {"name": "job-that-never-was"}
    (seen,) = await place.backend.observe([gone])
    assert seen.phase is Phase.GONE
    await place.backend.stop(gone)
    await place.backend.forget(gone)
    assert await place.backend.measure([gone]) == [None]
    assert await log_of(place.backend, gone) == ""


async def test_many_are_observed_at_once_in_the_same_order(place: Place) -> None:
    states = [await place.backend.start(place.workload(code)) for code in (RUNS, FAILS, SAYS_HELLO)]
    for state in states[1:]:
        await until_ended(place.backend, state)
    await until(place.backend, states[0], Phase.RUNNING)
    seen = await place.backend.observe([states[2], {"name": "nothing"}, states[0], states[1]])
    assert [one.phase for one in seen] == [Phase.SUCCEEDED, Phase.GONE, Phase.RUNNING, Phase.FAILED]


async def test_forgetting_removes_what_is_kept_and_may_be_repeated(place: Place) -> None:
    state = await place.backend.start(place.workload(SAYS_HELLO))
    await until_ended(place.backend, state)
    await place.backend.forget(state)
    await place.backend.forget(state)
    (seen,) = await place.backend.observe([state])
    assert seen.phase is Phase.GONE


async def test_forgetting_what_still_runs_does_nothing(place: Place) -> None:
    state = await place.backend.start(place.workload(RUNS))
    await until(place.backend, state, Phase.RUNNING)
    await place.backend.forget(state)
    (seen,) = await place.backend.observe([state])
    assert seen.phase is Phase.RUNNING


async def test_a_log_is_read_from_an_offset(place: Place) -> None:
    state = await place.backend.start(place.workload(SAYS_HELLO))
    await until_ended(place.backend, state)
    assert b"".join([chunk async for chunk in place.backend.logs(state, offset=3)]) == b"lo\n"


async def test_following_a_log_shows_it_live(place: Place) -> None:
    state = await place.backend.start(place.workload(RUNS))
    # asked for before there is one; how long a start takes is another matter
    first = asyncio.ensure_future(anext(aiter(place.backend.logs(state, follow=True))))
    await until(place.backend, state, Phase.RUNNING)
    assert await asyncio.wait_for(first, 10) == b"here\n"


async def test_a_port_is_published_once_the_program_listens(place: Place) -> None:
    state = await place.backend.start(place.workload(LISTENS, port=True))
    seen = await until(place.backend, state, Phase.RUNNING)
    (address,) = seen.addresses
    host, _, port = address.rpartition(":")
    if place.answers:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()


async def test_replicas_count_as_one_workload(place: Place) -> None:
    state = await place.backend.start(place.workload(LISTENS, port=True, replicas=2))
    seen = await until(place.backend, state, Phase.RUNNING)
    assert len(seen.addresses) == (1 if isinstance(place.backend, ScalesReplicas) else 2)
    await place.backend.stop(state, grace_seconds=0.5)
    assert (await until_ended(place.backend, state)).phase is Phase.FAILED


async def test_accelerators_are_handed_out_exclusively(place: Place) -> None:
    if place.cards < 2:
        pytest.skip(f"this {place.where} has {place.cards} accelerators")
    first = await place.backend.start(place.workload(RUNS, accelerators=1))
    second = await place.backend.start(place.workload(RUNS, accelerators=1))
    seen = [await until(place.backend, state, Phase.RUNNING) for state in (first, second)]
    third = place.workload(RUNS, accelerators=1)
    if isinstance(place.backend, HasQueue):
        left = await place.backend.start(third)
        waiting = await until(place.backend, left, Phase.QUEUED)
        assert waiting.reason
        assert await until_only_waits(place.backend, [left, first]) == [True, False]
    else:
        assert {one.devices for one in seen} == {("0",), ("1",)}
        with pytest.raises(NoCapacity, match="0 of 2 free"):
            await place.backend.start(third)
    await place.backend.stop(first, grace_seconds=0)
    await until_ended(place.backend, first)
    running = await until(place.backend, await start_when_free(place, third), Phase.RUNNING)
    assert running.devices == seen[0].devices


async def until_only_waits(backend: HasQueue, states: list[dict[str, object]]) -> list[bool]:
    """Of the first; in doubt, for example a moment after it was started, the answer is no."""
    for _ in range(100):
        if (found := await backend.only_wait(states))[0]:
            break
        await asyncio.sleep(0.1)
    return found


async def start_when_free(place: Place, workload: Workload) -> dict[str, object]:
    """A backend may take a moment to see that a card came back."""
    for _ in range(100):
        try:
            return await place.backend.start(workload)
        except NoCapacity:
            await asyncio.sleep(0.02)
    raise AssertionError("the accelerator never came back")


async def test_more_accelerators_than_there_are_is_final(place: Place) -> None:
    with pytest.raises(BadWorkload, match=f"has {place.cards or 'no'}"):
        await place.backend.start(place.workload(RUNS, accelerators=place.cards + 1))


@pytest.mark.parametrize(
    ("kind", "count", "replicas", "reason"),
    [
        ("", "0", "100", ""),
        ("simulated-gpu", "all", "1", ""),
        ("simulated-gpu", "1", "all", ""),
        (
            "simulated-gpu",
            "more",
            "1",
            "this {where} has {all} × simulated-gpu and this needs {more}; choose another flavor or fewer instances",
        ),
        (
            "simulated-gpu",
            "1",
            "more",
            "this {where} has {all} × simulated-gpu and this needs {more}; choose another flavor or fewer instances",
        ),
        ("nvidia-a100", "1", "1", "this {where} has no nvidia-a100; it has {all} × simulated-gpu; choose another flavor"),
    ],
)
async def test_what_can_never_run_here_is_known_before(place: Place, kind: str, count: str, replicas: str, reason: str) -> None:
    """``all`` the cards there are, or one ``more``."""
    if not place.cards:
        pytest.skip(f"this {place.where} has no accelerators")
    amounts = {"all": place.cards, "more": place.cards + 1}
    resources = Resources(cpu=1, memory=1 << 30, accelerator=kind, accelerator_count=amounts.get(count, 0) or int(count))
    said = await place.backend.fits(resources, amounts.get(replicas, 0) or int(replicas))
    assert said == reason.format(where=place.where, **amounts)


async def test_what_is_taken_by_others_fits_all_the_same(place: Place) -> None:
    if place.cards < 2:
        pytest.skip(f"this {place.where} has {place.cards} accelerators")
    await place.backend.start(place.workload(RUNS, accelerators=2))
    assert await place.backend.fits(Resources(1, 1 << 30, accelerator="simulated-gpu", accelerator_count=2)) == ""


async def test_use_is_measured_while_it_runs(place: Place) -> None:
    state = await place.backend.start(place.workload(RUNS, accelerators=1))
    await until(place.backend, state, Phase.RUNNING)
    use = await until_measured(place, state)
    if await place.backend.accelerators():
        assert [card.simulated for card in use.accelerators] == [True]
        assert use.accelerators[0].utilisation > 0
    await place.backend.stop(state, grace_seconds=0)
    await until_ended(place.backend, state)
    assert await place.backend.measure([state]) == [None]


async def until_measured(place: Place, state: State) -> Use:
    """A cluster's numbers are some seconds old."""
    for _ in range(400):
        (use,) = await place.backend.measure([state])
        if use is not None and use.memory > 0:
            return use
        await asyncio.sleep(0.1)
    raise AssertionError("its use was never known")


@pytest.mark.parametrize("place", ["fake", "local"], indirect=True)
async def test_every_accelerator_of_the_machine_is_shown(place: Place) -> None:
    """What the cards of a cluster do is known to their vendors' exporters only."""
    cards = await place.backend.accelerators()
    assert [card.index for card in cards] == ["0", "1"]
    assert all("Simulated" in card.name and card.simulated and card.fan is not None and card.power is not None for card in cards)
