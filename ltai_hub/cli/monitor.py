"""Fields of what a workload uses now, the same for environments, jobs and endpoints."""

from __future__ import annotations

from ltai_hub.cli.output import Column, Row, plain, size


def of(used: str, limit: str) -> str:
    """As 1.2 of 2; without a limit just the first."""
    return f"{used} of {limit}" if limit else used


def accelerator(use: Row) -> str:
    made = " (simulated)" if use.get("simulated") else ""
    memory = of(size(use.get("memory_used")), size(use.get("memory_total")))
    values = [f"{plain(use.get('utilisation'))} %", memory, f"{plain(use.get('temperature'))} °C", f"{plain(use.get('power'))} W"]
    return f"{use.get('name')}{made}: {', '.join(values)}"


MONITOR_FIELDS = [
    Column("cpu cores", lambda row: of(plain(row.get("cpu_cores")), plain(row.get("cpu_limit")))),
    Column("memory", lambda row: of(size(row.get("memory")), size(row.get("memory_limit")))),
    Column("disk", lambda row: of(size(row.get("disk")), size(row.get("disk_limit")))),
    Column("accelerators", lambda row: "; ".join(accelerator(a) for a in row.get("accelerators", []))),
]
