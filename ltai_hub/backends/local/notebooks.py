"""The fork server's child with Jupyter preloaded: notebook servers are forked from it in a fraction of a second.

Single-threaded, and it never reads a request: its forked children do.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any, NoReturn

from ltai_hub.backends.local.launch import Launch, Machine, become_program, run_child
from ltai_hub.backends.local.records import Spec
from ltai_hub.backends.local.request import Body
from ltai_hub.backends.local.syscalls import PR_SET_PDEATHSIG, close_all_but, name_process, prctl

PRELOADED = (
    "jupyterhub.singleuser.extension",
    "jupyterlab.labapp",
    "jupyter_server.serverapp",
    "jupyter_server_terminals.app",
    "notebook_shim.nbserver",
    "jupyter_lsp.serverextension",
    "jupyter_server.services.contents.handlers",
    "jupyter_server.services.contents.largefilemanager",
    "jupyter_server.services.kernels.handlers",
    "jupyter_server.services.kernels.connection.channels",
    "jupyter_server.services.sessions.handlers",
    "jupyter_server.services.kernelspecs.handlers",
    "jupyter_server.services.config.handlers",
    "jupyter_server.services.nbconvert.handlers",
    "jupyter_server.services.security.handlers",
    "jupyter_server.services.api.handlers",
    "jupyter_server.services.events.handlers",
    "jupyter_server.nbconvert.handlers",
    "jupyter_server.view.handlers",
    "jupyter_server.files.handlers",
    "jupyter_server.auth.login",
    "jupyter_server.gateway.managers",
    "jupyterlab.handlers.plugin_manager_handler",
    "jupyterlab.extensions",
    "jupyterlab.handlers.announcements",
    "jupyterlab.handlers.extension_manager_handler",
    "nbconvert",
    "ipykernel.kernelspec",
    "aiohttp",
    "certipy",
    "ltai_lab",
    "ltai_lab.handlers",
    "httpx",
    "httpcore",
    "h11",
    "IPython.core.interactiveshell",
    "jinja2.ext",
    "jupyter_core.migrate",
    "jupyter_lsp.virtual_documents_shadow",
    "jupyter_server.kernelspecs.handlers",
    "jupyter_server.services.shutdown",
    "tornado.platform.asyncio",
)
"""Modules a single-user server imports on its way up; what is not installed is left out."""

SERVER_OPTIONS = (
    "jupyterhub-singleuser",
    "--KernelManager.transport=ipc",  # anybody who reaches a TCP kernel's port can read all its output
    "--ServerApp.terminado_settings={'shell_command': ['/bin/bash', '-i']}",  # a login shell would reset PATH and lose the image
    "--LabApp.extension_manager=readonly",  # the platform's environment is read-only, and the other manager needs PyPI
    "--LanguageServerManager.autodetect=False",  # looks for npm for half a second at the first request
)


def start_notebook_parent(machine: Machine) -> tuple[int, socket.socket]:
    """(pid, socket to send launches to). Returns at once; launches wait in the socket until the preload is through."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        name_process("ltai-notebooks")
        close_all_but({0, 1, 2, theirs.fileno()})
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the midwives need no reaping
        preload()
        serve(theirs, machine)
    except BaseException as problem:
        print(f"notebook servers cannot be preloaded: {problem!r}", file=sys.stderr, flush=True)
    os._exit(1)


def preload() -> None:
    os.environ["HOME"] = "/nonexistent"  # no folder of the platform's account may end up as somebody's default
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # builds a grammar for 2.3 s at import, and is optional
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # later collections leave the shared pages alone


def serve(requests: socket.socket, machine: Machine) -> NoReturn:
    while True:
        message, fds, _, _ = socket.recv_fds(requests, 1 << 18, 64)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            run_child(unpack_launch(message, fds, machine), run_notebook)
        for fd in fds:
            os.close(fd)


def send_launch(requests: socket.socket, launch: Launch) -> None:
    message = {
        "spec": asdict(launch.spec),
        "main": launch.main,
        "listening": launch.listening >= 0,
        "procs": len(launch.cgroup_procs),
        "counters": len(launch.oom_counters),
    }
    socket.send_fds(requests, [json.dumps(message).encode()], launch.descriptors())


def unpack_launch(message: bytes, fds: list[int], machine: Machine) -> Launch:
    raw: dict[str, Any] = json.loads(message)
    for name in ("devices", "cpus", "cgroups"):
        raw["spec"][name] = tuple(raw["spec"][name])
    connection, report, *rest = fds
    listening = rest.pop(0) if raw["listening"] else -1
    procs, counters = rest[: raw["procs"]], rest[raw["procs"] :]
    return Launch(machine, Spec(**raw["spec"]), raw["main"], connection, report, listening, tuple(procs), tuple(counters))


def run_notebook(body: Body, launch: Launch) -> NoReturn:
    """The preloaded single-user server, in the confined child."""
    become_program(launch, body, {launch.listening})
    import random

    random.seed()
    prefix, api = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/"), os.environ.get("JUPYTERHUB_API_URL", "")
    os.environ["JUPYTERHUB_SERVICE_URL"] = f"http://127.0.0.1:{launch.spec.port}{prefix}"
    # unix socket paths hold 108 bytes and homes can be deep
    os.environ["JUPYTER_RUNTIME_DIR"] = os.path.join(os.environ["TMPDIR"], "jr")
    # HubAuth and LabApp take defaults from the environment when they are imported, long before this person's: say them again
    hub = [f"--HubAuth.base_url={prefix}", *([f"--HubAuth.api_url={api}"] if api else [])]
    sys.argv = [*SERVER_OPTIONS, *body.argv[1:], *hub, *lab_folders()]
    sys.executable = os.path.join(body.prefix, "bin", "python")  # kernels named "python" run in the image
    serve_on(socket.socket(fileno=launch.listening))
    import jupyterhub.singleuser.extension as single_user

    single_user.main()
    raise SystemExit(0)


def lab_folders() -> list[str]:
    from jupyterlab.commands import get_user_settings_dir, get_workspaces_dir

    return [f"--LabApp.user_settings_dir={get_user_settings_dir()}", f"--LabApp.workspaces_dir={get_workspaces_dir()}"]


def serve_on(listening: socket.socket) -> None:
    """Serve on the socket bound outside: it belongs to the machine's net namespace, whatever ours is."""
    from jupyter_server.serverapp import ServerApp

    def bind(self: ServerApp) -> bool:
        listening.setblocking(False)
        self.http_server.add_socket(listening)
        return True

    ServerApp._bind_http_server_tcp = bind
    ServerApp._find_http_port = lambda self: None
