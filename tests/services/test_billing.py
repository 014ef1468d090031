from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ltai_services.billing import SPEC
from ltai_services.billing.service import month_bounds, safe_cell

from ltai_hub.domain.usage import Price
from ltai_hub.domain.workloads import Kind, Phase
from ltai_hub.metering import store
from ltai_hub.metering.phases import Subject, change_phase
from ltai_hub.service import Platform
from ltai_hub.units import utc_now
from tests.factories import some_resources
from tests.services.platform import Api, a_platform, an_api

HOUR = timedelta(hours=1)


def run_something(platform: Platform, number: str, user: str, start: datetime, end: datetime, name: str = "train") -> None:
    subject = Subject(Kind.JOB, number, name, user, "ml", "cpu-small", some_resources())
    with platform.database.transaction() as tx:
        change_phase(tx, subject, Phase.STARTING, Phase.RUNNING, "", start)
        change_phase(tx, subject, Phase.RUNNING, Phase.SUCCEEDED, "", end)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = a_platform(tmp_path)
    start, _ = month_bounds("", utc_now())
    with made.database.transaction() as tx:
        store.insert_price(tx, Price("cpu-small", 2_000_000, start - HOUR), "root")
    return made


@pytest.fixture
def api(platform: Platform) -> Api:
    return an_api(SPEC, platform)


def test_a_bill_line_opens_the_intervals_it_is_made_of(api: Api, platform: Platform) -> None:
    start = utc_now() - timedelta(seconds=90)
    run_something(platform, "7", "sam", start, start + timedelta(seconds=36))
    bill = api.get("/bills", "sam").json()
    (line,) = bill["lines"]
    assert (line["key"], line["seconds"], line["cost_micro"], bill["total_micro"]) == ("job:7", 36, 20_000, 20_000)
    (part,) = api.get(f"/bills/lines/{line['key']}/intervals", "sam").json()["items"]
    assert (part["seconds"], part["price_micro_per_hour"], part["cost_micro"]) == (36, 2_000_000, 20_000)


def test_students_see_their_own_and_teachers_the_class(api: Api, platform: Platform) -> None:
    start = utc_now() - timedelta(seconds=90)
    run_something(platform, "7", "sam", start, start + timedelta(seconds=30))
    run_something(platform, "8", "sue", start, start + timedelta(seconds=30))
    assert [line["user"] for line in api.get("/bills", "sam").json()["lines"]] == ["sam"]
    assert {line["user"] for line in api.get("/bills?tenant=physics", "tina").json()["lines"]} == {"sam", "sue"}
    assert api.get("/bills?user=sue", "sam").json()["lines"] == []
    assert api.get("/bills?tenant=school", "sam").status_code == 404
    assert api.get("/bills/lines/job:8/intervals", "sam").json()["items"] == []
    by_user = api.get("/usage?group=user", "tina").json()["items"]
    assert {(u["user"], u["seconds"]) for u in by_user} == {("sam", 30), ("sue", 30)}


def test_a_new_price_leaves_the_past_alone(api: Api, platform: Platform) -> None:
    start = utc_now() - timedelta(seconds=90)
    run_something(platform, "7", "sam", start, start + timedelta(seconds=36))
    assert api.post("/prices", "root", json={"flavor": "cpu-small", "price_micro_per_hour": 9_000_000}).status_code == 201
    assert api.get("/bills", "sam").json()["total_micro"] == 20_000
    past = {"flavor": "cpu-small", "price_micro_per_hour": 1, "valid_from": "2020-01-01T00:00:00Z"}
    assert api.post("/prices", "root", json=past).status_code == 400
    assert api.post("/prices", "ada", json={"flavor": "cpu-small", "price_micro_per_hour": 1}).status_code == 403


def test_csv_cannot_smuggle_formulas_into_a_sheet(api: Api, platform: Platform) -> None:
    start = utc_now() - timedelta(seconds=90)
    run_something(platform, "7", "sam", start, start + timedelta(seconds=36), name='=HYPERLINK("x"),"机器"')
    reply = api.get("/bills.csv", "sam")
    assert reply.headers["content-type"].startswith("text/csv")
    assert '"\'=HYPERLINK(""x""),""机器"""' in reply.text
    assert reply.text.splitlines()[1].endswith("36.000000,0.02,CNY")
    assert safe_cell("plain") == "plain"


@pytest.mark.parametrize("month", ["2026-13", "26-01", "2026-1", "x", "0000-01", "9999-12", "2026-01-01"])
def test_a_month_that_is_none_is_refused(api: Api, month: str) -> None:
    refused = api.get(f"/bills?month={month}", "sam")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad-input")
