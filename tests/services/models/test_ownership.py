"""Whose a run, a model or a version is: everybody of a tenant reads them, only their owners and leaders change them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ltai_services.models.ownership import SEVERAL, Kind, Thing, changed_things, check_tags, run_names, signed
from ltai_services.models.rules import Write, classify, find_write, is_reading, rest_of
from ltai_services.tracking import PREFIX
from starlette.testclient import TestClient

from ltai_hub.errors import BadInput, Denied, NotFound

API = f"{PREFIX}/api/2.0/mlflow"
AJAX = f"{PREFIX}/ajax-api/2.0/mlflow"
FILES = f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts"
SAM = {"Authorization": "Bearer sam"}
SUE = {"Authorization": "Bearer sue"}
TINA = {"Authorization": "Bearer tina", "X-MLFLOW-WORKSPACE": "ml"}


def post(client: TestClient, path: str, who: dict[str, str], /, **body: Any) -> Any:
    return client.post(f"{API}/{path}", headers=who, json=body)


def make_run(client: TestClient, who: dict[str, str] = SAM, **more: Any) -> dict[str, Any]:
    made = post(client, "runs/create", who, **{"experiment_id": "0", **more})
    assert made.status_code == 200, made.text
    info: dict[str, Any] = made.json()["run"]["info"]
    return info


def get_run(client: TestClient, run_id: str) -> Any:
    return client.get(f"{API}/runs/get", params={"run_id": run_id}, headers=SUE).json()["run"]


def folder_of(info: dict[str, Any]) -> str:
    """Where its files lie, as MLflow's clients write them."""
    return str(info["artifact_uri"]).removeprefix("mlflow-artifacts:/")


# ---- runs


def test_a_run_belongs_to_who_made_it_whatever_they_say(client: TestClient) -> None:
    tags = [{"key": "mlflow.user", "value": "sam"}, {"key": "ltai.user", "value": "sam"}, {"key": "a", "value": "b"}]
    for more in ({"user_id": "sam"}, {"userId": "sam"}):
        run = get_run(client, make_run(client, SUE, tags=tags, **more)["run_id"])
        assert run["info"]["user_id"] == "sue"
        kept = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
        assert (kept["mlflow.user"], kept["a"], "ltai.user" in kept) == ("sue", "b", False)
        assert post(client, "runs/log-parameter", SAM, run_id=run["info"]["run_id"], key="a", value="1").status_code == 403


WRITING = [
    ("runs/update", {"status": "FAILED"}),
    ("runs/log-metric", {"key": "accuracy", "value": 1.0, "timestamp": 1}),
    ("runs/log-parameter", {"key": "lr", "value": "9"}),
    ("runs/log-batch", {"metrics": [{"key": "accuracy", "value": 1.0, "timestamp": 1, "step": 0}]}),
    ("runs/log-inputs", {"datasets": []}),
    ("runs/outputs", {"models": []}),
    ("runs/log-model", {"model_json": "{}"}),
    ("runs/set-tag", {"key": "mlflow.note.content", "value": "mine"}),
    ("runs/delete-tag", {"key": "mlflow.user"}),
    ("traces/link-to-run", {"trace_ids": []}),
    ("artifacts/presigned-upload-url", {"path": "model.pkl"}),
    ("runs/delete", {}),
    ("runs/restore", {}),
]


@pytest.mark.parametrize(("path", "body"), WRITING)
def test_another_members_run_is_not_changed(client: TestClient, path: str, body: dict[str, Any]) -> None:
    run_id = make_run(client)["run_id"]
    mine = make_run(client, SUE)["run_id"]
    before = get_run(client, run_id)
    for names in (
        {"run_id": run_id},
        {"runId": run_id},
        {"run_uuid": run_id},
        {"run_id": mine, "run_uuid": run_id},
        {"x": [{"runUuid": run_id}]},
    ):
        reply = post(client, path, SUE, **body, **names)
        assert (reply.status_code, f"run {run_id}: it belongs to sam" in reply.text) == (403, True), (names, reply.text)
    assert client.post(f"{AJAX}/{path}", headers=SUE, json={**body, "run_id": run_id}).status_code == 403
    assert get_run(client, run_id) == before


