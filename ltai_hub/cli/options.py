"""Options that many commands share; the same letters everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

from ltai_hub.cli.output import Format

OutputOption = Annotated[Format, typer.Option("--output", "-o", help="A table for people, or the REST object as JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print only ids or names.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="A tenant's slug; your default one unless told.", show_default=False)]
# inside an environment what is made belongs to the environment's tenant unless told
MakeInTenant = Annotated[
    str | None, typer.Option("--tenant", envvar="LTAI_TENANT", help="A tenant's slug; your default one unless told.", show_default=False)
]
TenantFilter = Annotated[str | None, typer.Option("--tenant", help="Only what belongs to this tenant.", show_default=False)]
UserFilter = Annotated[str | None, typer.Option("--user", help="me, all or a user name, as far as you may see.", show_default=False)]
SearchOption = Annotated[str | None, typer.Option("--search", help="Only rows with this text in the name.", show_default=False)]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="[-]FIELD", help="Sort by it, for example name or -created_at; - puts the largest first.", show_default=False
    ),
]
LimitOption = Annotated[int, typer.Option("--limit", min=0, help="Rows at most; 0: all.")]
OffsetOption = Annotated[int, typer.Option("--offset", min=0, help="Rows to leave out at the beginning.")]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, until the end.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Come back when it runs.")]
TimeoutOption = Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds to wait at most.", show_default=False)]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
MonthOption = Annotated[str | None, typer.Option("--month", help="As 2026-11; this month unless told.", show_default=False)]
ROWS = 100
