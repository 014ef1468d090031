"""The notebook server's way to the services: whose token, whose request, how large, how live."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.front.conftest import EchoHandler, NotebookServer, notebook_server

ECHO = "/ltai/api/training/api/v1/jobs"


def test_a_request_reaches_the_service_with_the_servers_token_and_nothing_of_the_callers(server: NotebookServer) -> None:
    with server.client(Cookie="private=1", Authorization="token of-the-page") as client:
        told = client.get(f"{ECHO}?q=a%20b&limit=5").json()
    assert told["uri"] == "/services/training/api/v1/jobs?q=a%20b&limit=5"
    assert told["headers"]["Authorization"] == "token secret-of-anna"
    assert "Cookie" not in told["headers"]


def test_escaped_names_in_the_path_stay_escaped(server: NotebookServer) -> None:
    with server.client() as client:
        told = client.get("/ltai/api/models/api/v1/models/ml-101/a%2Fb%20%E6%B7%B1").json()
    assert told["uri"] == "/services/models/api/v1/models/ml-101/a%2Fb%20%E6%B7%B1"


def test_status_and_request_id_come_back_but_no_cookie(server: NotebookServer) -> None:
    with server.client() as client:
        answer = client.get("/ltai/api/training/teapot")
    assert answer.status_code == 418
    assert answer.headers["X-Request-ID"] == "req-1"
    assert "stolen" not in answer.headers.get("Set-Cookie", "")


def test_all_methods_and_bodies_pass(server: NotebookServer) -> None:
    with server.client() as client:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            told = client.request(method, ECHO, content=b"x" * 1000).json()
            assert (told["method"], told["bytes"]) == (method, 1000)
        assert client.post(ECHO).json()["bytes"] == 0


def test_a_large_body_of_unknown_length_passes(server: NotebookServer) -> None:
    pieces = (b"y" * (1 << 20) for _ in range(40))
    with server.client() as client:
        assert client.post(ECHO, content=pieces).json()["bytes"] == 40 << 20


def test_a_log_arrives_while_it_is_written(server: NotebookServer) -> None:
    EchoHandler.release.clear()
    with server.client() as client, client.stream("GET", "/ltai/api/training/drip") as answer:
        pieces = answer.iter_text()
        assert next(pieces) == "first\n"
        EchoHandler.release.set()
        assert "".join(pieces) == "second\n"
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_who_leaves_a_log_leaves_no_connection_behind(server: NotebookServer) -> None:
    EchoHandler.release.clear()
    EchoHandler.left.clear()
    with server.client() as client, client.stream("GET", "/ltai/api/training/drip") as answer:
        next(answer.iter_text())
    assert EchoHandler.left.wait(5)


def test_half_an_answer_is_not_taken_for_a_whole_one(server: NotebookServer) -> None:
    with server.client() as client:
        try:
            client.get("/ltai/api/training/half")
        except httpx.RemoteProtocolError:
            return
    raise AssertionError("the caller must notice")


def test_only_the_owner_may_call(server: NotebookServer) -> None:
    with server.client("bob") as client:
        answer = client.get(ECHO)
        assert client.get("/ltai/info").status_code == 403
    assert answer.status_code == 403
    assert answer.json()["detail"] == "only anna may use LtAI from this server; open your own environment"


def test_a_write_with_a_cookie_needs_the_xsrf_header(server: NotebookServer) -> None:
    with httpx.Client(base_url=server.url, headers={"X-User": "anna"}, cookies={"_xsrf": "word"}) as client:
        assert client.post(ECHO).status_code == 403
        assert client.post(ECHO, headers={"X-XSRFToken": "word"}).status_code == 200


def test_nobody_is_refused(server: NotebookServer) -> None:
    assert httpx.get(f"{server.url}{ECHO}", follow_redirects=False).status_code in (302, 401, 403)


def test_paths_that_climb_are_refused(server: NotebookServer) -> None:
    with server.client() as client:
        assert client.get("/ltai/api/training/%2e%2e/hub/api/users").status_code == 400


def test_the_page_learns_who_and_where(server: NotebookServer) -> None:
    with server.client() as client:
        assert client.get("/ltai/info").json() == {"connected": True, "user": "anna", "server": "big", "console": "/services/console/"}


def test_a_service_that_does_not_answer_is_a_sentence(tmp_path: Path) -> None:
    environ = {"LTAI_SERVICES_URL": "http://127.0.0.1:9", "JUPYTERHUB_API_TOKEN": "t", "JUPYTERHUB_USER": "anna"}
    with notebook_server(tmp_path, **environ) as server, server.client() as client:
        answer = client.get(ECHO)
    assert (answer.status_code, answer.json()["code"]) == (503, "unreachable")
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_jupyterlab_without_a_hub_says_so(tmp_path: Path) -> None:
    with notebook_server(tmp_path) as server, server.client("whoever") as client:
        answer = client.get(ECHO)
        assert client.get("/ltai/info").json()["connected"] is False
    assert (answer.status_code, answer.json()["code"]) == (503, "no-hub")
    assert "not connected" in answer.json()["detail"]
