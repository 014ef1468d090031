"""Tables of accounts. The user name is the link to JupyterHub's own database."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, ForeignKey, Integer, String, Table

from ltai_hub.db.base import UtcDateTime, metadata

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("display_name", String(200), nullable=False),
    # empty: no password yet, only an invite link lets the person in
    Column("password_hash", String(200), nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("language", String(10), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_login_at", UtcDateTime),
    Column("failed_attempts", Integer, nullable=False),
    Column("locked_until", UtcDateTime),
)

invites = Table(
    "invites",
    metadata,
    # sha256 of the token: who reads the database cannot use the links
    Column("token_hash", String(64), primary_key=True),
    # null: the person chooses the name
    Column("user", ForeignKey("users.name", ondelete="CASCADE"), index=True),
    Column("admin", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
)
