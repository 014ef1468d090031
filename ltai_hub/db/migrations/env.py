"""Alembic's entry; called by ``ltai_hub.db.migrate`` with an open connection, never by the alembic command alone."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from ltai_hub.db.base import UtcDateTime


def render(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Our own column type by its short name; everything else as alembic does."""
    return "UtcDateTime()" if kind == "type" and isinstance(item, UtcDateTime) else False


config = context.config
connection = config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=config.attributes.get("metadata"),
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    render_item=render,
)
with context.begin_transaction():
    context.run_migrations()
