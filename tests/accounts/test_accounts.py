from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ltai_hub.accounts import passwords
from ltai_hub.accounts.lockout import FREE_ATTEMPTS, LONGEST, lock_time
from ltai_hub.accounts.service import AccountDisabled, Accounts, LockedOut, WrongPassword
from ltai_hub.domain.lists import Part
from ltai_hub.errors import BadInput, Conflict, Denied, NotFound
from tests.factories import NOW, a_database

SECRET = "correct horse"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    database = a_database(tmp_path)
    yield Accounts(database, clock)
    database.close()


def fail(accounts: Accounts, name: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WrongPassword):
            accounts.check(name, "wrong")


def test_the_right_password_signs_in_and_is_remembered(accounts: Accounts, clock: Clock) -> None:
    accounts.create("sam", "Sam 山姆", password=SECRET)
    assert accounts.check("sam", SECRET).display_name == "Sam 山姆"
    assert accounts.get("sam").last_login_at == clock.now


def test_a_password_is_kept_as_argon2id_and_never_shown(accounts: Accounts) -> None:
    account = accounts.create("sam", password=SECRET)
    assert account.password_hash.startswith("$argon2id$")
    assert account.password_hash not in repr(account)


@pytest.mark.parametrize("name", ["sam", "nobody"])
def test_wrong_passwords_lock_for_longer_and_longer_also_names_nobody_has(accounts: Accounts, clock: Clock, name: str) -> None:
    accounts.create("sam", password=SECRET)
    fail(accounts, name, FREE_ATTEMPTS + 1)
    with pytest.raises(LockedOut) as first:
        accounts.check(name, SECRET)
    clock.pass_seconds(first.value.seconds)
    fail(accounts, name, 1)
    with pytest.raises(LockedOut) as second:
        accounts.check(name, SECRET)
    assert (first.value.seconds, second.value.seconds) == (5, 10)


def test_a_right_password_after_the_lock_begins_anew(accounts: Accounts, clock: Clock) -> None:
    accounts.create("sam", password=SECRET)
    fail(accounts, "sam", FREE_ATTEMPTS + 1)
    clock.pass_seconds(5)
    accounts.check("sam", SECRET)
    fail(accounts, "sam", FREE_ATTEMPTS)
    accounts.check("sam", SECRET)


def test_the_lock_never_exceeds_a_quarter_of_an_hour() -> None:
    assert [lock_time(n).total_seconds() for n in (1, 4, 5, 6, 7)] == [0, 0, 5, 10, 20]
    assert lock_time(1000) == LONGEST


def test_an_unknown_name_costs_as_much_time_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch, accounts: Accounts) -> None:
    verified: list[str] = []
    real = passwords.HASHER.verify

    def verify(_hasher: object, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return real(password_hash, password)

    monkeypatch.setattr(type(passwords.HASHER), "verify", verify)
    with pytest.raises(WrongPassword):
        accounts.check("nobody", "x")
    assert verified[0].startswith("$argon2id$")


def test_a_disabled_account_is_told_so_only_with_the_right_password(accounts: Accounts) -> None:
    accounts.create("sam", password=SECRET)
    accounts.update("sam", disabled=True)
    with pytest.raises(WrongPassword):
        accounts.check("sam", "wrong")
    with pytest.raises(AccountDisabled):
        accounts.check("sam", SECRET)


@pytest.mark.parametrize("name", ["Sam", "../x", "a b", "李娜", "<script>", "", "x" * 65, "a..b", "-a"])
def test_bad_user_names_are_refused_by_name(accounts: Accounts, name: str) -> None:
    with pytest.raises(BadInput):
        accounts.create(name)


@pytest.mark.parametrize("title", ["李娜 🎓", '"quotes" & <script>alert(1)</script>', "x" * 200])
def test_any_text_is_a_display_name(accounts: Accounts, title: str) -> None:
    assert accounts.create("sam", title).display_name == title


@pytest.mark.parametrize("password", ["short", "samsamsam", "aaaaaaaaaaaa", "x" * 1025])
def test_weak_passwords_are_refused(accounts: Accounts, password: str) -> None:
    with pytest.raises(BadInput):
        accounts.create("samsamsam", password=password)


def test_two_accounts_cannot_have_one_name(accounts: Accounts) -> None:
    accounts.create("sam")
    with pytest.raises(Conflict):
        accounts.create("sam")


def test_an_invite_makes_one_account_once(accounts: Accounts) -> None:
    token = accounts.invite(admin=True).token
    made = accounts.accept_invite(token, "ada", "Ada", SECRET)
    assert made.admin
    assert accounts.check("ada", SECRET).name == "ada"
    with pytest.raises(NotFound):
        accounts.accept_invite(token, "eve", "Eve", SECRET)


def test_an_invite_for_somebody_sets_their_password_and_ends_their_lock(accounts: Accounts) -> None:
    accounts.create("sam", "Sam", password="forgotten one")
    fail(accounts, "sam", FREE_ATTEMPTS + 1)
    older, newer = accounts.invite("sam"), accounts.invite("sam")
    accounts.accept_invite(newer.token, "ignored", "", SECRET)
    assert accounts.check("sam", SECRET).display_name == "Sam"
    assert accounts.find_invite(older.token) is None


def test_an_invite_dies_with_time(accounts: Accounts, clock: Clock) -> None:
    token = accounts.invite(hours=1).token
    clock.pass_seconds(3600)
    with pytest.raises(NotFound):
        accounts.accept_invite(token, "sam", "", SECRET)


def test_a_refused_password_does_not_use_up_the_invite(accounts: Accounts) -> None:
    token = accounts.invite().token
    with pytest.raises(BadInput):
        accounts.accept_invite(token, "sam", "", "short")
    assert accounts.accept_invite(token, "sam", "", SECRET).name == "sam"


def test_changing_a_password_needs_the_old_one(accounts: Accounts) -> None:
    accounts.create("sam", password=SECRET)
    with pytest.raises(Denied):
        accounts.change_password("sam", "wrong", "another horse")
    accounts.change_password("sam", SECRET, "another horse")
    assert accounts.check("sam", "another horse")


def test_accounts_are_found_by_a_part_of_either_name(accounts: Accounts) -> None:
    accounts.create("sam", "Li Na 李娜")
    accounts.create("eve", "100% Eve")
    assert [a.name for a in accounts.search(Part(text="李"))[0]] == ["sam"]
    assert [a.name for a in accounts.search(Part(text="%"))[0]] == ["eve"]
    assert accounts.search(Part(limit=1, offset=1))[1] == 2


def test_random_passwords_pass_the_rules() -> None:
    made = {passwords.make_password() for _ in range(50)}
    assert len(made) == 50
    assert all(passwords.check_new_password(password, "sam") for password in made)
