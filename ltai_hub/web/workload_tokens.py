"""Tokens of what runs: a job or an endpoint speaks as its owner, to the services it needs, for as long as it has its reservation.

The platform signs them itself: a token of JupyterHub for each would cost the hub more time than everything else a start costs together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import BadData, URLSafeSerializer

from ltai_hub.accounts.store import find_account
from ltai_hub.db.engine import Database
from ltai_hub.domain.workloads import Kind
from ltai_hub.errors import ConfigProblem
from ltai_hub.tenancy import store
from ltai_hub.web.callers import Caller

# what tells them from a token of the hub
MARK = "ltai."
SALT = "token of a workload"


class WorkloadTokens:
    """Raises ConfigProblem without a key: anybody could sign."""

    def __init__(self, signing_key: str, database: Database) -> None:
        if not signing_key:
            raise ConfigProblem("LTAI_SIGNING_KEY is not set; set it to 32 random bytes in hex, the same for every service")
        self._database = database
        self._serializer = URLSafeSerializer(signing_key, SALT, signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256})

    def make(self, kind: Kind, noun_id: str, user: str, services: Sequence[str]) -> str:
        """The same for the same workload."""
        return MARK + str(self._serializer.dumps([kind, noun_id, user, *services]))

    def is_one(self, token: str) -> bool:
        return token.startswith(MARK)

    def caller(self, token: str) -> Caller | None:
        """None for one that is not signed by the platform, whose workload has ended, or whose owner may not sign in any more."""
        try:
            kind, noun_id, user, *services = self._serializer.loads(token.removeprefix(MARK))
        except BadData:
            return None
        with self._database.reading() as tx:
            account = find_account(tx, user)
            if account is None or account.disabled or store.find_open(tx, kind, noun_id) is None:
                return None
        return Caller(user, admin=False, scopes=frozenset(f"access:services!service={name}" for name in services), token=token)
