"""What an API server answers, or does not answer, becomes our own errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from kubernetes_asyncio.client import Configuration

from ltai_hub.backends.kubernetes import api
from ltai_hub.backends.kubernetes.api import JOBSET, POD, AlreadyThere, Cluster, Refused
from ltai_hub.errors import BadWorkload, Problem, TryLater

JOB = {"metadata": {"name": "job-7", "namespace": "n"}}


class SmallServer:
    """Hands out ``answers`` in turn, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = [(200, {})]
        self.asked: list[web.Request] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(body, bytes):
            return web.Response(status=status, body=body)
        return web.json_response(body, status=status)


@pytest.fixture
async def server() -> AsyncIterator[SmallServer]:
    small = SmallServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", small.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    small.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield small
    await runner.cleanup()


@pytest.fixture
async def cluster(server: SmallServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    monkeypatch.setattr(api, "PAUSE_SECONDS", 0.01)
    made = Cluster(Configuration(host=f"http://127.0.0.1:{server.port}"))
    yield made
    await made.close()


def said(message: str) -> dict[str, str]:
    return {"kind": "Status", "message": message}


async def test_a_server_that_is_away_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PAUSE_SECONDS", 0.01)
    cluster = Cluster(Configuration(host="http://127.0.0.1:9"))
    with pytest.raises(TryLater, match="the cluster does not answer"):
        await cluster.list(JOBSET, "n")
    with pytest.raises(TryLater):
        await cluster.create(JOBSET, JOB)
    await cluster.close()


async def test_a_short_trouble_is_not_noticed(server: SmallServer, cluster: Cluster) -> None:
    server.answers = [(503, said("leader lost")), (429, said("slow down")), (200, JOB)]
    assert await cluster.find(JOBSET, "n", "job-7") == JOB
    assert len(server.asked) == 3


async def test_what_is_not_there_is_none_and_removing_it_is_false(server: SmallServer, cluster: Cluster) -> None:
    server.answers = [(404, said("not found"))]
    assert await cluster.find(JOBSET, "n", "job-7") is None
    assert await cluster.patch(JOBSET, "n", "job-7", {}) is None
    assert await cluster.delete(JOBSET, "n", "job-7") is False


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (409, 'jobsets "job-7" already exists', AlreadyThere),
        (422, "spec.replicas: must be positive", Refused),
        (400, "admission webhook denied the request", Refused),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', Refused),
        (403, 'jobsets is forbidden: User "x" cannot create resource "jobsets"', Problem),
        (404, 'namespaces "n" not found', TryLater),
        (403, "unable to create new content in namespace n because it is being terminated", TryLater),
        (500, "failed calling webhook: connection refused", TryLater),
        (409, "the object has been modified; please apply your changes to the latest version", TryLater),
    ],
)
async def test_refusals_are_told_apart(server: SmallServer, cluster: Cluster, status: int, message: str, error: type[Problem]) -> None:
    server.answers = [(status, said(message))]
    with pytest.raises(error) as caught:
        await cluster.create(JOBSET, JOB)
    assert message in caught.value.message


async def test_a_missing_right_is_not_the_persons_fault(server: SmallServer, cluster: Cluster) -> None:
    server.answers = [(403, said('jobsets is forbidden: User "x" cannot create resource "jobsets"'))]
    with pytest.raises(Problem) as caught:
        await cluster.create(JOBSET, JOB)
    assert not isinstance(caught.value, BadWorkload)


async def test_an_old_list_is_paged_through(server: SmallServer, cluster: Cluster) -> None:
    first = {"metadata": {"continue": "more"}, "items": [{"a": 1}]}
    server.answers = [(200, first), (200, {"metadata": {}, "items": [{"a": 2}]})]
    assert await cluster.list(POD, "n", {"x": "y"}, cached=False) == [{"a": 1}, {"a": 2}]
    assert server.asked[1].query["continue"] == "more"
    assert server.asked[0].query["labelSelector"] == "x=y"


async def test_changes_are_told_one_by_one(server: SmallServer, cluster: Cluster) -> None:
    lines = [{"type": "ADDED", "object": JOB}, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}]
    server.answers = [(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))]
    seen = [change async for change in cluster.watch(JOBSET, "n", {"x": "y"}, "5")]
    assert [kind for kind, _ in seen] == ["ADDED", "BOOKMARK"]
    assert server.asked[0].query["resourceVersion"] == "5"


async def test_a_watch_that_is_too_old_says_so(server: SmallServer, cluster: Cluster) -> None:
    server.answers = [(200, json.dumps({"type": "ERROR", "object": {"code": 410, "message": "too old"}}).encode() + b"\n")]
    with pytest.raises(TryLater, match="too old"):
        [change async for change in cluster.watch(JOBSET, "n", {}, "5")]


async def test_a_log_that_is_not_there_is_empty(server: SmallServer, cluster: Cluster) -> None:
    server.answers = [(404, said("pods not found"))]
    assert [chunk async for chunk in cluster.log("n", "p", "main")] == []
    server.answers = [(200, b"one\ntwo\n")]
    assert b"".join([chunk async for chunk in cluster.log("n", "p", "main")]) == b"one\ntwo\n"


async def test_names_of_people_cannot_lead_to_another_path(server: SmallServer, cluster: Cluster) -> None:
    await cluster.find(POD, "n/../other", "a/b")
    assert server.asked[0].raw_path == "/api/v1/namespaces/n%2F..%2Fother/pods/a%2Fb"
