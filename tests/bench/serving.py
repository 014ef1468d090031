"""P6: requests per second of one endpoint instance against its peers, and through the platform's proxy.

Same scikit-learn model (iris, LogisticRegression), same one-row request, 8 connections, one instance each, on this machine in the same run.
Needs ``wrk``. Peers: ``mlflow models serve`` (the platform's environment) and MLServer in an environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CONNECTIONS = 8
PREFIX = "/endpoints/bench/iris"
TOKEN = "bench-token"
ROW = [5.1, 3.5, 1.4, 0.2]
INFER = {"parameters": {"content_type": "np"}, "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROW}]}
# uvloop 0.22 took away the implicit event loop MLServer 1.7 counts on; parallel_workers=0 is its fastest setting for one instance.
MLSERVER = ["mlserver==1.7.1", "mlserver-mlflow", "mlserver-sklearn", "scikit-learn", "pandas", "uvloop<0.22"]


@dataclass(frozen=True)
class Target:
    """One server under load."""

    name: str
    url: str
    body: Mapping[str, Any]
    token: str = ""


@dataclass(frozen=True)
class Server:
    name: str
    command: Sequence[str]
    target: Target
    env: Mapping[str, str] = field(default_factory=dict)


def measure(runs: int = 3, seconds: int = 4, log: Any = sys.stderr) -> list[dict[str, Any]]:
    """Rows {"figure", "value", "unit", "peer", "peer_value", "ratio", "runs", "what"}; requests per second, median of ``runs``."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="ltai-bench-") as text, ExitStack() as stack:
        folder = Path(text)
        make_model(folder)
        results: dict[str, list[float]] = {}
        targets: list[Target] = []
        for server in make_servers(folder):
            targets.append(stack.enter_context(running(server, folder)))
            print(f"P6: {server.name} answers", file=log)
        targets.append(stack.enter_context(proxied(targets[0], folder)))
        for _ in range(runs):
            for target in targets:
                press(target, 1, folder)
                results.setdefault(target.name, []).append(press(target, seconds, folder))
                print(f"P6: {target.name}: {results[target.name][-1]:.0f} requests/s", file=log)
    return make_rows(results)


