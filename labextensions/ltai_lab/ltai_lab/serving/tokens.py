"""Bearer tokens, known here only by their sha256."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from ltai_lab.serving.errors import NoToken


class TokenCheck:
    """Compares in constant time; one check costs about 1 µs, so nothing is remembered."""

    def __init__(self, hashes: Sequence[str]) -> None:
        self._digests = tuple(bytes.fromhex(text) for text in hashes)

    def __call__(self, authorization: bytes) -> None:
        """Raises NoToken unless the header is ``Bearer TOKEN`` (or ``token TOKEN``) with a known token."""
        if not self._digests:
            return
        scheme, _, token = authorization.partition(b" ")
        if not token or scheme.lower() not in (b"bearer", b"token"):
            raise NoToken("this endpoint wants its token: send the header 'Authorization: Bearer TOKEN'")
        digest = hashlib.sha256(token.strip()).digest()
        if not any([hmac.compare_digest(digest, known) for known in self._digests]):
            raise NoToken("the token is not the one of this endpoint; it may have been renewed")
