"""``client.jobs``: training jobs."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltai_hub.client.folders import pack_folder
from ltai_hub.client.transport import Transport, dropped, follow_log, is_final, wait_until, whose
from ltai_hub.client.types import Event, Job, JobMetrics, Page

SERVICE = "training"


@dataclass(frozen=True)
class Jobs:
    transport: Transport

    def submit(
        self,
        name: str,
        command: Sequence[str],
        *,
        profile: str | None = None,
        image: str | None = None,
        flavor: str | None = None,
        tenant: str | None = None,
        nodes: int | None = None,
        anywhere: bool = False,
        folder: Path | str | None = None,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Job:
        """``cwd`` is relative to the home folder. ``nodes`` replicas start together and find one another.

        ``anywhere``: in whichever cluster has room. The job then finds an empty home and in it, at ``cwd``, what is in ``folder`` here:
        the program, 256 KiB packed at most. What it writes goes with it; metrics and models it logs stay.

        Without ``tenant`` the caller's default tenant is charged.
        """
        body: dict[str, Any] = {"name": name, "command": [*command], "profile": profile, "image": image, "flavor": flavor}
        body |= {"anywhere": anywhere or None, "folder": pack_folder(Path(folder)) if folder is not None else None}
        body |= {"tenant": tenant, "nodes": nodes, "cwd": cwd, "env": dict(env) if env else None}
        job: Job = self.transport.call("POST", SERVICE, "/jobs", json=dropped(body))
        return job

    def list(
        self,
        *,
        tenant: str | None = None,
        user: str | None = None,
        phase: str | None = None,
        q: str | None = None,
        sort: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Page[Job]:
        """Newest first. ``user``: "me", a name, or everybody's the caller may see."""
        params = {"tenant": tenant, "user": whose(user), "phase": phase, "q": q, "sort": sort}
        return self.transport.page(SERVICE, "/jobs", params, limit, offset)

    def get(self, id: int) -> Job:
        job: Job = self.transport.call("GET", SERVICE, f"/jobs/{id}")
        return job

    def cancel(self, id: int) -> Job | None:
        """What the server answers, usually the job."""
        job: Job | None = self.transport.call("POST", SERVICE, f"/jobs/{id}/cancel")
        return job

    def rerun(self, id: int) -> Job:
        """A new job with everything the old one was given."""
        job: Job = self.transport.call("POST", SERVICE, f"/jobs/{id}/rerun")
        return job

    def delete(self, id: int) -> None:
        self.transport.call("DELETE", SERVICE, f"/jobs/{id}")

    def log(self, id: int, *, node: int | None = None, follow: bool = False, offset: int = 0) -> Iterator[str]:
        """The output in pieces as it comes, not in lines, of the first node or another. With ``follow`` until the job has ended, over
        broken connections."""
        return decoded(self.log_bytes(id, node=node, follow=follow, offset=offset))

    def log_bytes(self, id: int, *, node: int | None = None, follow: bool = False, offset: int = 0) -> Iterator[bytes]:
        def read(start: int) -> Iterator[bytes]:
            params = {"node": node, "offset": offset + start, "follow": "true" if follow else None}
            return self.transport.stream(SERVICE, f"/jobs/{id}/log", params)

        if not follow:
            return read(0)
        return follow_log(read, lambda: is_final(self.get(id)["phase"]), self.transport.sleep)

    def wait(self, id: int, timeout: float | None = None) -> Job:
        """The job once it has ended. Raises Unavailable after ``timeout`` seconds."""
        return wait_until(lambda: self.get(id), lambda job: is_final(job["phase"]), self.transport.sleep, timeout, f"job {id}")

    def events(self, id: int) -> Page[Event]:
        return self.transport.page(SERVICE, f"/jobs/{id}/events", {})

    def metrics(self, id: int) -> JobMetrics:
        """Latest metrics, parameters and logged models of its MLflow run."""
        found: JobMetrics = self.transport.call("GET", SERVICE, f"/jobs/{id}/metrics")
        return found


def decoded(chunks: Iterator[bytes]) -> Iterator[str]:
    """UTF-8 whose characters may be cut between two chunks; what is no UTF-8 becomes U+FFFD."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)
