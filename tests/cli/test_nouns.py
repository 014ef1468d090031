"""Every other noun: what is sent, what is printed, and the JSON."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import JSONResponse

from tests.cli.conftest import Run
from tests.cli.fake import State, make_endpoint, make_environment, make_user, make_version


def test_start_makes_an_environment_and_waits_for_it(run: Run, state: State) -> None:
    done = run("environment", "start", "lab 2/数", "--profile", "digits", "--wait", "-o", "json")
    assert done.code == 0
    assert (done.json["name"], done.json["phase"]) == ("lab 2/数", "running")
    assert ("POST", "environments/environments", {}, {"name": "lab 2/数", "profile": "digits"}) in state.seen


def test_start_again_by_name_and_stop_and_delete(run: Run, state: State) -> None:
    state.environments[4] = make_environment(4, phase="stopped")
    assert "starting" in run("environment", "start").out
    assert "stopped" in run("environment", "stop", "default").out
    assert run("environment", "list", "--tenant", "ml101", "--user", "all", "--active").rows[0][:3] == ["4", "default", "stopped"]
    assert state.last()[2]["active"] == "true"
    assert "1 GiB of 2 GiB" in run("environment", "monitor", "4").out
    assert "(simulated)" in run("environment", "monitor").out
    assert run("environment", "delete", "default", "-y").code == 0
    missing = run("environment", "show", "default")
    assert missing.code == 1
    assert "see: ltai environment list" in missing.err


def test_starting_what_runs_is_no_failure(run: Run, state: State) -> None:
    state.environments[4] = make_environment(4, phase="running")
    done = run("environment", "start", "--wait")
    assert (done.code, done.err) == (0, "The environment default is running already.\n")


def test_start_makes_what_is_not_there_and_gives_new_choices_to_what_is(run: Run, state: State) -> None:
    run("environment", "start")
    assert state.last()[3] == {"name": "default"}
    run("environment", "start", "--flavor", "gpu")
    assert state.last()[3] == {"name": "default", "flavor": "gpu"}


def test_waiting_for_an_environment_that_fails_is_a_failure(run: Run, state: State) -> None:
    state.environments[1] = make_environment(1, phase="failed", reason="image sklearn is not built")
    state.instead["environments/environments/1/start"] = [JSONResponse(state.environments[1])]
    done = run("environment", "start", "--wait")
    assert done.code == 1
    assert "image sklearn is not built" in done.out


def test_register_list_show_and_delete_models(run: Run, state: State) -> None:
    assert run("model", "register", "--job", "12", "--name", "a/b ü", "--quiet").out == "1\n"
    assert state.last()[3] == {"job": 12, "name": "a/b ü"}
    run("model", "register", "--job", "13", "--name", "a/b ü")
    assert run("model", "list").rows[0][:4] == ["a/b ü", "ml101", "2", "2"]
    shown = run("model", "show", "a/b ü")
    assert "accuracy=0.97" in shown.out
    assert run("model", "show", "a/b ü", "-o", "json").json["version_list"][0]["job_id"] == 12
    assert run("model", "delete", "a/b ü", "--version", "1", "-y").code == 0
    assert [v["version"] for v in state.models["ml101", "a/b ü"]] == ["2"]
    assert run("model", "set-alias", "a/b ü", "champion", "2").code == 0
    assert state.models["ml101", "a/b ü"][0]["aliases"] == ["champion"]
    assert run("model", "remove-alias", "a/b ü", "champion").code == 0
    assert state.models["ml101", "a/b ü"][0]["aliases"] == []
    assert run("model", "delete", "a/b ü", "-y").code == 0
    assert run("model", "show", "a/b ü").code == 1


def test_publish_the_latest_version_and_predict_a_picture(run: Run, state: State, tmp_path: Path) -> None:
    state.models["ml101", "digits"] = [make_version(1, 1), make_version(2, 2)]
    made = run("endpoint", "create", "--model", "digits", "--instances", "2", "--wait", "-o", "json")
    assert made.code == 0
    assert (made.json["version"], made.json["phase"], made.json["token"]) == ("2", "running", "shown-once")
    picture = tmp_path / "3.png"
    picture.write_bytes(b"\x89PNG")
    done = run("endpoint", "predict", "digits", str(picture))
    assert done.out == "3\n"
    assert state.last()[3] == {"filename": "3.png", "type": "image/png", "size": 4}
    assert run("endpoint", "predict", "1", str(picture), "-o", "json").json["outputs"][0]["datatype"] == "INT64"


def test_endpoint_life(run: Run, state: State) -> None:
    state.endpoints[1] = make_endpoint(1, "My digits", "digits", "1", phase="running")
    assert run("endpoint", "list").rows[0][:3] == ["1", "My digits", "running"]
    assert run("endpoint", "stop", "my-digits").code == 0
    assert run("endpoint", "start", "My digits", "--wait").code == 0
    assert run("endpoint", "update", "1", "--instances", "3").code == 0
    assert state.endpoints[1]["instances"] == 3
    assert run("endpoint", "update", "1").code == 1
    assert run("endpoint", "token", "1", "-y").out == "new-token\n"
    assert run("endpoint", "log", "1", "--instance", "1").out == "instance 1 listens\n"
    assert run("endpoint", "events", "1").rows[0][2] == "running"
    assert "GiB" in run("endpoint", "monitor", "1").out
    assert run("endpoint", "delete", "1", "-y").code == 0
    assert run("endpoint", "show", "my-digits").err == "ltai: there is no endpoint 'my-digits' in your tenants; see: ltai endpoint list\n"


def test_two_endpoints_of_one_name_are_not_guessed_between(run: Run, state: State) -> None:
    state.endpoints |= {i: make_endpoint(i, "digits", "digits", "1") for i in (1, 2)}
    assert "give the number: 1, 2" in run("endpoint", "stop", "digits").err


def test_a_missing_file_is_named(run: Run, state: State) -> None:
    state.endpoints[1] = make_endpoint(1, "d", "digits", "1")
    done = run("endpoint", "predict", "1", "no.png")
    assert (done.code, done.err) == (1, "ltai: no.png is not there, or no file\n")


def test_tenants_and_members(run: Run, state: State) -> None:
    assert run("tenant", "create", "Physics", "--kind", "department", "--parent", "ml101", "--quiet").out == "physics\n"
    assert state.last()[3] == {"name": "Physics", "kind": "department", "parent": "ml101"}
    assert [row[0] for row in run("tenant", "list").rows] == ["ml101", "physics"]
    assert run("tenant", "show", "physics", "-o", "json").json["kind"] == "department"
    assert "Optics" in run("tenant", "rename", "physics", "Optics").out
    assert run("tenant", "add-member", "physics", "bob", "--role", "teacher").code == 0
    assert run("tenant", "members", "physics").rows == [["bob", "Bob", "teacher", ""]]
    assert run("tenant", "remove-member", "physics", "bob").code == 0
    assert run("tenant", "delete", "physics", "-y").code == 0
    assert run("tenant", "show", "physics").code == 1


def test_an_unknown_role_is_a_usage_error(run: Run) -> None:
    done = run("tenant", "add-member", "ml101", "bob", "--role", "boss")
    assert done.code == 2
    assert "'boss' is not one of" in done.err
    assert len(done.err.splitlines()) == 1


def test_users_and_invites(run: Run, state: State) -> None:
    made = run("user", "create", "bob", "--display-name", "Bob 👋", "--tenant", "ml101", "--role", "assistant", "--invite")
    assert made.code == 0
    assert "http://hub/hub/invite/abc" in made.out
    assert state.members["ml101", "bob"] == "assistant"
    assert run("user", "create", "bob").err == "ltai: the name 'bob' is taken\n"
    assert run("user", "invite", "bob", "--quiet", "--hours", "1").out == "http://hub/hub/invite/abc\n"
    assert state.last()[3] == {"hours": 1.0}
    assert run("user", "list").rows[0][0] == "bob"
    assert run("user", "update", "bob", "--disable", "-o", "json").json["disabled"] is True
    assert run("user", "update", "bob").code == 1
    assert run("user", "delete", "bob", "-y").code == 0
    assert run("user", "show", "bob").code == 1


def test_a_tenants_weight_and_what_the_cluster_says_of_it(run: Run, state: State) -> None:
    run("tenant", "create", "Physics", "--slug", "physics")
    assert run("tenant", "update", "physics", "--weight", "3", "-o", "json").json["weight"] == 3
    assert state.last()[3] == {"weight": 3}
    assert run("tenant", "update", "physics", "--weight", "0").code == 2
    state.tenants["physics"]["cluster"] = {"ready": False, "message": "the cluster has not heard of it yet"}
    assert "the cluster has not heard of it yet" in run("tenant", "show", "physics").out


def test_quotas_are_read_and_shown_with_units(run: Run, state: State) -> None:
    assert run("quota", "set", "ml101", "memory", "64Gi").rows == [["ml101", "the tenant", "memory", "0 B", "64 GiB", ""]]
    assert state.last()[3] == {"resource": "memory", "limit": 64 << 30, "user": None}
    run("quota", "set", "ml101", "accelerator:a100", "2", "--user", "*")
    assert state.last()[3] == {"resource": "accelerator:a100", "limit": 2.0, "user": "*"}
    run("quota", "set", "ml101", "cpu", "none")
    assert state.last()[3]["limit"] is None
    assert [row[4] for row in run("quota", "list").rows] == ["64 GiB", "2", "no limit"]
    assert len(run("quota", "show", "ml101").rows) == 3
    assert run("quota", "set", "ml101", "memory", "64Gi", "--guaranteed", "16Gi").rows[-1][4:] == ["64 GiB", "16 GiB"]
    assert state.last()[3]["guaranteed"] == 16 << 30
    wrong = run("quota", "set", "ml101", "cpu", "many")
    assert (wrong.code, wrong.err) == (2, "ltai: 'many' is no limit for cpu; write for example 4, or none\n")


def test_the_catalogue(run: Run, state: State) -> None:
    assert run("flavor", "list").rows[1][:5] == ["gpu", "2", "2 GiB", "0 B", "2 × GPU (simulated)"]
    assert run("flavor", "show", "small", "-o", "json").json["cpu"] == 2.0
    assert run("flavor", "show", "tiny").err == "ltai: there is no flavor 'tiny' here; known: small, gpu\n"
    assert run("image", "list").rows[0][4] == "absent"
    assert "ready" in run("image", "build", "sklearn", "--wait").out
    assert run("image", "build", "broken", "--wait").code == 1
    assert run("image", "show", "sklearn", "--quiet").out == "sklearn\n"
    assert run("image", "log", "sklearn").out == "resolved 12 packages\n"
    assert run("profile", "list", "--tenant", "ml101").rows[0][:2] == ["digits", "Digits"]
    assert "First model" in run("profile", "show", "digits").out
    assert run("profile", "assign", "digits", "--tenant", "ml101").code == 0
    assert state.assigned == {("ml101", "digits")}
    assert run("profile", "unassign", "digits", "--tenant", "ml101").code == 0
    assert not state.assigned


def test_usage_needs_no_verb(run: Run, state: State) -> None:
    assert run("usage").rows == [["ana", "ml101", "job", "small", "1.50", "1.50 CNY"]]
    assert run("usage", "--group", "tenant", "--from", "2026-11-01", "-o", "json").json["total"] == 1
    assert state.last()[2] == {"group": "tenant", "from": "2026-11-01", "limit": "200", "offset": "0"}
    assert run("usage", "list", "--user", "all").code == 0
    assert "user" not in state.last()[2]
    run("bill", "show", "--user", "me")
    assert state.last()[2]["user"] == "ana"


def test_a_bill_opens_its_intervals(run: Run, state: State) -> None:
    shown = run("bill", "show", "--month", "2026-10")
    assert "job:1/a\tjob\tdigits" in shown.out
    assert shown.out.endswith("Total for 2026-10: 0.016667 CNY\n")
    assert run("bill", "show", "-o", "json").json["total_micro"] == 16_667
    assert run("bill", "show", "--quiet").out == "16667\n"
    assert run("bill", "show", "--csv").out == "name,cost\ndigits,0.016667\n"
    assert run("bill", "intervals", "job:1/a", "--month", "2026-10").rows[0][2] == "60 s"


def test_prices(run: Run, state: State) -> None:
    assert run("bill", "set-price", "small", "4.80").code == 0
    assert state.last()[3] == {"flavor": "small", "price_micro_per_hour": 4_800_000}
    assert run("bill", "prices").rows[0][:2] == ["small", "4.80"]
    for wrong in ("cheap", "-1", "nan", "inf"):
        assert run("bill", "set-price", "--", "small", wrong).code == 2


def test_me(run: Run) -> None:
    assert "ml101  Demo school / ML 101  (member)" in run("me").out
    assert run("me", "--quiet").out == "ana\n"
    assert run("me", "-o", "json").json["default_tenant"] == "ml101"


def test_names_cannot_move_the_cursor(run: Run, state: State) -> None:
    state.users["eve"] = make_user("eve", display_name="\x1b[2J\tboo")
    row = run("user", "list").rows[0]
    assert row[1] == "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}boo"
