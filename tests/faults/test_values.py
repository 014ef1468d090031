"""Values that broke something once: each is refused with a sentence, or shown as what it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ltai_services.training import store as jobs

from tests.faults.whole import Whole

HALF = "a\ud800"


def send(whole: Whole, method: str, service: str, path: str, body: Any, who: str = "root") -> Any:
    """As JSON in ASCII, in which half a surrogate pair and Infinity can be spelled."""
    return whole.call(who, method, service, path, content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    ("method", "service", "path", "body"),
    [
        ("POST", "tenancy", "/users", {"name": "zoe", "password": "abcdefgh" + HALF}),
        ("POST", "tenancy", "/me/password", {"old": "abcdefgh" + HALF, "new": "another one 1"}),
        ("POST", "tenancy", "/tenants", {"name": "x", "parent": HALF}),
        ("PUT", "tenancy", "/tenants/ml/quotas", {"resource": "cpu", "limit": 1, "user": HALF}),
        ("POST", "training", "/jobs", {"name": "x", "command": ["x"], "tenant": HALF}),
        ("POST", "training", "/jobs", {"name": "x", "command": [HALF]}),
        ("POST", "training", "/jobs", {"name": "x", "command": ["x"], "env": {"A": HALF}}),
        ("POST", "serving", "/endpoints", {"name": "x", "model": HALF, "version": "1", "tenant": "ml"}),
        ("POST", "models", "/models", {"job": 1, "name": HALF}),
    ],
)
def test_half_a_surrogate_pair_is_refused(whole: Whole, method: str, service: str, path: str, body: Any) -> None:
    reply = send(whole, method, service, path, body)
    assert reply.status_code in (400, 404), reply.text
    assert reply.json()["detail"]
    assert whole.call("root", "GET", "training", "/jobs").json()["total"] == 0
    assert whole.call("root", "GET", "tenancy", "/users?q=zoe").json()["total"] == 0


@pytest.mark.parametrize("number", [2**63, 2**64, 10**30, 0, -1])
def test_numbers_the_database_does_not_have_are_refused(whole: Whole, number: int) -> None:
    for service, path in (("training", "jobs"), ("serving", "endpoints"), ("environments", "environments")):
        assert whole.call("sam", "GET", service, f"/{path}/{number}").status_code == 400
        assert whole.call("sam", "GET", service, f"/{path}?offset={number}").status_code == (200 if number == 0 else 400)
    job = whole.a_job("sam")
    assert whole.call("sam", "GET", "training", f"/jobs/{job}/log?offset={number}").status_code == (200 if number == 0 else 400)


def test_an_infinite_quota_is_refused(whole: Whole) -> None:
    for limit in (float("inf"), float("nan"), -1):
        assert send(whole, "PUT", "tenancy", "/tenants/ml/quotas", {"resource": "cpu", "limit": limit}).status_code == 400
    assert whole.call("root", "GET", "tenancy", "/tenants/ml/quotas").json()["items"] == []


def test_moments_outside_the_calendar_are_refused(whole: Whole) -> None:
    late, early = "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00"
    price = {"flavor": "cpu-small", "price_micro_per_hour": 1, "valid_from": late}
    assert send(whole, "POST", "billing", "/prices", price).status_code == 400
    for query in (f"from={early}", f"to={early}", f"from={late}", f"to={late}"):
        assert whole.call("sam", "GET", "billing", f"/usage?{query}").status_code == 400


def test_a_language_the_platform_does_not_speak_is_refused(whole: Whole) -> None:
    assert send(whole, "POST", "tenancy", "/users", {"name": "zoe", "language": "xx"}).status_code == 400
    assert send(whole, "PATCH", "tenancy", "/users/sam", {"language": "x" * 5000}).status_code == 400


@pytest.mark.parametrize("name", ["\u200b", "\u202e\u2066", "\ufeff\u00ad", "\u0301"])
def test_a_name_nobody_can_see_is_refused(whole: Whole, name: str) -> None:
    for service, path, body in (
        ("tenancy", "/tenants", {"name": name, "parent": "ml"}),
        ("training", "/jobs", {"name": name, "command": ["x"]}),
        ("tenancy", "/users", {"name": "zoe", "display_name": name}),
    ):
        reply = send(whole, "POST", service, path, body)
        assert reply.status_code == 400
        assert "visible" in reply.json()["detail"]


def test_a_loss_that_became_nan_does_not_hide_the_other_metrics(whole: Whole) -> None:
    number = with_run(whole, [("loss", "NaN"), ("best", "Infinity"), ("accuracy", 0.5)])
    reply = whole.call("sam", "GET", "training", f"/jobs/{number}/metrics")
    assert (reply.status_code, reply.json()["metrics"]) == (200, {"accuracy": 0.5})


@pytest.mark.parametrize(
    "mlmodel",
    [
        "flavors: [1, 2]",
        "flavors: text",
        "flavors: {1: {}, sklearn: 3, python_function: {}}",
        "- a",
        "[" * 5000,
        "\x00",
        "flavors: {python_function: {a: 1}}\nsignature: {inputs: 'no json'}",
        "flavors: {python_function: {a: 1}}\nsignature: {inputs: .nan}",
        "a: &a [x,x]\nb: &b [*a,*a]\nflavors: {sklearn: {sklearn_version: *b}}",
        "#" * (5 << 20),
    ],
)
def test_an_mlmodel_written_by_hand_breaks_nothing_for_the_class(whole: Whole, mlmodel: str) -> None:
    whole.mlflow.mlmodel = mlmodel
    whole.a_model()
    number = with_run(whole, [])
    whole.mlflow.log_model("ml", "run1")
    for service, path in (("models", "/models"), ("models", "/models/ml/digits"), ("training", f"/jobs/{number}/metrics")):
        reply = whole.call("sam", "GET", service, path)
        assert reply.status_code == 200, reply.text
    reply = whole.call("sam", "POST", "serving", "/endpoints", json={"name": "x", "model": "digits", "version": "1"})
    assert reply.status_code in (400, 409), reply.text
    assert whole.call("sam", "GET", "serving", "/endpoints").json()["total"] == 0


def test_a_tag_written_by_hand_is_no_job_number(whole: Whole) -> None:
    for tag in ("9" * 5000, "²", "-1", ""):
        whole.mlflow.versions.clear()
        whole.a_model()
        whole.mlflow.versions[0]["tags"] = [{"key": "ltai.job", "value": tag}]
        reply = whole.call("sam", "GET", "models", "/models/ml/digits")
        assert (reply.status_code, reply.json()["version_list"][0]["job_id"]) == (200, None)


def with_run(whole: Whole, metrics: list[tuple[str, Any]]) -> int:
    """A job of sam's whose MLflow run is "run1"."""
    number = whole.a_job("sam")
    with whole.platform.database.transaction() as tx:
        jobs.change(tx, number, run_id="run1", experiment_id="1")
    found = [{"key": key, "value": value} for key, value in metrics]
    data = {"tags": [], "metrics": found, "params": []}
    whole.mlflow.runs["run1"] = {"workspace": "ml", "info": {"run_id": "run1", "experiment_id": "1", "status": "RUNNING"}, "data": data}
    return number
