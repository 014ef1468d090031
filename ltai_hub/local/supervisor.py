"""``ltai start``: checks, starts the parts, watches them, stops them.

Its memory stays small on purpose: standard library only, everything heavy is a child.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ltai_hub.errors import ConfigProblem
from ltai_hub.hub.answering import status
from ltai_hub.local.children import Child, ChildSpec, last_lines
from ltai_hub.local.folder import make_folders, open_folder, write_private
from ltai_hub.local.keys import load_keys
from ltai_hub.local.options import StartOptions, check_options
from ltai_hub.local.output import accounts_table, say
from ltai_hub.local.plan import find_node, make_settings, make_specs
from ltai_hub.local.ports import LOOPBACK, Ports, check_public_port, load_ports
from ltai_hub.local.prepare import Prepared, read_prepared
from ltai_hub.local.workloads import kill_workloads, stop_workloads

START_SECONDS = 180.0
LOOK_SECONDS = 0.05
# dies so often before anything answered: it will not get better by itself
HOPELESS_DEATHS = 3
GONE_WRONG, BAD_SETUP = 1, 2


def run(options: StartOptions) -> int:
    """Blocks until Ctrl-C or SIGTERM. 0 after an orderly stop, 1 when a part does not start, 2 for a wrong set-up."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return asyncio.run(_start(options))
    except ConfigProblem as problem:
        print(problem.message, file=sys.stderr, flush=True)
        return BAD_SETUP


async def _start(options: StartOptions) -> int:
    check_options(options)
    node = find_node()
    lock = open_folder(options.folder)
    try:
        check_public_port(options.host, options.port)
        make_folders(options.folder)
        keys = load_keys(options.folder.root)
        ports = load_ports(options.folder.root, options.port)
        outside = dict(os.environ)
        prepared = await _prepare({**outside, **make_settings(options, ports, keys)})
        return await Supervisor(options, ports, make_specs(options, ports, keys, node, outside), prepared).run()
    finally:
        os.close(lock)


async def _prepare(environment: dict[str, str]) -> Prepared:
    """Raises ConfigProblem."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ltai_hub.local.prepare"), env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    out, _ = await process.communicate()
    if process.returncode not in (0, BAD_SETUP) or not out:
        raise ConfigProblem("the set-up failed, see the lines above; nothing was started")
    prepared = read_prepared(out.decode().splitlines()[-1])
    if prepared.problem:
        raise ConfigProblem(prepared.problem)
    return prepared


@dataclass
class Supervisor:
    options: StartOptions
    ports: Ports
    specs: list[ChildSpec]
    prepared: Prepared
    children: list[Child] = field(default_factory=list)

    async def run(self) -> int:
        asked = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, asked)
        self.children = [Child(spec, self.options.folder.logs / f"{spec.name}.log") for spec in self.specs]
        watching = [asyncio.create_task(child.keep_running(), name=child.spec.name) for child in self.children]
        try:
            if await self._came_up(asked):
                self._announce()
                await asked.wait()
            return 0 if asked.is_set() else GONE_WRONG
        finally:
            await self._stop()
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    def _on_signal(self, asked: asyncio.Event) -> None:
        """The first asks everything to end, the second kills it."""
        if not asked.is_set():
            asked.set()
            say("Stopping …")
            return
        for child in self.children:
            child.kill()
        kill_workloads(self.options.folder)

    async def _came_up(self, asked: asyncio.Event) -> bool:
        """False when it was asked to stop meanwhile, or a part does not start (then the reason is printed)."""
        until = time.monotonic() + START_SECONDS
        while not asked.is_set():
            if await self._answers():
                return True
            hopeless = next((child for child in self.children if child.deaths >= HOPELESS_DEATHS), None)
            if hopeless or time.monotonic() > until:
                self._explain(hopeless)
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _answers(self) -> bool:
        """Hub and services, both through the proxy, as a browser reaches them."""
        host = LOOPBACK if self.options.host in ("", "0.0.0.0") else self.options.host
        asked = (
            # first without the proxy, whose log would fill with refused connections
            (LOOPBACK, self.ports.hub, "/hub/ready", 200),
            (LOOPBACK, self.ports.services, "/services/health", 200),
            (host, self.options.port, "/hub/health", 200),
            # a service's own answer; until the route is there the hub answers with a redirect
            (host, self.options.port, "/services/tenancy/api/v1/me", 401),
        )
        for address, port, path, expected in asked:
            if await status(address, port, path) != expected:
                return False
        return True

    def _explain(self, child: Child | None) -> None:
        if child is None:
            say(f"The platform did not answer within {START_SECONDS:.0f} s; see the files in {self.options.folder.logs}")
            return
        say(f"{child.spec.name} does not start. The end of {child.log_file}:\n{last_lines(child.log_file)}")

    def _announce(self) -> None:
        accounts = [asdict(account) for account in self.prepared.accounts]
        ready = {"url": self.options.url, "pid": os.getpid(), "accounts": accounts}
        write_private(self._ready_file, json.dumps(ready, indent=1, ensure_ascii=False) + "\n")
        for sentence in missing_isolation(self.options.folder.run / "isolation.json"):
            say(f"This machine: {sentence}")
        if self.prepared.accounts:
            say(accounts_table(self.prepared.accounts))
        if self.prepared.invite:
            say(f"Make the first administrator's account (this link works once, for 72 hours):\n  {self.prepared.invite}")
        say(f"Ready: {self.options.url}")

    async def _stop(self) -> None:
        """The hub first: it ends environments and meters them. Then what services started, then the rest."""
        self._ready_file.unlink(missing_ok=True)
        by_name = {child.spec.name: child for child in self.children}
        await by_name["hub"].stop()
        await stop_workloads(self.options.folder)
        await asyncio.gather(*(child.stop() for child in self.children))

    @property
    def _ready_file(self) -> Path:
        return self.options.folder.root / "ready.json"


def missing_isolation(path: Path) -> list[str]:
    """What this machine cannot do, as the fork server found out."""
    with suppress(OSError, ValueError):
        return [str(sentence) for sentence in json.loads(path.read_text("utf-8"))["missing"]]
    return []
