"""MLflow behind the login: who gets in, into which workspace, and what stays closed."""

from __future__ import annotations

import base64
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from ltai_services.models.login import COOKIE, STATE_COOKIE, BrowserLogin, Sent
from ltai_services.models.rules import classify
from ltai_services.tracking import PREFIX
from starlette.testclient import TestClient

from ltai_hub.derived import MLFLOW_CLIENT, derive
from ltai_hub.errors import BadInput, Denied
from ltai_hub.settings import Settings

API = f"{PREFIX}/api/2.0/mlflow"
SAM = {"Authorization": "Bearer sam"}
TINA = {"Authorization": "Bearer tina"}


def make_run(client: TestClient, who: dict[str, str] = SAM) -> str:
    reply = client.post(f"{API}/runs/create", headers=who, json={"experiment_id": "0", "run_name": "数字"})
    assert reply.status_code == 200, reply.text
    return str(reply.json()["run"]["info"]["run_id"])


def test_a_run_lands_in_the_tenants_workspace_and_its_default_experiment(client: TestClient) -> None:
    run = client.get(f"{API}/runs/get", params={"run_id": make_run(client)}, headers=SAM).json()["run"]
    assert run["info"]["artifact_uri"].startswith("mlflow-artifacts:/workspaces/ml/")
    found = client.get(f"{API}/experiments/get?experiment_id=0", headers=SAM).json()["experiment"]
    assert (found["name"], found["experiment_id"]) == ("Default", run["info"]["experiment_id"])


def test_a_tenant_does_not_see_what_is_anothers(client: TestClient) -> None:
    run_id = make_run(client)
    for where in ({}, {"X-MLFLOW-WORKSPACE": "physics"}):
        assert client.get(f"{API}/runs/get", params={"run_id": run_id}, headers={**TINA, **where}).status_code == 404
    assert client.get(f"{API}/runs/get", params={"run_id": run_id}, headers={**TINA, "X-MLFLOW-WORKSPACE": "ml"}).status_code == 200


@pytest.mark.parametrize("workspace", ["physics", "school", "nonsense", "ml/../physics", "*"])
def test_a_workspace_one_is_no_member_of_is_refused(client: TestClient, workspace: str) -> None:
    reply = client.post(f"{API}/runs/search", headers={**SAM, "X-MLFLOW-WORKSPACE": workspace}, json={"experiment_ids": ["1"]})
    assert reply.status_code in (403, 404)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer wrong", "Bearer", "Digest x", "Basic !!!", "Basic " + base64.b64encode(b"sam:").decode()]
)
def test_without_a_valid_token_nothing_is_told(client: TestClient, authorization: str) -> None:
    reply = client.get(f"{API}/experiments/search?max_results=5", headers={"Authorization": authorization} if authorization else {})
    assert reply.status_code == 401
    assert reply.json()["error_code"] == "UNAUTHENTICATED"


def test_name_and_token_work_as_basic_authentication(client: TestClient) -> None:
    basic = base64.b64encode(b"sam:sam").decode()
    assert client.get(f"{API}/experiments/search?max_results=5", headers={"Authorization": f"Basic {basic}"}).status_code == 200


def test_a_token_for_another_service_is_refused(client: TestClient) -> None:
    reply = client.get(f"{API}/experiments/search?max_results=5", headers={"Authorization": "Bearer limited-sam"})
    assert (reply.status_code, "models" in reply.json()["message"]) == (403, True)


