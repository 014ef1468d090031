"""``python -m ltai_hub.pages.check``: prints sentences of the hub's pages without a translation; 1 when there are any."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
IN_TEMPLATE = re.compile(r"""\b_\(\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
IN_PYTHON = re.compile(r"""(?:translate\(\s*[\w.()]+,|self\.t\(|Item\("\w+",)\s*"((?:[^"\\]|\\.)*)\"""")


def sentences() -> Iterator[str]:
    for template in (HERE / "templates").glob("*.html"):
        for match in IN_TEMPLATE.finditer(template.read_text("utf-8")):
            yield match[1] or match[2]
    for module in (*HERE.glob("*.py"), *(HERE.parent / "hub").glob("*.py")):
        yield from IN_PYTHON.findall(module.read_text("utf-8"))


def missing() -> list[str]:
    known = json.loads((HERE / "zh-CN.json").read_text("utf-8"))
    return sorted(set(sentences()) - known.keys())


if __name__ == "__main__":
    for sentence in missing():
        print(sentence)
    sys.exit(1 if missing() else 0)
