"""``python -m ltai_lab.run_notebook analysis.ipynb [--output FILE]``: a notebook as a job.

Cells run in order in a kernel of the same Python; what they print appears at once, with a line a cell, and the notebook
with its outputs is written even when a cell fails. Exit code 1 when one does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ltai_lab.run_notebook", description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--output", type=Path, help="where the executed notebook goes; default: NAME.executed.ipynb beside it")
    args = parser.parse_args()
    if not args.notebook.is_file():
        print(f"{args.notebook}: there is no such notebook", file=sys.stderr)
        return 2
    output = args.output or args.notebook.with_suffix(".executed.ipynb")
    return asyncio.run(run(args.notebook, output))


async def run(source: Path, output: Path) -> int:
    try:
        import nbformat
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    except ImportError as error:
        print(f"this image cannot run notebooks: {error.name} is missing; add nbclient and ipykernel to its requirements", file=sys.stderr)
        return 2

    class PrintingClient(NotebookClient):  # type: ignore[misc]
        """Shows what cells print while they run."""

        def output(self, outs: list[Any], msg: dict[str, Any], display_id: str, cell_index: int) -> Any:
            show(msg["msg_type"], msg["content"])
            return super().output(outs, msg, display_id, cell_index)

    notebook = nbformat.read(source, as_version=4)
    code_cells = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code" and cell.source.strip()]
    started = time.monotonic()

    def on_cell_start(cell: Any, cell_index: int) -> None:
        if cell_index in code_cells:
            line = cell.source.strip().splitlines()[0]
            print(f"[{code_cells.index(cell_index) + 1}/{len(code_cells)}  {time.monotonic() - started:6.1f} s] {line[:100]}", flush=True)

    # The notebook's own kernel name is one of the machine it was written on; here it is this Python.
    client = PrintingClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(source.resolve().parent)}},
        on_cell_start=on_cell_start,
    )
    try:
        await client.async_execute()
    except CellExecutionError:
        return 1  # its traceback has been shown
    finally:
        nbformat.write(notebook, output)
        print(f"written: {output}", flush=True)
    return 0


def show(kind: str, content: dict[str, Any]) -> None:
    if kind == "stream":
        print(content["text"], end="", flush=True)
    elif kind in ("execute_result", "display_data"):
        print(content["data"].get("text/plain", ""), flush=True)
    elif kind == "error":
        print("\n".join(content["traceback"]), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
