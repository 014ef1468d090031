"""The documentation is true: its commands exist, its links lead somewhere, and everything that has to be documented is."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from ltai_hub import errors
from ltai_hub.cli.group import NOUNS
from ltai_hub.cli.main import app
from ltai_hub.domain.permissions import ACTIONS
from ltai_hub.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts),
    *(ROOT / n for n in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
WRITTEN = [page for page in PAGES if page.parent != DOCS / "reference"]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> Iterator[str]:
    """The text of each fenced block, its indentation taken away."""
    for indent, body in re.findall(rf"^( *)```{language}\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        yield "\n".join(line.removeprefix(indent) for line in body.splitlines())


def typed_lines(page: Path) -> list[str]:
    return [line[2:] for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ ")]


def ltai_lines() -> list[Any]:
    return [
        pytest.param(line, id=f"{page.stem}: {line}") for page in PAGES for line in typed_lines(page) if re.match(r"(\S*/)?ltai\s", line)
    ]


def parse(words: list[str]) -> None:
    """As the command line does, without doing it. Raises what a wrong command or option raises."""
    group: Any = get_command(app)
    context = group.make_context("ltai", words)
    while context._protected_args:
        name, command, args = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, args, parent=context)


@pytest.mark.parametrize("line", ltai_lines())
def test_a_command_that_is_shown_is_one_that_works(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(re.split(r"\s(?:&&|\||>)\s", line)[0])
    number = re.compile(r"JOB|N")
    parse([number.sub("1", word) if word in ("JOB", "N") else word for word in words[1:]])


def test_the_check_itself_finds_what_is_wrong() -> None:
    for wrong in (["jib", "list"], ["job", "lst"], ["job", "list", "--colour"], ["job", "show"], ["job", "show", "x"]):
        with pytest.raises(Exception, match=r"no command|No such|Missing|valid"):
            parse(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_prose_exist(page: Path) -> None:
    known = {noun: set(_verbs(noun)) for noun in NOUNS}
    top = set(_top())
    for first, second in re.findall(r"`ltai ([a-z-]+)(?: ([a-z-]+))?[^`]*`", page.read_text(encoding="utf-8")):
        assert first in known or first in top, f"ltai {first}"
        assert not second or first in top or second in known[first], f"ltai {first} {second}"


def _top() -> Iterator[str]:
    group: Any = get_command(app)
    yield from group.commands


def _verbs(noun: str) -> Iterator[str]:
    group: Any = get_command(app)
    yield from group.get_command(None, noun).commands


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {line.split()[1] for line in typed_lines(page) if line.startswith("make ")}
    shown |= set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")))
    assert shown <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{target} has no such heading"


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {f"{line}.md" for block in blocks(DOCS / "index.md", "{toctree}") for line in block.splitlines() if "/" in line}
    assert listed == {str(page.relative_to(DOCS)) for page in PAGES if DOCS in page.parents} - {"index.md"}


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_python_and_yaml_in_the_pages_can_be_read(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)


def test_generated_pages_are_fresh() -> None:
    done = subprocess.run([sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_every_setting_action_and_error_is_documented() -> None:
    settings = (DOCS / "reference/settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"`LTAI_{name.upper()}`" in settings
        assert field.description, f"the setting {name} has no description"
    permissions = (DOCS / "reference/permissions.md").read_text(encoding="utf-8")
    assert all(f"`{action}`" in permissions for action in ACTIONS)
    page = (DOCS / "reference/errors.md").read_text(encoding="utf-8")
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.Problem) and kind is not errors.Problem:
            row = next(line for line in page.splitlines() if line.startswith(f"| `{kind.code}` "))
            assert row.split(" | ")[3].strip(), f"the error {kind.code} has no meaning"


def test_every_command_says_what_it_does() -> None:
    page = (DOCS / "reference/cli.md").read_text(encoding="utf-8")
    for noun in NOUNS:
        for verb in _verbs(noun):
            after = page.split(f"### ltai {noun} {verb}\n\n", 1)[1]
            assert after[0].isupper(), f"ltai {noun} {verb} has no help"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_name_no_machine(page: Path) -> None:
    assert not re.search(r"/root/|/work/|/home/[a-z]|pypi\.org|npmjs|docker\.io", page.read_text(encoding="utf-8"))


def shown_texts() -> str:
    """Everything the panels, the hub's pages and the profiles show in English."""
    files = [
        ROOT / "labextensions/ui/src/locales/en.ts",
        ROOT / "spawner_profiles/profiles.yaml",
        *(ROOT / "ltai_hub/pages/templates").glob("*.html"),
    ]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("page", [ROOT / "README.md", *(p for p in PAGES if p.parent.name in ("tutorials", "how-to"))], ids=name_of)
def test_what_is_bold_can_be_seen_in_the_product(page: Path) -> None:
    texts = shown_texts()
    missing = [
        label
        for label in re.findall(r"\*\*([^*]+)\*\*", page.read_text(encoding="utf-8"))
        if not re.search(rf"['\">: ]{re.escape(label)}['\"<, ]", texts)
    ]
    assert not missing
