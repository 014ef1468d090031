"""Writes the pages of ``docs/reference`` that say what the code says; ``--check`` only tells which are stale (exit code 1).

    python docs/generate.py [--check]

Each module in ``docs/generators`` has ``make_page() -> str`` and nothing to do with files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
for folder in (DOCS, DOCS.parent, DOCS.parent / "services"):
    sys.path.insert(0, str(folder))

from generators import catalogue, cli, errors, helm_values, permissions, rest, settings  # noqa: E402  # the path is set above

PAGES = {
    "permissions": permissions.make_page,
    "settings": settings.make_page,
    "errors": errors.make_page,
    "cli": cli.make_page,
    "rest": rest.make_page,
    "catalogue": catalogue.make_page,
    "helm-values": helm_values.make_page,
}
NOTE = "<!-- Made by docs/generate.py: change the code it describes, then run: python docs/generate.py -->\n\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a page is stale")
    check = parser.parse_args().check
    stale = [name for name, make_page in PAGES.items() if bring_up_to_date(name, NOTE + make_page(), check)]
    if check and stale:
        print(f"stale: docs/reference/{{{','.join(stale)}}}.md; run: python docs/generate.py", file=sys.stderr)
    return 1 if check and stale else 0


def bring_up_to_date(name: str, text: str, check: bool) -> bool:
    """Whether the page was not what it should be."""
    path = DOCS / "reference" / f"{name}.md"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    if not check:
        path.write_text(text, encoding="utf-8")
        print(f"docs/reference/{path.name}")
    return True


if __name__ == "__main__":
    sys.exit(main())