def test_what_is_no_plain_object_is_refused(client: TestClient) -> None:
    """MLflow would decode a string of JSON a second time."""
    run_id = make_run(client)["run_id"]
    body = {"run_id": run_id, "key": "lr", "value": "9"}
    for content in (json.dumps(json.dumps(body)), json.dumps([body]), "{" + json.dumps(body), "1"):
        reply = client.post(f"{API}/runs/log-parameter", headers={**SUE, "Content-Type": "application/json"}, content=content)
        assert (reply.status_code, "no JSON object" in reply.text) == (400, True), reply.text
    assert post(client, "runs/log-parameter", SUE, run_id=[run_id], key="a", value="b").status_code == 400
    mine = make_run(client, SUE)["run_id"]
    twice = f'{{"run_id": "{run_id}", "run_id": "{mine}", "key": "lr", "value": "9"}}'
    client.post(f"{API}/runs/log-parameter", headers={**SUE, "Content-Type": "application/json"}, content=twice)
    assert get_run(client, run_id)["data"].get("params", []) == []


def test_owner_and_teacher_change_a_run(client: TestClient) -> None:
    run_id = make_run(client)["run_id"]
    for who, lr in ((SAM, "a"), (TINA, "b")):
        assert post(client, "runs/log-parameter", who, run_id=run_id, key=f"lr-{lr}", value="1").status_code == 200
        assert post(client, "runs/log-metric", who, run_id=run_id, key="m", value="NaN" if lr == "b" else 1, timestamp=1).status_code == 200
        assert post(client, "runs/set-tag", who, run_id=run_id, key="note", value="x").status_code == 200
    assert post(client, "runs/set-tag", SAM, run_id=run_id, key="ltai.user", value="sue").status_code == 403
    assert post(client, "runs/log-batch", SAM, run_id=run_id, tags=[{"key": "ltai.user", "value": "sue"}]).status_code == 403
    assert post(client, "runs/log-parameter", SAM, run_id="0" * 32, key="a", value="b").status_code == 404


def test_the_files_of_a_run_are_written_by_its_owner_only(client: TestClient) -> None:
    """A version made of them runs in an endpoint with its owner's rights."""
    info = make_run(client)
    folder, run_id = folder_of(info), info["run_id"]
    assert client.put(f"{FILES}/{folder}/model/model.pkl", headers=SAM, content=b"good").status_code == 200
    short = folder.removeprefix("workspaces/ml/")
    experiment = short.split("/")[0]
    escaped = "".join(f"%25{ord(letter):02x}" for letter in run_id)
    tricks = [
        folder,
        short,
        short.replace(run_id, escaped),
        short.replace(run_id, escaped.replace("%25", "%2525")),
        short.replace("/artifacts", "%252fartifacts"),
        short.replace("/artifacts", "/%252e/artifacts"),
        f"{experiment}/{make_run(client, SUE)['run_id']}/artifacts/%252e%252e/%252e%252e/{run_id}/artifacts",
        f"%2577orkspaces/ml/{short}",
        short.removesuffix("/artifacts"),
        f"{experiment}",
    ]
    for path in tricks:
        for method in ("PUT", "DELETE"):
            reply = client.request(method, f"{FILES}/{path}/model/model.pkl", headers=SUE, content=b"evil")
            assert reply.status_code in (400, 403), (method, path, reply.status_code, reply.text)
    for path in (experiment, f"{experiment}/{run_id}", "workspaces", "workspaces/ml", f"workspaces/ml/{experiment}", short):
        assert client.delete(f"{FILES}/{path}", headers=SUE).status_code == 403, path
    for verb in ("create", "complete", "abort"):
        mpu = client.post(f"{PREFIX}/api/2.0/mlflow-artifacts/mpu/{verb}/{folder}/model.pkl", headers=SUE, json={"path": "model.pkl"})
        assert mpu.status_code == 403, mpu.text
    for query in (
        f"run_uuid={run_id}",
        f"run_uuid={make_run(client, SUE)['run_id']}&run_uuid={run_id}",
        f"run_uuid={run_id}&run_uuid={run_id[:1]}",
    ):
        reply = client.post(f"{AJAX}/upload-artifact?{query}&path=model/model.pkl", headers=SUE, content=b"evil")
        assert reply.status_code in (403, 404), (query, reply.text)
    assert client.get(f"{FILES}/{folder}/model/model.pkl", headers=SUE).content == b"good"
    assert client.put(f"{FILES}/{folder}/model/model.pkl", headers=TINA, content=b"better").status_code == 200
    assert client.post(f"{AJAX}/upload-artifact?run_uuid={run_id}&path=page.txt", headers=SAM, content=b"x").status_code == 200


