"""The promises of the seam (ltai_hub/backends/base.py), one file for every backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from ltai_hub.backends.base import Backend, KnowsCapacity, MeasuresUse, PublishesPorts
from ltai_hub.backends.fake import FakeBackend, FakeProcess
from ltai_hub.domain.workloads import Phase, Resources, Workload
from ltai_hub.errors import BadWorkload, NoCapacity
from tests.backends.conftest import make_data_folder
from tests.backends.support import RunningForkServer, a_workload, log_of, until, until_ended

SAYS_HELLO = "print('hello', flush=True)"
FAILS = "print('sorry', flush=True); raise SystemExit(3)"
RUNS = "import time; print('here', flush=True); time.sleep(60)"
LISTENS = "import os, socket, time; s = socket.socket(fileno=int(os.environ['LTAI_LISTEN_FD'])); s.listen(); time.sleep(60)"


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
    backend: Both
    homes: str

    def workload(self, code: str, **kept: object) -> Workload:
        return a_workload(code=code, home=f"{self.homes}/alice", **kept)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fork_server() -> Iterator[RunningForkServer]:
    server = RunningForkServer(make_data_folder(), ("--simulated-gpus", "2"))
    server.start()
    yield server
    server.close()


@pytest.fixture(params=["fake", "local"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "fake":
        yield Place(FakeBackend(program=pretend, accelerators=2), "/homes")  # type: ignore[arg-type]
        return
    server: RunningForkServer = request.getfixturevalue("fork_server")
    yield Place(server.backend, str(server.data / "homes"))  # type: ignore[arg-type]
    asyncio.run(server.end_all())


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
    stream = place.backend.logs(state, follow=True)
    assert await asyncio.wait_for(anext(aiter(stream)), 10) == b"here\n"


async def test_a_port_is_published_once_the_program_listens(place: Place) -> None:
    state = await place.backend.start(place.workload(LISTENS, port=True))
    seen = await until(place.backend, state, Phase.RUNNING)
    assert len(seen.addresses) == 1
    assert seen.addresses[0].startswith("127.0.0.1:")


async def test_replicas_count_as_one_workload(place: Place) -> None:
    state = await place.backend.start(place.workload(LISTENS, port=True, replicas=2))
    seen = await until(place.backend, state, Phase.RUNNING)
    assert len(seen.addresses) == 2
    await place.backend.stop(state, grace_seconds=0.5)
    assert (await until_ended(place.backend, state)).phase is Phase.FAILED


async def test_accelerators_are_handed_out_exclusively(place: Place) -> None:
    first = await place.backend.start(place.workload(RUNS, accelerators=1))
    second = await place.backend.start(place.workload(RUNS, accelerators=1))
    seen = await place.backend.observe([first, second])
    assert {one.devices for one in seen} == {("0",), ("1",)}
    with pytest.raises(NoCapacity, match="0 of 2 free"):
        await place.backend.start(place.workload(RUNS, accelerators=1))
    await place.backend.stop(first, grace_seconds=0)
    await until_ended(place.backend, first)
    third = await start_when_free(place, place.workload(RUNS, accelerators=1))
    assert (await place.backend.observe([third]))[0].devices == ("0",)


async def start_when_free(place: Place, workload: Workload) -> dict[str, object]:
    """A backend may take a moment to see that a card came back."""
    for _ in range(100):
        try:
            return await place.backend.start(workload)
        except NoCapacity:
            await asyncio.sleep(0.02)
    raise AssertionError("the accelerator never came back")


async def test_more_accelerators_than_there_are_is_final(place: Place) -> None:
    with pytest.raises(BadWorkload, match="has 2"):
        await place.backend.start(place.workload(RUNS, accelerators=3))


@pytest.mark.parametrize(
    ("kind", "count", "replicas", "reason"),
    [
        ("", 0, 100, ""),
        ("simulated-gpu", 2, 1, ""),
        ("simulated-gpu", 1, 2, ""),
        ("simulated-gpu", 3, 1, "this machine has 2 × simulated-gpu and this needs 3; choose another flavor or fewer instances"),
        ("simulated-gpu", 1, 3, "this machine has 2 × simulated-gpu and this needs 3; choose another flavor or fewer instances"),
        ("nvidia-a100", 1, 1, "this machine has no nvidia-a100; it has 2 × simulated-gpu; choose another flavor"),
    ],
)
async def test_what_can_never_run_here_is_known_before(place: Place, kind: str, count: int, replicas: int, reason: str) -> None:
    resources = Resources(cpu=1, memory=1 << 30, accelerator=kind, accelerator_count=count)
    assert await place.backend.fits(resources, replicas) == reason


async def test_what_is_taken_by_others_fits_all_the_same(place: Place) -> None:
    await place.backend.start(place.workload(RUNS, accelerators=2))
    assert await place.backend.fits(Resources(1, 1 << 30, accelerator="simulated-gpu", accelerator_count=2)) == ""


async def test_use_is_measured_while_it_runs(place: Place) -> None:
    state = await place.backend.start(place.workload(RUNS, accelerators=1))
    await until(place.backend, state, Phase.RUNNING)
    (use,) = await place.backend.measure([state])
    assert use
    assert use.memory > 0
    assert [card.simulated for card in use.accelerators] == [True]
    assert use.accelerators[0].utilisation > 0
    await place.backend.stop(state, grace_seconds=0)
    await until_ended(place.backend, state)
    assert await place.backend.measure([state]) == [None]


async def test_every_accelerator_of_the_machine_is_shown(place: Place) -> None:
    cards = await place.backend.accelerators()
    assert [card.index for card in cards] == ["0", "1"]
    assert all("Simulated" in card.name and card.simulated and card.fan is not None and card.power is not None for card in cards)
