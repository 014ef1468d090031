"""``spawner_profiles/{flavors,images,profiles}.yaml`` → Catalog; every mistake at once.

catalog = load_catalog(settings.catalog)      # raises ConfigProblem
for mistake in check(folder): print(mistake)  # flavors.yaml:12: flavors.small.memroy: is no key here; did you mean memory?
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ltai_hub.catalog.document import Document, read_document
from ltai_hub.catalog.mistakes import Mistake
from ltai_hub.catalog.rules import check_pictures, check_rules
from ltai_hub.catalog.schema import check_schema, load_schema
from ltai_hub.domain.catalog import Catalog, Flavor, Image, KubernetesFlavor, Profile, Text
from ltai_hub.domain.workloads import Copy, Mount, Resources
from ltai_hub.errors import ConfigProblem
from ltai_hub.paths import shipped
from ltai_hub.units import parse_bytes, to_micro

NOUNS = ("flavors", "images", "profiles")
PICTURE_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
Row = dict[str, Any]


def load_catalog(folder: Path) -> Catalog:
    """Raises ConfigProblem: one line a mistake, all of them, also in ``details["mistakes"]``."""
    documents = _read(folder)
    mistakes = _mistakes(documents, folder)
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = "\n".join(f"  {mistake}" for mistake in mistakes)
        raise ConfigProblem(f"the catalogue in {folder} has {count}:\n{lines}", mistakes=[str(m) for m in mistakes])
    rows = {noun: documents[noun].value for noun in NOUNS}
    common = tuple(rows["images"].get("common", ()))
    return Catalog(
        flavors={name: make_flavor(name, row) for name, row in rows["flavors"]["flavors"].items()},
        images={name: make_image(name, row, common) for name, row in rows["images"]["images"].items()},
        profiles={name: make_profile(name, row) for name, row in rows["profiles"]["profiles"].items()},
    )


def check(folder: Path) -> list[Mistake]:
    """Every mistake in the three files, in the order of file and line; empty when all is well."""
    return _mistakes(_read(folder), folder)


def _read(folder: Path) -> dict[str, Document]:
    return {noun: read_document(folder / f"{noun}.yaml") for noun in NOUNS}


def _mistakes(documents: dict[str, Document], folder: Path) -> list[Mistake]:
    for noun, document in documents.items():
        if document.value is None and document.mistakes:
            continue
        if document.value is None:
            document.add((), "is empty", f"begin with {noun}:")
            continue
        check_schema(document, load_schema(shipped("spawner_profiles") / "schema" / f"{noun}.json"))
    check_rules(documents)
    check_pictures(documents["profiles"], folder / "pictures")
    return [mistake for noun in NOUNS for mistake in sorted(set(documents[noun].mistakes))]


def picture_uri(folder: Path, profile: Profile) -> str:
    """The picture as a ``data:`` address for ``<img src>``; "" when the profile has none."""
    path = folder / "pictures" / profile.picture
    if not path.is_file():
        return ""
    return f"data:{PICTURE_TYPES[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def make_flavor(name: str, row: Row) -> Flavor:
    accelerator = row.get("accelerator", {})
    kubernetes = row.get("kubernetes", {})
    return Flavor(
        name=name,
        title=make_text(row.get("title", name)),
        resources=Resources(
            cpu=float(row["cpu"]),
            memory=parse_bytes(row["memory"]),
            disk=parse_bytes(row.get("disk", 0)),
            accelerator=accelerator.get("kind", ""),
            accelerator_count=accelerator.get("count", 1) if accelerator else 0,
            architecture=row.get("architecture", ""),
        ),
        price_micro_per_hour=to_micro(row.get("price", 0)),
        accelerator_title=accelerator.get("title", accelerator.get("kind", "")),
        kubernetes=KubernetesFlavor(**{**kubernetes, "tolerations": tuple(kubernetes.get("tolerations", ()))}),
    )


def make_image(name: str, row: Row, common: tuple[str, ...]) -> Image:
    own = tuple(row.get("requirements", ()))
    return Image(
        name=name,
        title=make_text(row.get("title", name)),
        description=make_text(row.get("description", "")),
        framework=row["framework"],
        version=row.get("version", ""),
        python=row.get("python", ""),
        requirements=(*common, *own) if own else (),
        container=row.get("container", ""),
        architectures=tuple(row.get("architectures", ())),
        environment=row.get("environment", {}),
    )


def make_profile(name: str, row: Row) -> Profile:
    return Profile(
        name=name,
        title=make_text(row.get("title", name)),
        description=make_text(row.get("description", "")),
        image=row["image"],
        flavor=row["flavor"],
        images=_default_first(row["image"], row.get("images", ())),
        flavors=_default_first(row["flavor"], row.get("flavors", ())),
        mounts=tuple(Mount(m["source"], m["target"], m.get("read_only", True)) for m in row.get("mounts", ())),
        copy=tuple(Copy(c["source"], c["target"]) for c in row.get("copy", ())),
        picture=row.get("picture", ""),
        max_seconds=row.get("max_seconds"),
        environment=row.get("environment", {}),
    )


def make_text(written: str | dict[str, str]) -> Text:
    if isinstance(written, str):
        return Text(written, written)
    return Text(written["en"], written.get("zh-CN", written["en"]))


def _default_first(default: str, allowed: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([default, *allowed]))
