"""The cluster of the tests has the Kueue that docs/how-to/install-on-kubernetes.md asks for."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.docs.test_docs import DOCS, blocks

PAGE = DOCS / "how-to" / "install-on-kubernetes.md"
VALUES = Path(__file__).parents[1] / "kubernetes" / "kueue-values.yaml"


def test_kueue_is_set_up_as_documented() -> None:
    (documented,) = [found for block in blocks(PAGE, "yaml") if (found := yaml.safe_load(block)).get("kind") == "Configuration"]
    used = yaml.safe_load(yaml.safe_load(VALUES.read_text("utf-8"))["managerConfig"]["controllerManagerConfigYaml"])
    assert documented.items() <= used.items()
