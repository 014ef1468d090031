from __future__ import annotations

import os

import pytest

from ltai_hub.cli.job import default_name, exit_code_of
from ltai_hub.client.types import Job
from tests.cli.conftest import Run
from tests.cli.fake import State, make_job


def test_submit_sends_the_command_as_it_was_typed(run: Run, state: State) -> None:
    done = run("job", "submit", "--profile", "digits", "--name", "n", "--env", "A=1=2", "--", "python", "train.py", "--lr", "0.1")
    assert done.code == 0
    assert "phase:           queued" in done.out
    method, path, _, body = state.last()
    assert (method, path) == ("POST", "training/jobs")
    assert body == {"name": "n", "profile": "digits", "command": ["python", "train.py", "--lr", "0.1"], "env": {"A": "1=2"}}


def test_the_command_may_stand_without_dashes_and_names_the_job(run: Run, state: State) -> None:
    assert run("job", "submit", "python", "src/train.py", "--lr", "0.1", "--quiet").code == 0
    assert state.last()[3]["command"] == ["python", "src/train.py", "--lr", "0.1", "--quiet"]
    assert state.last()[3]["name"] == "train.py"


def test_inside_an_environment_its_tenant_is_charged(run: Run, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LTAI_TENANT", "gpu-lab")
    run("job", "submit", "--", "true")
    assert state.last()[3]["tenant"] == "gpu-lab"
    run("job", "submit", "--tenant", "ml101", "--", "true")
    assert state.last()[3]["tenant"] == "ml101"


def test_quiet_submit_prints_the_number_only(run: Run) -> None:
    done = run("job", "submit", "--quiet", "--", "true")
    assert (done.out, done.err) == ("1\n", "")


def test_json_is_the_rest_object(run: Run, state: State) -> None:
    done = run("job", "submit", "--name", "数字 'x' <b>", "-o", "json", "--", "true")
    assert done.json == state.jobs[1]
    assert "数字" in done.out


def test_a_job_over_quota_is_refused_with_the_servers_sentence(run: Run) -> None:
    done = run("job", "submit", "--flavor", "huge", "--", "true")
    assert done.code == 1
    assert done.err == "ltai: ml101 asked for 4 GPUs but may have 2; ask for fewer\n"
    assert done.out == ""


def test_wait_leaves_with_the_jobs_own_exit_code(run: Run) -> None:
    done = run("job", "submit", "--wait", "--", "exit", "3")
    assert done.code == 3
    assert done.err == "ltai: job 1 failed: exit code 3\n"
    assert run("job", "submit", "--wait", "--", "true").code == 0


def test_follow_shows_the_log_and_leaves_with_the_jobs_code(run: Run) -> None:
    done = run("job", "submit", "--follow", "--name", "n", "--", "exit", "4")
    assert done.code == 4
    assert "epoch 1 of n 数字\n" in done.out


def test_wait_for_a_job_submitted_before(run: Run, state: State) -> None:
    state.jobs[7] = make_job(7, "n", ["exit", "9"])
    assert run("job", "wait", "7", "--quiet").code == 9
    assert run("job", "wait", "99").code == 1


def test_wait_gives_up_after_the_timeout(run: Run, state: State) -> None:
    state.jobs[1] = make_job(1, "n", ["sleep"])
    done = run("job", "wait", "1", "--timeout", "0.2")
    assert done.code == 1
    assert "job 1 did not get there in 0.2 seconds" in done.err


def test_the_list_is_a_table_and_says_when_it_is_cut(run: Run, state: State) -> None:
    for id in range(1, 4):
        state.jobs[id] = make_job(id, f"n{id}", ["true"])
    done = run("job", "list", "--limit", "2")
    assert [row[:3] for row in done.rows] == [["3", "n3", "queued"], ["2", "n2", "queued"]]
    assert done.err == "2 of 3; see all with --limit 0\n"
    assert run("job", "list", "--quiet").out == "3\n2\n1\n"


def test_a_long_list_is_fetched_in_pages(run: Run, state: State) -> None:
    state.jobs |= {id: make_job(id, "n", ["true"]) for id in range(1, 451)}
    done = run("job", "list", "--limit", "0", "-o", "json")
    assert (len(done.json["items"]), done.json["total"]) == (450, 450)
    assert [seen[2]["offset"] for seen in state.seen] == ["0", "200", "400"]


def test_filters_reach_the_server(run: Run, state: State) -> None:
    run("job", "list", "--tenant", "ml101", "--user", "bob", "--phase", "failed", "--search", "ä ö")
    query = state.last()[2]
    assert query == {"tenant": "ml101", "user": "bob", "phase": "failed", "q": "ä ö", "limit": "100", "offset": "0"}


@pytest.mark.parametrize("noun", ["job", "environment", "endpoint", "model", "tenant", "user"])
@pytest.mark.parametrize("sort", ["name", "-name"])
def test_a_list_is_sorted_by_the_server(run: Run, state: State, noun: str, sort: str) -> None:
    assert run(noun, "list", "--sort", sort).code == 0
    assert state.last()[2]["sort"] == sort
    run(noun, "list")
    assert "sort" not in state.last()[2]


def test_everybody_is_what_the_service_lists_unless_told(run: Run, state: State) -> None:
    run("job", "list", "--user", "all")
    assert "user" not in state.last()[2]
    run("job", "list", "--user", "me")
    assert state.last()[2]["user"] == "me"


def test_show_log_cancel_rerun_delete(run: Run, state: State) -> None:
    state.jobs[1] = make_job(1, "n", ["sleep"], phase="running")
    shown = run("job", "show", "1").out
    assert "command:         sleep" in shown
    assert f"run:             {os.environ['LTAI_URL']}/services/models/mlflow/#/r" in shown
    assert run("job", "log", "1").out == "epoch 1 of n 数字\n"
    assert "cancelled by ana" in run("job", "cancel", "1").out
    refused = run("job", "cancel", "1")
    assert (refused.code, refused.err) == (1, "ltai: job 1 has ended already\n")
    assert run("job", "rerun", "1", "--quiet").out == "2\n"
    assert state.jobs[2]["rerun_of"] == 1
    assert run("job", "delete", "1", "--yes").code == 0
    assert run("job", "show", "1").err == "ltai: there is no job 1\n"


def test_following_a_log_ends_with_the_job(run: Run, state: State) -> None:
    state.jobs[1] = make_job(1, "n", ["true"], phase="running")
    done = run("job", "log", "1", "-f")
    assert done.out == "epoch 1 of n 数字\n"


def test_delete_asks_and_says_what_to_do_where_nobody_can_answer(run: Run, state: State) -> None:
    state.jobs[1] = make_job(1, "n", ["true"])
    done = run("job", "delete", "1")
    assert done.code == 2
    assert "--yes" in done.err
    assert 1 in state.jobs


def test_metrics_and_events(run: Run, state: State) -> None:
    state.jobs[1] = make_job(1, "n", ["true"])
    assert "accuracy=0.97" in run("job", "metrics", "1").out
    assert [row[1:3] for row in run("job", "events", "1").rows] == [["queued", "running"], ["", "queued"]]


@pytest.mark.parametrize(
    ("phase", "code", "expected"),
    [("succeeded", 0, 0), ("failed", 3, 3), ("failed", -9, 137), ("failed", None, 1), ("cancelled", 0, 1), ("failed", 4000, 1)],
)
def test_exit_codes(phase: str, code: int | None, expected: int) -> None:
    job: Job = make_job(1, "n", ["true"], phase=phase, exit_code=code)  # type: ignore[assignment]
    assert exit_code_of(job) == expected


def test_the_name_is_the_scripts() -> None:
    assert default_name(["python", "-u", "a/train.py", "--config", "b.py"]) == "train.py"
    assert default_name(["/usr/bin/env"]) == "env"
