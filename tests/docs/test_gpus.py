"""The rows of docs/how-to/gpus-on-kubernetes.md as a catalogue; tests/kubernetes/test_flavors.py runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ltai_hub.backends.kubernetes.pods import container_resources
from ltai_hub.backends.kubernetes.tenants import MOST_GROUPS, kinds_of, make_groups
from ltai_hub.catalog import load_catalog
from ltai_hub.domain.catalog import Catalog
from tests.docs.test_docs import DOCS, blocks

PAGE = DOCS / "how-to" / "gpus-on-kubernetes.md"


def documented_names() -> list[str]:
    (rows,) = blocks(PAGE, "yaml")
    return list(yaml.safe_load(rows)["flavors"])


def documented_flavors(folder: Path) -> Catalog:
    """With one image and one profile that offers them all."""
    (rows,) = blocks(PAGE, "yaml")
    (folder / "flavors.yaml").write_text(rows)
    names = documented_names()
    image = {"framework": "scikit-learn", "container": "ltai/scikit-learn:1.9"}
    files = {
        "images": {"lab": image, "lab-amd64": {**image, "architectures": ["amd64"]}, "lab-arm64": {**image, "architectures": ["arm64"]}},
        "profiles": {"lab": {"image": "lab", "flavor": names[0], "flavors": names}},
    }
    for noun, body in files.items():
        (folder / f"{noun}.yaml").write_text(yaml.safe_dump({noun: body}))
    return load_catalog(folder)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return documented_flavors(tmp_path)


def test_every_row_of_the_page_is_one_of_its_table(catalog: Catalog) -> None:
    told = re.findall(r"^\|.*\| `([a-z0-9-]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(catalog.flavors)


def test_no_two_kinds_are_the_same_to_the_cluster(catalog: Catalog) -> None:
    kinds = kinds_of(catalog)
    asked = {(row.resource_name, *row.resources, *sorted(row.node_selector.items())) for row in kinds.values()}
    assert len(asked) == len(kinds)
    assert len(make_groups(kinds)) < MOST_GROUPS


def test_the_amounts_of_a_share_are_those_of_each_card(catalog: Catalog) -> None:
    row = catalog.flavors["nvidia-vgpu"]
    limits = container_resources(row.resources, row.kubernetes)["limits"]
    assert {name: amount for name, amount in limits.items() if "/" in name} == {
        "nvidia.com/gpu": "1",
        "nvidia.com/gpumem": "10240",
        "nvidia.com/gpucores": "30",
    }
