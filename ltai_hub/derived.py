"""Secrets made from the platform's one signing key, so that two processes have the same without sending it."""

from __future__ import annotations

import hashlib
import hmac

MLFLOW_CLIENT = "oauth-client:models"


def derive(signing_key: str, purpose: str) -> str:
    """HMAC-SHA256 in hex; another ``purpose`` gives an unrelated secret."""
    return hmac.new(signing_key.encode(), purpose.encode(), hashlib.sha256).hexdigest()