def test_a_viewer_reads_and_does_not_write(client: TestClient, settled: Any) -> None:
    from ltai_hub.domain.permissions import Role
    from ltai_hub.tenancy import store
    from tests.factories import NOW

    with settled.database.transaction() as tx:
        store.put_member(tx, store.get_tenant(tx, "ml"), "eve", Role.VIEWER, NOW)
    eve = {"Authorization": "Bearer eve"}
    run_id = make_run(client)
    assert client.get(f"{API}/runs/get", params={"run_id": run_id}, headers=eve).status_code == 200
    assert client.post(f"{API}/runs/search", headers=eve, json={"experiment_ids": ["0"]}).status_code == 200
    assert client.post(f"{API}/runs/create", headers=eve, json={"experiment_id": "0"}).status_code == 403
    assert (
        client.post(f"{API}/runs/log-metric", headers=eve, json={"run_id": run_id, "key": "a", "value": 1, "timestamp": 1}).status_code
        == 403
    )
    assert client.request("DELETE", f"{API}/registered-models/delete", headers=eve, json={"name": "x"}).status_code == 403


def test_workspaces_are_listed_for_members_only_and_never_changed(client: TestClient) -> None:
    path = f"{PREFIX}/ajax-api/3.0/mlflow/workspaces"
    assert client.get(path, headers=SAM).json()["workspaces"] == [{"name": "ml", "description": ""}]
    assert client.get(f"{path}/physics", headers=SAM).status_code == 404
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        assert client.request(method, path, headers=SAM, json={"name": "mine"}).status_code == 403
        assert client.request(method, f"{path}/ml", headers=SAM, json={}).status_code == 403


def test_large_artifacts_stream_through_in_both_directions(client: TestClient) -> None:
    run_id = make_run(client)
    content = bytes(range(256)) * 40_000
    experiment = client.get(f"{API}/experiments/get?experiment_id=0", headers=SAM).json()["experiment"]["experiment_id"]
    path = f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/workspaces/ml/{experiment}/{run_id}/artifacts/数字 1.bin"
    assert client.put(path, headers=SAM, content=content).status_code == 200
    assert client.get(path, headers=SAM).content == content
    assert client.get(path, headers=TINA).status_code >= 400


@pytest.mark.parametrize("tail", ["../../physics/1/x", "..%2F..%2Fphysics%2F1/x", "a//b", "%2e%2e/x"])
def test_paths_with_detours_are_refused(app: Any, tail: str) -> None:
    raw = f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/{tail}"
    with TestClient(app, raise_server_exceptions=False) as client:
        request = httpx.Request("GET", "http://testserver/", headers=SAM)
        request.url = httpx.URL("http://testserver").copy_with(raw_path=raw.encode())
        assert client.send(request).status_code in (400, 404)


@pytest.mark.parametrize(
    "path", ["gateway/secrets/create", "webhooks", "users/create", "assistant/message", "scorer/invoke", "jobs/1/cancel"]
)
def test_what_makes_the_server_call_others_is_closed(client: TestClient, path: str) -> None:
    assert client.post(f"{API}/{path}", headers=SAM, json={}).status_code == 403


def test_a_version_is_deleted_by_its_owner_or_a_leader_only(client: TestClient) -> None:
    run = client.get(f"{API}/runs/get", params={"run_id": make_run(client)}, headers=SAM).json()["run"]["info"]
    source = {"source": run["artifact_uri"], "run_id": run["run_id"], "tags": [{"key": "ltai.user", "value": "sue"}]}
    for name in ("one", "two"):
        client.post(f"{API}/registered-models/create", headers=SAM, json={"name": name})
        made = client.post(f"{API}/model-versions/create", headers=SAM, json={"name": name, **source})
        assert made.status_code == 200, made.text
    sue, there = {"Authorization": "Bearer sue"}, {**TINA, "X-MLFLOW-WORKSPACE": "ml"}
    path = f"{API}/registered-models/delete"
    assert client.request("DELETE", path, headers=sue, json={"name": "one"}).status_code == 403
    version = {"name": "one", "version": "1"}
    assert client.request("DELETE", f"{API}/model-versions/delete", headers=sue, json=version).status_code == 403
    # MLflow does not read the query of a DELETE
    assert client.request("DELETE", f"{API}/model-versions/delete", headers=sue, params=version).status_code == 400
    assert client.get(f"{API}/model-versions/get", headers=sue, params=version).status_code == 200
    assert client.request("DELETE", path, headers=SAM, json={"name": "one"}).status_code == 200
    assert client.request("DELETE", path, headers=there, json={"name": "two"}).status_code == 200