# ---- logged models


def make_logged_model(client: TestClient, who: dict[str, str] = SAM, **more: Any) -> tuple[str, str]:
    """Id, and the path below which its files lie."""
    made = client.post(f"{API}/logged-models", headers=who, json={"experiment_id": "0", "name": "model", **more})
    assert made.status_code == 200, made.text
    info = made.json()["model"]["info"]
    return str(info["model_id"]), info["artifact_uri"].removeprefix("mlflow-artifacts:/")


def test_the_files_of_a_model_are_written_by_who_logged_it_only(client: TestClient) -> None:
    """An endpoint runs them with its owner's rights."""
    model, folder = make_logged_model(client)
    assert client.put(f"{FILES}/{folder}/MLmodel", headers=SAM, content=b"flavors: {}").status_code == 200
    short = folder.removeprefix("workspaces/ml/")
    tricks = [
        folder,
        short,
        short.replace("models", "%256dodels"),
        short.replace("models", "%25256dodels"),
        short.replace("/models", "/%252e/models"),
        short.replace("/models", "%252fmodels"),
        f"%2577orkspaces/ml/{short}",
    ]
    for path in tricks:
        reply = client.put(f"{FILES}/{path}/MLmodel", headers=SUE, content=b"flavors: {evil: 1}")
        assert reply.status_code in (400, 403), (path, reply.status_code, reply.text)
        assert client.delete(f"{FILES}/{path}/MLmodel", headers=SUE).status_code in (400, 403), path
    for path in (short.split("/")[0], f"{short.split('/')[0]}/models", "workspaces/ml", f"workspaces/ml/{short.split('/')[0]}"):
        assert client.delete(f"{FILES}/{path}", headers=SUE).status_code == 403, path
    assert client.post(f"{PREFIX}/api/2.0/mlflow-artifacts/mpu/create/{folder}/MLmodel", headers=SUE, json={}).status_code == 403
    assert client.get(f"{FILES}/{folder}/MLmodel", headers=SUE).content == b"flavors: {}"
    for method, path, body in (
        ("PATCH", "", {"model_id": model, "status": "LOGGED_MODEL_PENDING"}),
        ("PATCH", "/tags", {"model_id": model, "tags": [{"key": "ltai.owner", "value": "sue"}]}),
        ("DELETE", "/tags/ltai.owner", {}),
        ("POST", "/params", {"model_id": model, "params": []}),
        ("DELETE", "", {}),
    ):
        reply = client.request(method, f"{API}/logged-models/{model}{path}", headers=SUE, json=body)
        assert (reply.status_code, "belongs to sam" in reply.text) == (403, True), (method, path, reply.text)
    assert client.request("DELETE", f"{API}/logged-models/{model}", headers=TINA).status_code == 200


