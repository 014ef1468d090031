"""What can be done with accounts. Everything here blocks (database, argon2): call it from a thread."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy.engine import Connection

from ltai_hub.accounts import store
from ltai_hub.accounts.lockout import lock_time
from ltai_hub.accounts.passwords import check_new_password, hash_password, verify_password
from ltai_hub.accounts.store import Account, Invite
from ltai_hub.db.engine import Database
from ltai_hub.domain.lists import Part
from ltai_hub.errors import Conflict, Denied, NotFound, NotLoggedIn
from ltai_hub.slugs import check_title, check_user_name
from ltai_hub.units import utc_now

LANGUAGES = ("", "en", "zh-CN")
REMEMBERED_UNKNOWN_NAMES = 10_000


class WrongPassword(NotLoggedIn):
    code = "wrong-password"


class AccountDisabled(NotLoggedIn):
    code = "account-disabled"


class LockedOut(NotLoggedIn):
    """Too many wrong passwords; the next one is looked at after ``seconds``."""

    code = "locked-out"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many wrong passwords; try again in {seconds} seconds", seconds=seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class Invitation:
    """The link is ``PUBLIC_URL/hub/invite/TOKEN``; the token is not kept anywhere."""

    token: str = field(repr=False)
    expires_at: datetime

    def link(self, public_url: str) -> str:
        return f"{public_url.rstrip('/')}/hub/invite/{self.token}"


class Accounts:
    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._unknown = _UnknownNames()

    def check(self, name: str, password: str) -> Account:
        """The account whose password this is. Raises WrongPassword, LockedOut, AccountDisabled.

        The attempt is counted before the password is looked at, so a hundred guesses at once are a hundred attempts.
        A name that nobody has gets the same answers after the same time.
        """
        now = self._clock()
        with self._database.transaction() as tx:
            account = store.find_account(tx, name)
            attempts, locked_until = (account.failed_attempts, account.locked_until) if account else self._unknown.get(name)
            if locked_until and locked_until > now:
                raise LockedOut(_whole_seconds(locked_until - now))
            attempts += 1
            wait = lock_time(attempts)
            store.count_attempt(tx, name, attempts, now + wait if wait else None)
        if account is None:
            self._unknown.put(name, attempts, now + wait if wait else None)
        if not verify_password(account.password_hash if account else "", password) or account is None:
            raise WrongPassword("the user name or the password is wrong")
        return self._signed_in(account, now)

    def _signed_in(self, account: Account, now: datetime) -> Account:
        with self._database.transaction() as tx:
            store.count_attempt(tx, account.name, 0, None)
            if account.disabled:
                raise AccountDisabled("this account is disabled; ask an administrator of the platform")
            store.update_account(tx, account.name, last_login_at=now)
        return account

    def create(self, name: str, display_name: str = "", admin: bool = False, password: str = "", language: str = "") -> Account:
        """Without a password the person needs an invite link. Raises BadInput, Conflict."""
        check_user_name(name)
        title = check_title(display_name or name, "user")
        password_hash = hash_password(check_new_password(password, name)) if password else ""
        with self._database.transaction() as tx:
            return self._insert(tx, name, title, admin, password_hash, language)

    def _insert(self, tx: Connection, name: str, title: str, admin: bool, password_hash: str, language: str = "") -> Account:
        account = Account(
            name=name,
            display_name=title,
            admin=admin,
            disabled=False,
            language=language if language in LANGUAGES else "",
            created_at=self._clock(),
            last_login_at=None,
            failed_attempts=0,
            locked_until=None,
            password_hash=password_hash,
        )
        store.insert_account(tx, account)
        return account

    def find(self, name: str) -> Account | None:
        with self._database.reading() as tx:
            return store.find_account(tx, name)

    def get(self, name: str) -> Account:
        with self._database.reading() as tx:
            return store.get_account(tx, name)

    def search(self, part: Part) -> tuple[list[Account], int]:
        with self._database.reading() as tx:
            return store.list_accounts(tx, part)

    def display_names(self, names: Collection[str]) -> dict[str, str]:
        """Login name → display name of those that exist."""
        with self._database.reading() as tx:
            return store.display_names(tx, names)

    def has_admin(self) -> bool:
        with self._database.reading() as tx:
            return store.has_admin(tx)

    def update(
        self,
        name: str,
        display_name: str | None = None,
        admin: bool | None = None,
        disabled: bool | None = None,
        language: str | None = None,
    ) -> Account:
        """None leaves a field as it is. Raises NotFound, BadInput."""
        title = None if display_name is None else check_title(display_name, "user")
        wanted = {"display_name": title, "admin": admin, "disabled": disabled, "language": language}
        changes = {key: value for key, value in wanted.items() if value is not None}
        with self._database.transaction() as tx:
            if changes:
                store.update_account(tx, name, **changes)
            return store.get_account(tx, name)

    def delete(self, name: str) -> None:
        with self._database.transaction() as tx:
            store.delete_account(tx, name)

    def set_password(self, name: str, new: str) -> None:
        """Without asking for the old one: for administrators and the set-up. Raises BadInput, NotFound."""
        password_hash = hash_password(check_new_password(new, name))
        with self._database.transaction() as tx:
            store.update_account(tx, name, password_hash=password_hash, failed_attempts=0, locked_until=None)

    def change_password(self, name: str, old: str, new: str) -> None:
        """Raises Denied for a wrong old one, LockedOut, BadInput."""
        check_new_password(new, name)
        try:
            self.check(name, old)
        except WrongPassword:
            raise Denied("the old password is wrong") from None
        self.set_password(name, new)

    def invite(self, user: str | None = None, admin: bool = False, hours: float = 72) -> Invitation:
        """A link that works once. ``user`` None: the person chooses the name. Raises NotFound."""
        token = secrets.token_urlsafe(24)
        now = self._clock()
        expires_at = now + timedelta(hours=hours)
        with self._database.transaction() as tx:
            if user is not None:
                store.get_account(tx, user)
            store.insert_invite(tx, Invite(_hash_token(token), user, admin, expires_at), now)
        return Invitation(token, expires_at)

    def find_invite(self, token: str) -> Invite | None:
        with self._database.reading() as tx:
            return store.find_invite(tx, _hash_token(token), self._clock())

    def accept_invite(self, token: str, name: str, display_name: str, password: str) -> Account:
        """Makes the account, or gives an existing one its new password. Raises NotFound, BadInput, Conflict."""
        known = self.find_invite(token)
        if known is None:
            raise NotFound("this link has been used or is too old; ask for a new one")
        name = check_user_name(known.user or name)
        password_hash = hash_password(check_new_password(password, name))
        with self._database.transaction() as tx:
            # looked up again inside: of two people with one link the second is told that it is used
            invite = store.find_invite(tx, known.token_hash, self._clock())
            if invite is None:
                raise NotFound("this link has been used or is too old; ask for a new one")
            account = self._take_account(tx, invite, name, display_name, password_hash)
            store.use_invite(tx, invite, name, self._clock())
            return account

    def _take_account(self, tx: Connection, invite: Invite, name: str, display_name: str, password_hash: str) -> Account:
        if invite.user is None:
            title = check_title(display_name or name, "user")
            return self._insert(tx, name, title, invite.admin, password_hash)
        account = store.get_account(tx, name)
        if account.disabled:
            raise Conflict("this account is disabled; ask an administrator of the platform")
        title = check_title(display_name, "user") if display_name.strip() else account.display_name
        changed = replace(account, display_name=title, password_hash=password_hash, admin=account.admin or invite.admin)
        store.update_account(
            tx, name, display_name=title, password_hash=password_hash, admin=changed.admin, failed_attempts=0, locked_until=None
        )
        return changed


class _UnknownNames:
    """Wrong sign-ins for names nobody has, so that a lock-out does not tell which names exist."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[int, datetime | None]] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str) -> tuple[int, datetime | None]:
        with self._lock:
            return self._seen.get(name, (0, None))

    def put(self, name: str, attempts: int, locked_until: datetime | None) -> None:
        with self._lock:
            self._seen[name] = (attempts, locked_until)
            self._seen.move_to_end(name)
            if len(self._seen) > REMEMBERED_UNKNOWN_NAMES:
                self._seen.popitem(last=False)


def _hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _whole_seconds(time: timedelta) -> int:
    return max(1, int(time.total_seconds() + 0.999))
