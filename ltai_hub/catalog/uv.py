"""Calls of uv: the binary of the installed package, the machine's own uv configuration, output line by line."""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ltai_hub.errors import Problem

DROPPED = ("LTAI_", "JUPYTER", "JPY_", "CONFIGPROXY_", "MLFLOW_", "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")
PR_SET_PDEATHSIG = 1
# the workers of compileall would wait for more work for ever: who ends it ends them
COMPILE = """
import compileall, os, signal, sys
os.setsid()
signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
sys.exit(not compileall.main())
"""
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class UvFailed(Problem):
    """uv left with an error; the message is its own, in one line."""


@dataclass(frozen=True)
class Runner:
    """Runs the commands of one build.

    log      gets their output, ``on_line`` sees it line by line
    lock     descriptor passed on: should a command outlive us, the image stays locked until it has ended
    pythons  where uv puts a Python it has to fetch
    """

    log: Path
    on_line: Callable[[str], None]
    lock: int
    pythons: Path

    async def uv(self, *arguments: str) -> None:
        """Raises UvFailed. Cancelled: uv is ended first."""
        from uv import find_uv_bin

        lines: list[str] = []
        code = await self._run((find_uv_bin(), "--no-progress", "--color=never", *arguments), lines)
        if code != 0:
            raise UvFailed(last_words(lines) or f"uv ended with code {code}")

    async def compile(self, python: Path, folder: Path) -> None:
        """Bytecode of everything but the packages' own tests (a quarter of all); files for other Pythons fail and are no concern."""
        await self._run((str(python), "-I", "-c", COMPILE, "-j", "0", "-x", "/tests?/", str(folder)), None)

    async def _run(self, command: Sequence[str], lines: list[str] | None) -> int:
        # no process of asyncio: one that is cancelled with everything else while it begins is waited for without end (Python 3.11)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",  # a pyproject.toml above the data folder is no configuration of ours
            env=_environment(self.pythons),
            umask=0o022,
            pass_fds=(self.lock,),
            preexec_fn=_die_with_parent,
        )
        loop, reader = asyncio.get_running_loop(), ThreadPoolExecutor(1, "uv")

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(self.on_line, line)

        try:
            await loop.run_in_executor(reader, self._follow, process, lines, tell)
            return await loop.run_in_executor(reader, process.wait)
        except BaseException:
            await _end(process)
            raise
        finally:
            reader.shutdown(wait=False)

    def _follow(self, process: subprocess.Popen[bytes], lines: list[str] | None, tell: Callable[[str], None]) -> None:
        """``lines`` None: so many of them that neither log nor memory wants them."""
        assert process.stdout is not None
        with self.log.open("ab") as file, process.stdout:
            for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip()
                if lines is not None:
                    file.write(raw)
                    file.flush()
                    lines.append(line)
                tell(line)


def _environment(pythons: Path) -> dict[str, str]:
    """Builds run strangers' ``setup.py``: nothing of the platform's environment is handed down."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    return {"UV_PYTHON_INSTALL_DIR": str(pythons), **kept, "UV_PYTHON_INSTALL_BIN": "0"}


def _die_with_parent() -> None:
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, 5)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


def last_words(lines: Sequence[str], longest: int = 800) -> str:
    """uv's explanation without its drawing: from the first "×" or "error:" on, in one line."""
    begin = next((n for n, line in enumerate(lines) if re.match(r"\s*(×|error:)", line)), max(len(lines) - 5, 0))
    plain = [re.sub(r"^[\s×╰├│─▶]+(error: )?|^error: ", "", line).strip() for line in lines[begin:]]
    text = " ".join(part for part in plain if part)
    return text if len(text) <= longest else text[: longest - 1] + "…"