def test_a_model_belongs_to_who_logged_it_whatever_they_say(client: TestClient) -> None:
    model, folder = make_logged_model(client, SUE, tags=[{"key": "ltai.owner", "value": "sam"}, {"key": "a", "value": "b"}])
    tags = client.get(f"{API}/logged-models/{model}", headers=SAM).json()["model"]["info"]["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == {"a": "b", "ltai.owner": "sue"}
    assert client.put(f"{FILES}/{folder}/x", headers=SAM, content=b"x").status_code == 403
    assert client.put(f"{FILES}/{folder}/x", headers=SUE, content=b"x").status_code == 200


def test_a_model_is_not_slipped_into_anothers_run(client: TestClient) -> None:
    """The platform registers what the run of a job logged."""
    run_id = make_run(client)["run_id"]
    for name in ("source_run_id", "sourceRunId"):
        made = post(client, "logged-models", SUE, experiment_id="0", name="model", **{name: run_id})
        assert (made.status_code, "belongs to sam" in made.text) == (403, True)
    assert post(client, "logged-models", SAM, experiment_id="0", name="model", source_run_id=run_id).status_code == 200


# ---- the registry


def a_version(client: TestClient, name: str, who: dict[str, str]) -> str:
    info = make_run(client, who)
    post(client, "registered-models/create", who, name=name)
    made = post(client, "model-versions/create", who, name=name, source=info["artifact_uri"], run_id=info["run_id"])
    assert made.status_code == 200, made.text
    return str(made.json()["model_version"]["version"])


def change(client: TestClient, method: str, path: str, who: dict[str, str], **body: Any) -> int:
    return int(client.request(method, f"{API}/{path}", headers=who, json=body).status_code)


def test_a_name_is_shared_and_every_version_is_whose_it_is(client: TestClient) -> None:
    sams, sues = a_version(client, "shared", SAM), a_version(client, "shared", SUE)
    assert (sams, sues) == ("1", "2")
    of_sam: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", "model-versions/update", {"description": "x"}),
        ("POST", "model-versions/set-tag", {"key": "a", "value": "b"}),
        ("DELETE", "model-versions/delete-tag", {"key": "a"}),
        ("POST", "model-versions/transition-stage", {"stage": "Production"}),
        ("POST", "registered-models/alias", {"alias": "champion"}),
    ]
    for method, path, body in of_sam:
        assert change(client, method, path, SUE, name="shared", version="1", **body) == 403, path
        assert change(client, method, path, SUE, name="shared", version="01", **body) in (400, 403), path
        assert change(client, method, path, SAM, name="shared", version="1", **body) == 200, path
    # the alias and the stage stand for sam's version now
    assert change(client, "POST", "registered-models/alias", SUE, name="shared", alias="champion", version="2") == 403
    assert change(client, "DELETE", "registered-models/alias", SUE, name="shared", alias="champion") == 403
    assert change(client, "POST", "registered-models/alias", SUE, name="shared", alias="challenger", version="2") == 200
    stage = {"name": "shared", "version": "2", "stage": "Production"}
    for archive in ("archive_existing_versions", "archiveExistingVersions"):
        assert change(client, "POST", "model-versions/transition-stage", SUE, **stage, **{archive: True}) == 403
    assert change(client, "POST", "model-versions/transition-stage", SUE, **stage) == 200
    of_the_name: list[tuple[str, str, dict[str, Any]]] = [
        ("PATCH", "registered-models/update", {"description": "x"}),
        ("POST", "registered-models/set-tag", {"key": "a", "value": "b"}),
        ("DELETE", "registered-models/delete-tag", {"key": "a"}),
        ("POST", "registered-models/rename", {"new_name": "shared"}),
    ]
    for method, path, body in of_the_name[:3]:
        assert change(client, method, path, SAM, name="shared", **body) == 200, path
    for method, path, body in of_the_name:
        assert change(client, method, path, SUE, name="shared", **body) == 403, path
    # sue's version is in it: sam alone does not delete it either
    assert change(client, "DELETE", "registered-models/delete", SAM, name="shared") == 403
    assert change(client, "DELETE", "model-versions/delete", SUE, name="shared", version="2") == 200
    assert change(client, "DELETE", "registered-models/delete", SAM, name="shared") == 200