def test_the_users_name_cannot_be_forged_and_mlflow_never_sees_the_token(client: TestClient) -> None:
    assert client.get(f"{PREFIX}/version", headers={**SAM, "X-LTAI-User": "ada", "Host": "evil.example"}).status_code == 200


# ---- the rules, without a server


@pytest.mark.parametrize(
    ("method", "rest", "action"),
    [
        ("GET", "/", "models:read"),
        ("GET", "/static-files/x.js", "models:read"),
        ("POST", "/api/2.0/mlflow/runs/search", "models:read"),
        ("POST", "/ajax-api/2.0/mlflow/logged-models/search", "models:read"),
        ("POST", "/graphql", "models:read"),
        ("POST", "/api/2.0/mlflow/runs/create", "models:write"),
        ("POST", "/api/2.0/mlflow/runs/delete", "models:write"),
        ("PATCH", "/api/2.0/mlflow/logged-models/m-1/tags", "models:write"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/workspaces/ml/x", "models:write"),
        ("POST", "/api/2.0/mlflow/runs/search/../create", ""),
        ("POST", "/api/2.0/mlflow/runs/create?x=/search", "models:write"),
        ("POST", "/v1/traces", "models:write"),
    ],
)
def test_what_a_request_needs(method: str, rest: str, action: str) -> None:
    if not action:
        with pytest.raises(BadInput):
            classify(method, PREFIX + rest)
        return
    assert classify(method, PREFIX + rest.split("?")[0]).action == action


def test_workspace_writes_are_refused_by_rule() -> None:
    with pytest.raises(Denied, match="tenants"):
        classify("DELETE", f"{PREFIX}/api/3.0/mlflow/workspaces/ml")


# ---- the browser's login

KEY = "cd" * 32
SITE = {"host": "testserver", "sec-fetch-site": "same-origin"}


def a_login(tokens: list[httpx.Request] | None = None) -> BrowserLogin:
    def hub(request: httpx.Request) -> httpx.Response:
        if tokens is not None:
            tokens.append(request)
        return httpx.Response(200, json={"access_token": "sam"})

    settings = Settings(signing_key=KEY, hub_api_url="http://hub.invalid/hub/api")
    return BrowserLogin(settings, httpx.AsyncClient(transport=httpx.MockTransport(hub)))


def sent(method: str = "GET", path: str = f"{PREFIX}/", query: str = "", **headers: str) -> Sent:
    return Sent(method, path, query, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_page_without_login_goes_to_the_hub_and_a_call_gets_401(client: TestClient) -> None:
    page = client.get(f"{PREFIX}/?workspace=ml", headers={"Sec-Fetch-Mode": "navigate", "Accept": "text/html"})
    assert page.status_code == 302
    target = urlsplit(page.headers["location"])
    query = parse_qs(target.query)
    assert (target.path, target.netloc) == ("/hub/api/oauth2/authorize", "")
    assert query["client_id"] == ["service-models"]
    assert query["redirect_uri"] == [f"{PREFIX}/oauth_callback"]
    assert "HttpOnly" in page.headers["set-cookie"]
    assert client.get(f"{PREFIX}/ajax-api/2.0/mlflow/experiments/search", headers={"Sec-Fetch-Mode": "cors"}).status_code == 401


async def test_the_login_comes_back_to_the_page_with_a_cookie_that_is_the_person() -> None:
    asked: list[httpx.Request] = []
    login = a_login(asked)
    location, cookie = login.begin(sent(query="workspace=ml"), time.time())
    state = parse_qs(urlsplit(location).query)["state"][0]
    back = sent(path=f"{PREFIX}/oauth_callback", cookie=cookie.split(";")[0])
    target, cookies = await login.finish(back, {"code": "c0de", "state": state}, time.time())
    assert target == f"{PREFIX}/?workspace=ml"
    form = parse_qs(asked[0].content.decode())
    assert form["client_secret"] == [derive(KEY, MLFLOW_CLIENT)]
    assert len(form["code_verifier"][0]) > 40
    kept = cookies[0].split(";")[0]
    assert kept.startswith(COOKIE)
    assert f"Path={PREFIX}/" in cookies[0]
    assert login.cookie_token(sent(cookie=kept, **{"sec-fetch-site": "same-origin"})) == "sam"


@pytest.mark.parametrize("state", ["", "other"])
async def test_a_login_that_began_elsewhere_is_refused(state: str) -> None:
    login = a_login()
    _, cookie = login.begin(sent(), time.time())
    with pytest.raises(BadInput):
        await login.finish(sent(cookie=cookie.split(";")[0]), {"code": "c", "state": state}, time.time())
    with pytest.raises(BadInput):
        await login.finish(sent(), {"code": "c", "state": state}, time.time())


def signed(login: BrowserLogin, at: float | None = None) -> str:
    return f"{COOKIE}={login._sign('sam', b'login', at or time.time())}"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_cannot_write_with_the_cookie(site: str) -> None:
    login = a_login()
    request = sent("POST", f"{API}/runs/create", cookie=signed(login), **{"sec-fetch-site": site})
    with pytest.raises(Denied):
        login.cookie_token(request)
    old = sent("POST", f"{API}/runs/create", cookie=signed(login), host="good", origin="http://evil")
    with pytest.raises(Denied):
        login.cookie_token(old)
    nothing_said = sent("POST", f"{API}/runs/create", cookie=signed(login), host="good")
    with pytest.raises(Denied):
        login.cookie_token(nothing_said)


def test_a_forged_old_or_misused_cookie_is_no_login() -> None:
    login = a_login()
    good = signed(login)
    assert login.cookie_token(sent(cookie=good[:-1] + ("0" if good[-1] != "0" else "1"))) is None
    assert login.cookie_token(sent(cookie=signed(login, time.time() - 15 * 86_400))) is None
    state = login._sign("a b c", b"state", time.time())
    assert login.cookie_token(sent(cookie=f"{COOKIE}={state}")) is None
    assert login.cookie_token(sent(cookie="\x00;=;;;")) is None
    assert STATE_COOKIE != COOKIE


def test_with_the_cookie_the_pages_and_their_calls_work(client: TestClient) -> None:
    cookie = signed(a_login())
    page = client.get(f"{PREFIX}/", headers={"Cookie": cookie, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"})
    assert page.status_code == 200
    assert "<html" in page.text
    call = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin", "X-MLFLOW-WORKSPACE": "ml", "Origin": "http://testserver"}
    assert client.post(f"{PREFIX}/ajax-api/2.0/mlflow/runs/search", headers=call, json={"experiment_ids": ["0"]}).status_code == 200


def test_a_model_is_shown_whatever_quotes_its_name_has(client: TestClient, app: Any) -> None:
    for name in ("it's", 'say "x"', 'it\'s "both"'):
        made = client.post(f"{API}/logged-models", headers=SAM, json={"experiment_id": "0", "name": "model"})
        model = made.json()["model"]["info"]["model_id"]
        client.post(f"{API}/registered-models/create", headers=SAM, json={"name": name})
        source = {"source": f"models:/{model}", "model_id": model}
        client.post(f"{API}/model-versions/create", headers=SAM, json={"name": name, **source})
        shown = client.get(f"/services/models/api/v1/models/ml/{quote(name, safe='')}", headers=SAM)
        assert (shown.status_code, [v["name"] for v in shown.json()["version_list"]]) == (200, [name]), shown.text
