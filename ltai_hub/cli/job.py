"""``ltai job``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltai_hub.cli.connect import confirm, connect, print_stream
from ltai_hub.cli.events import EVENT_COLUMNS
from ltai_hub.cli.group import REFUSED, make_app
from ltai_hub.cli.monitor import MONITOR_FIELDS
from ltai_hub.cli.options import (
    ROWS,
    FollowOption,
    LimitOption,
    MakeInTenant,
    OffsetOption,
    OutputOption,
    QuietOption,
    SearchOption,
    SortOption,
    TenantFilter,
    TimeoutOption,
    UserFilter,
    YesOption,
)
from ltai_hub.cli.output import (
    Column,
    Format,
    Row,
    View,
    address_column,
    age_column,
    column,
    duration,
    money_column,
    note,
    print_object,
    print_page,
)
from ltai_hub.errors import BadInput, ConfigProblem

if TYPE_CHECKING:
    from ltai_hub.client.types import Job

app = make_app("Training jobs.")
JobId = Annotated[int, typer.Argument(metavar="JOB", help="The job's number.", show_default=False)]


def took(row: Row) -> str:
    return duration(row.get("duration_seconds"))


COLUMNS = [
    column("id", right=True),
    column("name"),
    column("phase"),
    column("user"),
    column("tenant"),
    column("profile"),
    Column("took", took, right=True),
    age_column(),
]
FIELDS = [
    column("id"),
    column("name"),
    column("phase"),
    column("reason"),
    column("queue_position"),
    column("exit_code"),
    column("user"),
    column("tenant"),
    column("profile"),
    column("image"),
    column("flavor"),
    column("nodes"),
    column("anywhere"),
    Column("command", lambda row: " ".join(row.get("command") or [])),
    column("cwd", "folder"),
    column("created_at", "submitted"),
    column("started_at", "started"),
    column("ended_at", "ended"),
    Column("took", took),
    money_column("cost_micro", "cost"),
    address_column("run_url", "run"),
    column("rerun_of"),
]


@app.command(context_settings={"allow_interspersed_args": False})
def submit(
    command: Annotated[list[str], typer.Argument(help="After --: the program and its arguments.", show_default=False)],
    name: Annotated[str | None, typer.Option("--name", help="Shown in lists; the script's name unless told.", show_default=False)] = None,
    profile: Annotated[str | None, typer.Option("--profile", help="See: ltai profile list.", show_default=False)] = None,
    image: Annotated[str | None, typer.Option("--image", help="Another image the profile allows.", show_default=False)] = None,
    flavor: Annotated[str | None, typer.Option("--flavor", help="Another flavor the profile allows.", show_default=False)] = None,
    tenant: MakeInTenant = None,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Start on so many nodes together (on a cluster).", show_default=False)
    ] = None,
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="In whichever cluster has room: takes --folder along and finds none of your other files.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="With --anywhere: the folder with the program; this one unless told.", show_default=False),
    ] = None,
    cwd: Annotated[str | None, typer.Option("--cwd", help="Folder to run in, relative to your home.", show_default=False)] = None,
    env: Annotated[list[str] | None, typer.Option("--env", help="NAME=VALUE, any number of times.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Come back when it has ended, with its exit code.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show its output, then leave with its exit code.")] = False,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Submit a job: ltai job submit --profile P --name n -- python train.py --lr 0.1"""
    view = View(output, quiet)
    with connect() as client:
        job = client.jobs.submit(
            name or default_name(command),
            command,
            profile=profile,
            image=image,
            flavor=flavor,
            tenant=tenant,
            nodes=nodes,
            anywhere=anywhere,
            folder=folder_to_take(anywhere, folder),
            cwd=cwd,
            env=parse_env(env or []),
        )
        if follow:
            note(f"Job {job['id']} is {job['phase']}.", view)
            print_stream(client.jobs.log(job["id"], follow=True))
        elif not wait:
            print_object(job, FIELDS, "id", view, client.url)
            return
        leave_with(client.jobs.wait(job["id"]), view, client.url if not follow else None)


def folder_to_take(anywhere: bool, folder: Path | None) -> Path | None:
    if folder is not None and not anywhere:
        raise BadInput("--folder goes with --anywhere; any other job finds your home as it is")
    return folder or (Path() if anywhere else None)