def make_rows(results: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    middle = {name: median(values) for name, values in results.items()}
    own, through = middle["ltai"], middle["ltai through the proxy"]
    best = max((name for name in middle if not name.startswith("ltai")), key=lambda name: middle[name])
    rows = [_row("one instance, direct", own, name, middle[name], results["ltai"]) for name in middle if not name.startswith("ltai")]
    rows.append(_row("through the platform's address", through, f"{best} direct", middle[best], results["ltai through the proxy"]))
    rows.append(_row("through the platform's address", through, "ltai direct", own, results["ltai through the proxy"]))
    return rows


def _row(what: str, value: float, peer: str, peer_value: float, runs: Sequence[float]) -> dict[str, Any]:
    numbers = {"value": round(value), "unit": "requests/s", "peer": peer, "peer_value": round(peer_value)}
    return {"figure": "P6", "what": what, **numbers, "ratio": round(value / peer_value, 2), "runs": [round(run) for run in runs]}


def make_model(folder: Path) -> None:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(x, y)
    mlflow.sklearn.save_model(
        model,
        str(folder / "model"),
        signature=infer_signature(x, model.predict(x)),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )


def make_servers(folder: Path) -> list[Server]:
    """Our runtime first, then its peers."""
    model = str(folder / "model")
    own, flow, other = free_port(), free_port(), free_port()
    infer = "/v2/models/iris/infer"
    return [
        Server(
            "ltai",
            [sys.executable, "-m", "ltai_lab.serving", "--port", str(own)],
            Target("ltai", f"http://127.0.0.1:{own}{PREFIX}{infer}", INFER, TOKEN),
            {
                "MODEL_URI": model,
                "MODEL_NAME": "iris",
                "LTAI_PREFIX": PREFIX,
                "LTAI_TOKEN_HASHES": hashlib.sha256(TOKEN.encode()).hexdigest(),
                "PYTHONPATH": str(REPOSITORY / "labextensions" / "ltai_lab"),
            },
        ),
        Server(
            "mlflow models serve",
            [sys.executable, "-m", "mlflow", *f"models serve -m {model} --env-manager local -h 127.0.0.1 -p {flow} -w 1".split()],
            Target("mlflow models serve", f"http://127.0.0.1:{flow}/invocations", {"inputs": [ROW]}),
        ),
        Server("MLServer", mlserver_command(folder, other), Target("MLServer", f"http://127.0.0.1:{other}{infer}", INFER)),
    ]


def mlserver_command(folder: Path, port: int) -> list[str]:
    """Made once in ``.bench/mlserver`` (MLServer's pins do not go with ours)."""
    environment = Path(os.environ.get("LTAI_BENCH_MLSERVER", REPOSITORY / ".bench" / "mlserver"))
    if not (environment / "bin" / "mlserver").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--python", "3.11", str(environment)], check=True)
        subprocess.run(
            [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(environment / "bin" / "python"), *MLSERVER], check=True
        )
    settings = folder / "mlserver"
    settings.mkdir()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (settings / "settings.json").write_text(json.dumps({**ports, "host": "127.0.0.1", "parallel_workers": 0, "debug": False}))
    model = {"name": "iris", "implementation": "mlserver_mlflow.MLflowRuntime", "parameters": {"uri": str(folder / "model")}}
    (settings / "model-settings.json").write_text(json.dumps(model))
    return [str(environment / "bin" / "mlserver"), "start", str(settings)]


@contextmanager
def running(server: Server, folder: Path) -> Iterator[Target]:
    """Started, answering, and ended with everything it started."""
    log = folder / f"{server.name.replace(' ', '-')}.log"
    env = {**os.environ, "PATH": f"{Path(server.command[0]).parent}:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true", **server.env}
    with log.open("wb") as out:
        process = subprocess.Popen(server.command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_for(server.target, process, log)
        yield server.target
    finally:
        stop(process)


@contextmanager
def proxied(target: Target, folder: Path) -> Iterator[Target]:
    """The same instance behind configurable-http-proxy as the platform bundles and starts it."""
    public, admin = free_port(), free_port()
    bundle = REPOSITORY / "ltai_hub" / "_web" / "proxy" / "lib" / "chp.mjs"
    command = ["node", str(bundle), f"--port={public}", "--ip=127.0.0.1", f"--api-port={admin}", "--api-ip=127.0.0.1", "--log-level=error"]
    with (folder / "proxy.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        origin, path = re.match(r"(http://[^/]+)(.*)", target.url).groups()  # type: ignore[union-attr]
        route = json.dumps({"target": origin}).encode()
        until = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(
                    urllib.request.Request(f"http://127.0.0.1:{admin}/api/routes{PREFIX}", route, method="POST"), timeout=5
                )
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
        through = Target(f"{target.name} through the proxy", f"http://127.0.0.1:{public}{path}", target.body, target.token)
        wait_for(through, process, folder / "proxy.log")
        yield through
    finally:
        stop(process)


def press(target: Target, seconds: int, folder: Path) -> float:
    """Requests per second; any answer that is not 2xx is an error."""
    script = folder / "post.lua"
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {target.token}"} if target.token else {})}
    lines = [f'wrk.headers["{name}"]="{value}"' for name, value in headers.items()]
    script.write_text("\n".join(['wrk.method="POST"', *lines, f"wrk.body=[==[{json.dumps(target.body)}]==]", ""]))
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), target.url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{target.name} did not answer everything:\n{said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise RuntimeError(f"wrk said nothing of use:\n{said}")
    return float(found[1])


def wait_for(target: Target, process: subprocess.Popen[bytes], log: Path, patience: float = 60) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {target.token}"}
    until = time.monotonic() + patience
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(target.url, json.dumps(target.body).encode(), headers), timeout=5).read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{target.name} does not answer ({error}):\n{log.read_text()[-2000:]}") from error
            time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(8)
    except ProcessLookupError:
        return
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    for row in measure():
        print(json.dumps(row))