def test_whose_a_version_is_cannot_be_written(client: TestClient) -> None:
    a_version(client, "forged", SAM)
    for key in ("ltai.user", "ltai.owner"):
        assert change(client, "POST", "model-versions/set-tag", SAM, name="forged", version="1", key=key, value="sue") == 403
        assert change(client, "DELETE", "model-versions/delete-tag", SAM, name="forged", version="1", key=key) == 403
        assert change(client, "POST", "registered-models/set-tag", SAM, name="forged", key=key, value="sue") == 403
        assert change(client, "POST", "registered-models/set-tag", TINA, name="forged", key=key, value="sue") == 403


def test_aliases_in_our_own_api_belong_to_their_versions_too(client: TestClient) -> None:
    a_version(client, "aliased", SAM)
    a_version(client, "aliased", SUE)
    path = "/services/models/api/v1/models/ml/aliased/aliases/best"
    assert client.put(path, headers=SUE, json={"version": "1"}).status_code == 403
    assert client.put(path, headers=SAM, json={"version": "1"}).status_code == 204
    assert client.put(path, headers=SUE, json={"version": "2"}).status_code == 403
    assert client.delete(path, headers=SUE).status_code == 403
    assert client.delete("/services/models/api/v1/models/ml/aliased", headers=SAM).status_code == 403
    assert client.delete(path, headers={"Authorization": "Bearer tina"}).status_code == 204


# ---- experiments, and what is everybody's


def test_an_experiment_is_deleted_by_who_made_it_unless_others_work_in_it(client: TestClient) -> None:
    number = post(client, "experiments/create", SAM, name="whose is it").json()["experiment_id"]
    assert post(client, "runs/create", SUE, experiment_id=number).status_code == 200
    assert post(client, "experiments/update", SUE, experiment_id=number, new_name="mine").status_code == 403
    assert post(client, "experiments/delete", SUE, experiment_id=number).status_code == 403
    assert post(client, "experiments/delete", SAM, experimentId=number).status_code == 403
    assert post(client, "experiments/set-experiment-tag", SUE, experiment_id=number, key="note", value="x").status_code == 200
    assert post(client, "experiments/set-experiment-tag", SAM, experiment_id=number, key="ltai.owner", value="sue").status_code == 403
    assert post(client, "experiments/delete-experiment-tag", SUE, experiment_id=number, key="ltai.owner").status_code == 403
    assert post(client, "experiments/delete", TINA, experiment_id=number).status_code == 200
    alone = post(client, "experiments/create", SAM, name="alone").json()["experiment_id"]
    assert post(client, "runs/create", SAM, experiment_id=alone).status_code == 200
    assert post(client, "experiments/delete", SAM, experiment_id=alone).status_code == 200


def test_what_has_no_owner_is_taken_away_by_leaders_only(client: TestClient) -> None:
    body = {"experiment_id": "1", "max_timestamp_millis": 1}
    assert post(client, "traces/delete-traces", SUE, **body).status_code == 403
    assert post(client, "traces/delete-traces", TINA, **body).status_code in (200, 404)


# ---- the rules, without a server

NOT_OPEN = re.compile(
    r"mlflow/(?:gateway|webhooks|workspaces|prompt-optimization|jobs|demo|ui-telemetry|assistant|mcp-servers)\b.*"
    r"|mlflow/(?:issues|label-schemas|review-queues|scorers?)\b.*|mlflow/(?:genai/evaluate/invoke|gateway-proxy|runs/create-promptlab-run)"
    r"|(?:gateway|jobs)\b.*|(?:ajax-)?api/2\.0mlflow/experiments/search-datasets"
)


