"""Run by one person's job against another's: tries every way in and prints {attack: what came of it or null when refused}.

Reads its targets as JSON from argv[1]; needs nothing but Python, so that it can be passed to ``python -c``.
"""

import contextlib
import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
target = json.loads(sys.argv[1])
results: dict[str, object] = {}


def attack(name: str) -> Callable[[Callable[[], object]], None]:
    def run(action: Callable[[], object]) -> None:
        try:
            got = action()
        except (OSError, ProcessLookupError, ValueError):
            got = None
        results[name] = repr(got)[:80] if got else None

    return run


def read(path: str, count: int = 64) -> bytes:
    with open(path, "rb") as file:
        return file.read(count)


def check(result: int) -> bool:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return True


def connect(address: object, family: int = socket.AF_INET, send: bytes = b"") -> object:
    with socket.socket(family) as sock:
        sock.settimeout(2)
        sock.connect(address)  # type: ignore[arg-type]
        if send:
            sock.sendall(send)
            return sock.recv(64)
        return "connected"


def write(path: str) -> str:
    with open(path, "a"):
        return "opened for writing"


attack("read the other's file")(lambda: read(target["home"] + "/secret.txt"))
attack("list the other's home")(lambda: os.listdir(target["home"]))
attack("write into the other's home")(lambda: write(target["home"] + "/planted"))
attack("list all homes")(lambda: [name for name in os.listdir(os.path.dirname(target["home"])) if name not in target["mine"]])
attack("platform database")(lambda: read(target["data"] + "/ltai.sqlite"))
attack("secrets")(lambda: read(target["data"] + "/secrets.json"))
attack("run folder")(lambda: os.listdir(target["data"] + "/run"))
attack("write into the platform's environment")(lambda: write(sys.prefix + "/planted"))


@attack("fork server's socket")
def _() -> object:
    answer = connect(target["data"] + "/run/fork.sock", socket.AF_UNIX, b"\0\0\0\x10" + b'{"op": "status"}')
    return isinstance(answer, bytes) and b'"error": ""' in answer


attack("MLflow's socket")(lambda: connect(target["data"] + "/run/mlflow.sock", socket.AF_UNIX))


@attack("symlink of mine to the other's file")
def _() -> object:
    link = os.path.join(os.environ["HOME"], "link")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    os.symlink(target["home"] + "/secret.txt", link)
    return read(link)


@attack("see the other's processes")
def _() -> object:
    marker = target["marker"].encode()
    return [
        pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid() and marker in read(f"/proc/{pid}/cmdline", 9999)
    ]


for who, pid in target["pids"].items():
    attack(f"environment of {who}")(lambda pid=pid: b"=" in read(f"/proc/{pid}/environ", 9999))  # type: ignore[misc]
    attack(f"memory of {who}")(lambda pid=pid: f"descriptor {os.open(f'/proc/{pid}/mem', os.O_RDWR)}")  # type: ignore[misc]
    attack(f"signal to {who}")(lambda pid=pid: check(libc.kill(pid, 0)))  # type: ignore[misc]
    attack(f"ptrace of {who}")(lambda pid=pid: check(libc.ptrace(0x4206, pid, 0, 0)) and not libc.ptrace(17, pid, 0, 0))  # type: ignore[misc]
    attack(f"root folder of {who}")(lambda pid=pid: os.listdir(f"/proc/{pid}/root"))  # type: ignore[misc]
    attack(f"enter the namespaces of {who}")(lambda pid=pid: check(libc.setns(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), 0)))  # type: ignore[misc]

attack("abstract socket of the other")(lambda: connect("\0" + target["marker"], socket.AF_UNIX))
attack("/dev/shm file of the other")(lambda: read("/dev/shm/" + target["marker"]))
attack("/tmp file of the other")(lambda: read("/tmp/" + target["marker"]))
attack("System V shared memory of the other")(lambda: libc.shmget(target["key"], 16, 0) >= 0)
attack("TCP server of the other")(lambda: connect(("127.0.0.1", target["port"]), send=b"GET /secret.txt HTTP/1.0\r\n\r\n"))
attack("TCP port of the platform")(lambda: connect(("127.0.0.1", target["platform_port"])))
attack("mount")(lambda: check(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)))
attack("unmount a cover")(lambda: check(libc.umount2(b"/tmp", 2)))
attack("capabilities")(lambda: int(read("/proc/self/status", 9999).split(b"CapEff:")[1].split()[0], 16))
attack("new user namespace")(lambda: check(libc.unshare(0x10000000)))
attack("descriptors of the platform")(
    lambda: [
        path
        for fd in os.listdir("/proc/self/fd")
        if (path := os.readlink("/proc/self/fd/" + fd)).startswith(target["data"] + "/run") and not path.endswith("/log")
    ]
)
print(json.dumps(results))