@app.command("list")
def list_jobs(
    tenant: TenantFilter = None,
    user: UserFilter = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Only jobs in this phase.", show_default=False)] = None,
    search: SearchOption = None,
    sort: SortOption = None,
    limit: LimitOption = ROWS,
    offset: OffsetOption = 0,
    output: OutputOption = Format.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Jobs, newest first."""
    with connect() as client:
        page = client.jobs.list(tenant=tenant, user=user, phase=phase, q=search, sort=sort, limit=limit or None, offset=offset)
    print_page(page, COLUMNS, "id", View(output, quiet))


@app.command()
def show(id: JobId, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """One job."""
    with connect() as client:
        print_object(client.jobs.get(id), FIELDS, "id", View(output, quiet), client.url)


@app.command()
def log(
    id: JobId,
    follow: FollowOption = False,
    node: Annotated[int | None, typer.Option("--node", min=0, help="On this node; the first is 0.", show_default=False)] = None,
) -> None:
    """What it printed."""
    with connect() as client:
        print_stream(client.jobs.log(id, node=node, follow=follow))


@app.command()
def wait(id: JobId, timeout: TimeoutOption = None, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Come back when it has ended, with its exit code."""
    with connect() as client:
        leave_with(client.jobs.wait(id, timeout), View(output, quiet), client.url)


@app.command()
def cancel(id: JobId, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Stop it, or take it from the queue."""
    with connect() as client:
        print_object(client.jobs.cancel(id) or client.jobs.get(id), FIELDS, "id", View(output, quiet), client.url)


@app.command()
def rerun(id: JobId, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """Submit the same again, as a new job."""
    with connect() as client:
        print_object(client.jobs.rerun(id), FIELDS, "id", View(output, quiet), client.url)


@app.command()
def delete(id: JobId, yes: YesOption = False, quiet: QuietOption = False) -> None:
    """Delete an ended job and its log; its run and models stay in MLflow."""
    confirm(f"Delete job {id} and its log?", yes)
    with connect() as client:
        client.jobs.delete(id)
    note(f"Job {id} is deleted.", View(quiet=quiet))


@app.command()
def metrics(id: JobId, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """What it logged to MLflow: metrics, parameters, models."""
    columns = [
        column("metrics"),
        column("params"),
        Column("models", lambda row: ", ".join(f"{m['name']} ({m['framework']})" for m in row.get("models", []))),
    ]
    view = View(output, quiet)
    with connect() as client:
        seen = client.jobs.metrics(id)
    print_object(seen, columns, "metrics", view)
    if not any(seen.values()):
        note(f"Job {id} has logged nothing to MLflow.", view)


@app.command()
def monitor(id: JobId, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """CPU, memory and accelerators now."""
    with connect() as client:
        print_object(client.metrics("job", id), MONITOR_FIELDS, "at", View(output, quiet))


@app.command()
def events(id: JobId, output: OutputOption = Format.TABLE, quiet: QuietOption = False) -> None:
    """What happened to it, newest first."""
    with connect() as client:
        print_page(client.jobs.events(id), EVENT_COLUMNS, "to_phase", View(output, quiet))


def default_name(command: list[str]) -> str:
    """The script's name: "train.py" of ["python", "-u", "jobs/train.py", "--lr", "0.1"]."""
    scripts = [word for word in command if word.endswith((".py", ".sh", ".ipynb"))]
    return (scripts or command)[0].rsplit("/", 1)[-1]


def parse_env(pairs: list[str]) -> dict[str, str]:
    """["A=1"] → {"A": "1"}. Raises ConfigProblem."""
    for pair in pairs:
        if not pair.partition("=")[0] or "=" not in pair:
            raise ConfigProblem(f"--env {pair!r} has no name and value; write --env NAME=VALUE")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def leave_with(job: Job, view: View, hub: str | None) -> None:
    """Says how the job ended and leaves with its exit code; shows the job unless ``hub`` is None."""
    if hub is not None:
        print_object(job, FIELDS, "id", view, hub)
    code = exit_code_of(job)
    if code:
        note(f"ltai: job {job['id']} {job['phase']}{': ' + job['reason'] if job.get('reason') else ''}", view)
    raise typer.Exit(code)


def exit_code_of(job: Job) -> int:
    """The job's own code; ended by a signal as a shell tells it (128 + n); 1 when it failed without a code."""
    code = job.get("exit_code")
    if job["phase"] == "succeeded":
        return 0
    if code is None or code == 0 or abs(code) > 255:
        return REFUSED
    return code if code > 0 else 128 - code