def mlflow_routes() -> list[tuple[str, str]]:
    """Every writing route of the installed MLflow: method and path below the version of the API."""
    from mlflow.server import app
    from mlflow.server.fastapi_app import create_fastapi_app

    flask = [(method, rule.rule) for rule in app.url_map.iter_rules() for method in rule.methods or ()]
    fast = create_fastapi_app(app)
    paths = [(method, path) for path, verbs in fast.openapi()["paths"].items() for method in map(str.upper, verbs)]
    made = [(method, re.sub(r"[<{][^>}]*[>}]", "1", path)) for method, path in [*flask, *paths]]
    return sorted({(method, rest_of(PREFIX + path)) for method, path in made if not is_reading(method, rest_of(PREFIX + path))})


def test_every_writing_route_of_mlflow_is_decided() -> None:
    """A new one of a newer MLflow is refused until somebody says what it changes."""
    routes = mlflow_routes()
    assert len(routes) > 80
    for method, path in routes:
        assert is_open(method, path) == (NOT_OPEN.fullmatch(path) is None), (method, path)


def is_open(method: str, rest: str) -> bool:
    try:
        classify(method, f"{PREFIX}/api/3.0/{rest}")
    except (Denied, NotFound):
        return False
    return True


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("POST", "mlflow/runs/anything-new"),
        ("PUT", "mlflow/runs/log-metric"),
        ("POST", "mlflow/runs/log-metric/"),
        ("POST", "mlflow/scorers/register"),
        ("PATCH", "mlflow-artifacts/artifacts/x"),
        ("POST", "mlflow-artifacts/mpu/new/x"),
        ("POST", ""),
        ("DELETE", "v1/traces"),
    ],
)
def test_what_is_not_in_the_table_is_refused(method: str, rest: str) -> None:
    with pytest.raises(Denied, match="not open"):
        find_write(method, rest)


def test_the_things_a_request_changes() -> None:
    deep = {"run_id": "a", "metrics": [{"runId": "b"}], "x": {"run_uuid": "c"}, "params": [{"key": "run_id", "value": "d"}]}
    assert run_names(deep) == {"a", "b", "c"}
    with pytest.raises(BadInput):
        run_names({"run_id": 7})
    file = f"{PREFIX}/api/2.0/mlflow-artifacts/artifacts/"
    for path, thing in (
        ("1/r/artifacts/x", Thing(Kind.RUN, "r")),
        ("workspaces/ml/1/r/artifacts", Thing(Kind.RUN, "r")),
        ("1/models/m/artifacts/x", Thing(Kind.LOGGED_MODEL, "m")),
        ("1/r/x", SEVERAL),
        ("1", SEVERAL),
        ("..%2f..", SEVERAL),
    ):
        assert changed_things(Write.FILE, "PUT", file + path, [], {}) == {thing}, path
    assert changed_things(Write.FILE, "PUT", file + "1/traces/t/artifacts/traces.json", [], {}) == set()
    assert changed_things(Write.FILE, "DELETE", file + "1/traces/t/artifacts/traces.json", [], {}) == {SEVERAL}
    assert changed_things(Write.NEW_VERSION, "POST", "", [], {"name": "n", "run_id": "r"}) == set()


def test_tags_that_say_whose_something_is_stay() -> None:
    check_tags("/x/set-tag", {"key": "ltai.job", "tags": [{"key": "a"}, 1]})
    for path, body in (("/tags/ltai.owner", {}), ("", {"key": "ltai.user"}), ("", {"tags": [{"key": "ltai.owner"}]})):
        with pytest.raises(Denied, match="set by the platform"):
            check_tags(path, body)
    body = {"name": "n"}
    assert signed(Write.RUN, body, "sam") is body
    assert signed(Write.NEW_MODEL, {"tags": {"key": "ltai.owner"}}, "sam") == {"tags": [{"key": "ltai.owner", "value": "sam"}]}
