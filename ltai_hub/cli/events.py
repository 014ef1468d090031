"""Columns of state changes, the same for every noun."""

from __future__ import annotations

from ltai_hub.cli.output import column

EVENT_COLUMNS = [column("at"), column("from_phase", "from"), column("to_phase", "to"), column("reason"), column("actor", "by")]
