from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from ltai_hub.catalog import check, load_catalog
from ltai_hub.catalog.files import copy_into_home, profile_mounts
from ltai_hub.catalog.load import NOUNS, picture_uri
from ltai_hub.catalog.reference import make_reference
from ltai_hub.domain.catalog import Text
from ltai_hub.domain.workloads import Mount
from ltai_hub.errors import NotFound
from ltai_hub.paths import DataFolder, shipped
from tests.catalog.test_mistakes import a_catalog

GIB = 1 << 30
SHIPPED = shipped("spawner_profiles")


def test_the_shipped_catalogue_has_no_mistake() -> None:
    assert check(SHIPPED) == []


def test_everything_people_read_in_the_shipped_catalogue_is_there_in_both_languages() -> None:
    catalog = load_catalog(SHIPPED)
    texts = [row.title for rows in (catalog.flavors, catalog.images, catalog.profiles) for row in rows.values()]
    texts += [image.description for image in catalog.images.values()]
    texts += [profile.description for profile in catalog.profiles.values()]
    assert all(text.en and text.zh_cn for text in texts)
    described = [profile.description for profile in catalog.profiles.values()]
    assert all(text.en != text.zh_cn for text in described)


def test_rows_become_values_with_plain_units(tmp_path: Path) -> None:
    catalog = load_catalog(
        a_catalog(
            tmp_path,
            flavors="flavors:\n  small: { cpu: 0.5, memory: 1.5Gi, disk: 2G, price: 0.4,\n"
            "    accelerator: { kind: simulated-gpu, count: 2 } }\n",
            images='common: [pip]\nimages:\n  sk: { framework: sk, version: "1.10", requirements: [numpy] }\n'
            "  k8s: { framework: x, container: x }\n",
            profiles="profiles:\n  a: { image: sk, flavor: small, images: [k8s, sk], title: { en: A, zh-CN: 甲 } }\n",
        )
    )
    flavor = catalog.get_flavor("small")
    assert (flavor.resources.memory, flavor.resources.disk, flavor.price_micro_per_hour) == (3 * GIB // 2, 2_000_000_000, 400_000)
    assert (flavor.resources.accelerator, flavor.resources.accelerator_count, flavor.simulated) == ("simulated-gpu", 2, True)
    assert catalog.images["sk"].requirements == ("pip", "numpy")
    assert catalog.images["sk"].version == "1.10"
    assert catalog.images["k8s"].requirements == ()
    assert catalog.profiles["a"].images == ("sk", "k8s")
    assert catalog.profiles["a"].title == Text("A", "甲")
    assert catalog.profiles["a"].description == Text("", "")


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no flavor 'huge' in the catalogue; it has small"):
        load_catalog(a_catalog(tmp_path)).get_flavor("huge")


def test_merge_keys_and_anchors_work(tmp_path: Path) -> None:
    text = "flavors:\n  small: &s { cpu: 1, memory: 2Gi }\n  big: { <<: *s, cpu: 8 }\n"
    catalog = load_catalog(a_catalog(tmp_path, flavors=text))
    assert (catalog.flavors["big"].resources.cpu, catalog.flavors["big"].resources.memory) == (8, 2 * GIB)


def test_loading_is_quick() -> None:
    load_catalog(SHIPPED)
    began = time.perf_counter()
    load_catalog(SHIPPED)
    assert time.perf_counter() - began < 0.1


def test_loading_does_not_import_the_slow_iri_grammar() -> None:
    code = (
        "import sys; from pathlib import Path; from ltai_hub.catalog import load_catalog; "
        f"load_catalog(Path({str(SHIPPED)!r})); sys.exit('rfc3987_syntax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("noun", NOUNS)
def test_the_schemas_are_schemas_and_every_key_has_help(noun: str) -> None:
    schema = json.loads((SHIPPED / "schema" / f"{noun}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for mapping in (schema, *schema["$defs"].values()):
        for key, value in mapping.get("properties", {}).items():
            assert value.get("description"), key


def test_the_reference_page_has_every_key() -> None:
    page = make_reference()
    for key in ("accelerator.kind", "requirements", "copy[].target", "max_seconds", "kubernetes.tolerations[].key"):
        assert f"| `{key}` |" in page


def test_pictures_come_as_addresses_a_page_can_show() -> None:
    catalog = load_catalog(SHIPPED)
    assert all(picture_uri(SHIPPED, p).startswith("data:image/svg+xml;base64,") for p in catalog.profiles.values())


# ---- what a profile brings along


def test_mounts_get_absolute_places(tmp_path: Path) -> None:
    mounts = "[{ source: d, target: x }, { source: /srv/all, target: /data, read_only: false }]"
    text = f"profiles:\n  a: {{ image: sk, flavor: small, mounts: {mounts} }}\n"
    profile = load_catalog(a_catalog(tmp_path, profiles=text)).profiles["a"]
    data, home = DataFolder(tmp_path / "data"), tmp_path / "data" / "homes" / "sam"
    assert profile_mounts(data, profile, home) == (
        Mount(str(tmp_path / "data/courses/d"), str(home / "x"), True),
        Mount("/srv/all", "/data", False),
    )


def test_files_are_copied_once_and_never_over_a_persons_own(tmp_path: Path) -> None:
    text = "profiles:\n  a: { image: sk, flavor: small, copy: [{ source: d, target: lab/d }] }\n"
    profile = load_catalog(a_catalog(tmp_path, profiles=text)).profiles["a"]
    data, home = DataFolder(tmp_path / "data"), tmp_path / "home"
    (data.courses / "d").mkdir(parents=True)
    (data.courses / "d" / "a.txt").write_text("teacher's")
    (data.courses / "d" / "a.txt").chmod(0o444)
    home.mkdir()
    assert copy_into_home(data, profile.copy, home) == [home / "lab/d"]
    assert (home / "lab/d/a.txt").stat().st_mode & 0o600 == 0o600
    (home / "lab/d/a.txt").write_text("mine")
    assert copy_into_home(data, profile.copy, home) == []
    assert (home / "lab/d/a.txt").read_text() == "mine"


def test_nothing_is_written_through_a_symlink_in_a_home(tmp_path: Path) -> None:
    text = "profiles:\n  a: { image: sk, flavor: small, copy: [{ source: d, target: lab/d }] }\n"
    profile = load_catalog(a_catalog(tmp_path, profiles=text)).profiles["a"]
    data, home, elsewhere = DataFolder(tmp_path / "data"), tmp_path / "home", tmp_path / "elsewhere"
    (data.courses / "d").mkdir(parents=True)
    home.mkdir()
    elsewhere.mkdir()
    (home / "lab").symlink_to(elsewhere)
    assert copy_into_home(data, profile.copy, home) == []
    assert list(elsewhere.iterdir()) == []


def test_a_course_that_people_write_leads_nowhere_else(tmp_path: Path) -> None:
    text = "profiles:\n  a: { image: sk, flavor: small, copy: [{ source: d, target: d }, { source: e, target: e }] }\n"
    profile = load_catalog(a_catalog(tmp_path, profiles=text)).profiles["a"]
    data, home, secret = DataFolder(tmp_path / "data"), tmp_path / "home", tmp_path / "secrets"
    (data.courses / "d").mkdir(parents=True)
    secret.mkdir()
    (secret / "key").write_text("secret")
    (data.courses / "d" / "link").symlink_to(secret / "key")
    (data.courses / "e").symlink_to(secret)
    assert copy_into_home(data, profile.copy, home) == [home / "d"]
    assert (home / "d" / "link").is_symlink()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_belong_to_the_owner_of_the_home(tmp_path: Path) -> None:
    text = "profiles:\n  a: { image: sk, flavor: small, copy: [{ source: d, target: lab/d }] }\n"
    profile = load_catalog(a_catalog(tmp_path, profiles=text)).profiles["a"]
    data, home = DataFolder(tmp_path / "data"), tmp_path / "home"
    (data.courses / "d").mkdir(parents=True)
    (data.courses / "d" / "a.txt").write_text("x")
    home.mkdir()
    os.chown(home, 54321, 54321)
    copy_into_home(data, profile.copy, home)
    assert {(home / p).stat().st_uid for p in ("lab", "lab/d", "lab/d/a.txt")} == {54321}
