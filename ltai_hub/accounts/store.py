"""SQL over users and invites."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from ltai_hub.accounts.tables import invites, users
from ltai_hub.db.lists import has_text, take_part
from ltai_hub.domain.lists import Part
from ltai_hub.errors import Conflict, NotFound
from ltai_hub.slugs import shown


@dataclass(frozen=True)
class Account:
    name: str
    display_name: str
    admin: bool
    disabled: bool
    language: str
    created_at: datetime
    last_login_at: datetime | None
    failed_attempts: int
    locked_until: datetime | None
    password_hash: str = field(repr=False, default="")

    @property
    def has_password(self) -> bool:
        return bool(self.password_hash)


@dataclass(frozen=True)
class Invite:
    """``user`` None: whoever follows the link chooses the name."""

    token_hash: str
    user: str | None
    admin: bool
    expires_at: datetime


def insert_account(tx: Connection, account: Account) -> None:
    """Raises Conflict when the name is taken."""
    if find_account(tx, account.name):
        raise Conflict(f"there is already an account named {shown(account.name)}; choose another name")
    values = {column: getattr(account, column) for column in _COLUMNS}
    tx.execute(insert(users).values(values))


def find_account(tx: Connection, name: str) -> Account | None:
    row = tx.execute(select(users).where(users.c.name == name)).mappings().first()
    return _account(row) if row else None


def get_account(tx: Connection, name: str) -> Account:
    account = find_account(tx, name)
    if account is None:
        raise NotFound(f"there is no account named {shown(name)}")
    return account


SORTS = {
    "name": users.c.name,
    "display_name": func.lower(users.c.display_name),
    "created_at": users.c.created_at,
    "last_login_at": users.c.last_login_at,
}


def list_accounts(tx: Connection, part: Part) -> tuple[list[Account], int]:
    """A page, by name if not told otherwise, and how many there are in all. Raises BadInput."""
    matches = select(users).where(has_text(part.text, users.c.name, users.c.display_name))
    rows, total = take_part(tx, matches, part, SORTS, users.c.name, falling=False)
    return [_account(row) for row in rows], total


def display_names(tx: Connection, names: Collection[str]) -> dict[str, str]:
    rows = tx.execute(select(users.c.name, users.c.display_name).where(users.c.name.in_(list(names))))
    return {name: title for name, title in rows}


def has_admin(tx: Connection) -> bool:
    """Whether somebody can sign in as a platform administrator."""
    usable = users.c.admin & ~users.c.disabled & (users.c.password_hash != "")
    return tx.execute(select(users.c.name).where(usable).limit(1)).first() is not None


def update_account(tx: Connection, name: str, **changes: Any) -> None:
    """Raises NotFound."""
    if tx.execute(update(users).where(users.c.name == name).values(**changes)).rowcount == 0:
        raise NotFound(f"there is no account named {shown(name)}")


def delete_account(tx: Connection, name: str) -> None:
    tx.execute(sql_delete(users).where(users.c.name == name))


def count_attempt(tx: Connection, name: str, attempts: int, locked_until: datetime | None) -> None:
    """Unknown names change no row and take the same time."""
    tx.execute(update(users).where(users.c.name == name).values(failed_attempts=attempts, locked_until=locked_until))


def insert_invite(tx: Connection, invite: Invite, now: datetime) -> None:
    tx.execute(
        insert(invites).values(
            token_hash=invite.token_hash, user=invite.user, admin=invite.admin, created_at=now, expires_at=invite.expires_at
        )
    )


def find_invite(tx: Connection, token_hash: str, now: datetime) -> Invite | None:
    """An invite that can still be used."""
    usable = (invites.c.token_hash == token_hash) & invites.c.used_at.is_(None) & (invites.c.expires_at > now)
    row = tx.execute(select(invites).where(usable)).first()
    return Invite(row.token_hash, row.user, row.admin, row.expires_at) if row else None


def use_invite(tx: Connection, invite: Invite, user: str, now: datetime) -> None:
    """Marks it used; other open links for the same person die with it."""
    spent = (invites.c.token_hash == invite.token_hash) | (invites.c.user == user)
    tx.execute(update(invites).where(spent, invites.c.used_at.is_(None)).values(used_at=now))


_COLUMNS = [column.name for column in users.columns]


def _account(row: Any) -> Account:
    return Account(**{column: row[column] for column in _COLUMNS})
