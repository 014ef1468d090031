"""Every mistake is named with file, line, key and what to write instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ltai_hub.catalog import check, load_catalog
from ltai_hub.errors import ConfigProblem
from ltai_hub.paths import shipped

GOOD = {
    "flavors": "flavors:\n  small: { cpu: 1, memory: 2Gi }\n",
    "images": "images:\n  sk: { framework: sk, requirements: [numpy] }\n",
    "profiles": "profiles:\n  plain: { image: sk, flavor: small }\n",
}


def a_catalog(folder: Path, **files: str) -> Path:
    for noun, text in (GOOD | files).items():
        (folder / f"{noun}.yaml").write_text(text, "utf-8")
    return folder


def said(folder: Path, **files: str) -> list[str]:
    return [str(mistake) for mistake in check(a_catalog(folder, **files))]


FLAVORS = [
    ("cpu: 1\n    memroy: 2Gi", "flavors.yaml:4: flavors.a.memroy: is no key here; did you mean memory?"),
    ("cpu: 1\n    ram: 2Gi", "flavors.yaml:4: flavors.a.ram: is no key here; did you mean memory?"),
    ("cpu: 1", "flavors.yaml:2: flavors.a: memory is missing; for example memory: 2Gi"),
    ("cpu: 500m\n    memory: 2Gi", 'flavors.yaml:3: flavors.a.cpu: "500m" is no number; write cores: cpu: 0.5'),
    ("cpu: 0\n    memory: 2Gi", "flavors.yaml:3: flavors.a.cpu: 0 is too small; it must be more than 0"),
    ("cpu: 9999\n    memory: 2Gi", "flavors.yaml:3: flavors.a.cpu: 9999 is too large; it can be at most 4096"),
    ("cpu: 1\n    memory: 2", "flavors.yaml:4: flavors.a.memory: 2 is 2 bytes; with a unit: memory: 2Gi"),
    ("cpu: 1\n    memory: '2'", 'flavors.yaml:4: flavors.a.memory: "2" is no amount with a unit; write memory: 2Gi'),
    ("cpu: 1\n    memory: 2 gb", 'flavors.yaml:4: flavors.a.memory: "2 gb" is no amount with a unit; write memory: 2Gi'),
    ("cpu: 1\n    memory: much", 'flavors.yaml:4: flavors.a.memory: "much" is no amount with a unit; for example memory: 2Gi'),
    ("cpu: 1\n    memory: 1Ki", "flavors.yaml:4: flavors.a.memory: 1Ki is too little to start anything; it must be at least 16Mi"),
    ("cpu: 1\n    memory:", "flavors.yaml:4: flavors.a.memory: is empty; for example memory: 2Gi"),
    (
        "cpu: 1\n    memory: 2Gi\n    price: 0.40 CNY",
        'flavors.yaml:5: flavors.a.price: "0.40 CNY" is no number; write only the number: price: 0.40',
    ),
    ("cpu: 1\n    memory: 2Gi\n    price: -1", "flavors.yaml:5: flavors.a.price: -1 is too small; it must be at least 0"),
    (
        "cpu: 1\n    memory: 2Gi\n    architecture: x86_64",
        'flavors.yaml:5: flavors.a.architecture: "x86_64" is not possible; did you mean amd64?',
    ),
    (
        "cpu: 1\n    memory: 2Gi\n    architecture: sparc",
        'flavors.yaml:5: flavors.a.architecture: "sparc" is not possible; it can be amd64 or arm64',
    ),
    (
        "cpu: 1\n    memory: 2Gi\n    accelerator: {}",
        "flavors.yaml:5: flavors.a.accelerator: kind is missing; for example kind: nvidia-a100-sxm4-80gb",
    ),
    (
        "cpu: 1\n    memory: 2Gi\n    accelerator: { kind: simulated }",
        'flavors.yaml:5: flavors.a.accelerator.kind: nothing says how a "simulated" is found; did you mean simulated-gpu?',
    ),
    (
        "cpu: 1\n    memory: 2Gi\n    accelerator: { kind: quantum }",
        'flavors.yaml:5: flavors.a.accelerator.kind: nothing says how a "quantum" is found; add kubernetes.resource_name',
    ),
    (
        "cpu: 1\n    memory: 2Gi\n    kubernetes: { nodeSelector: {} }",
        "flavors.yaml:5: flavors.a.kubernetes.nodeSelector: is no key here; did you mean node_selector?",
    ),
    (
        "cpu: 1\n    memory: 2Gi\n    cpu: 2",
        "flavors.yaml:5: flavors.a.cpu: is there twice, first in line 3; remove one of them",
    ),
]


@pytest.mark.parametrize(("row", "expected"), FLAVORS)
def test_a_mistake_in_a_flavor_is_named(tmp_path: Path, row: str, expected: str) -> None:
    text = f"flavors:\n  a:\n    {row}\n  small: {{ cpu: 1, memory: 2Gi }}\n"
    assert said(tmp_path, flavors=text) == [expected]


IMAGES = [
    ("framework: x", "images.yaml:2: images.a: can be used nowhere; give it requirements (local mode), a container (Kubernetes) or both"),
    (
        "framework: x\n    version: 1.10\n    container: x",
        'images.yaml:4: images.a.version: is read as the number 1.1; put it in quotes: version: "1.10"',
    ),
    (
        "framework: x\n    python: 3.10\n    container: x",
        'images.yaml:4: images.a.python: is read as the number 3.1; put it in quotes: python: "3.10"',
    ),
    (
        "framework: yes\n    container: x",
        'images.yaml:3: images.a.framework: is read as the truth value true; put it in quotes: framework: "yes"',
    ),
    ("framework: x\n    requirements: [torch=2]", 'images.yaml:4: images.a.requirements[0]: "torch=2" is no requirement; write "torch==2"'),
    (
        "framework: x\n    requirements:\n      - numpy\n      - torch 2.1",
        'images.yaml:6: images.a.requirements[1]: "torch 2.1" is no requirement; write "torch==2.1"',
    ),
    (
        "framework: x\n    requirements: [-r other.txt]",
        'images.yaml:4: images.a.requirements[0]: "-r other.txt" is an option, not a requirement; '
        "set options up for uv itself (uv.toml or UV_… variables)",
    ),
    (
        "framework: x\n    requirements: numpy",
        'images.yaml:4: images.a.requirements: "numpy" is not a list; for example requirements: [torch, torchvision]',
    ),
    (
        "framework: x\n    container: x\n    environment: { N: 1 }",
        'images.yaml:5: images.a.environment.N: is read as the number 1; put it in quotes: N: "1"',
    ),
    (
        "framework: x\n    container: x\n    environment: { LTAI_USER: me }",
        "images.yaml:5: images.a.environment.LTAI_USER: is set by the platform itself; choose another name",
    ),
    (
        "framework: x\n    container: x\n    environment: { a-b: me }",
        "images.yaml:5: images.a.environment.a-b: is no name of an environment variable; "
        "use letters, digits and _, beginning with a letter",
    ),
    ("framework: x\n    container: x\n    title: { zh-CN: 你好 }", "images.yaml:5: images.a.title: en is missing"),
]


@pytest.mark.parametrize(("row", "expected"), IMAGES)
def test_a_mistake_in_an_image_is_named(tmp_path: Path, row: str, expected: str) -> None:
    text = f"images:\n  a:\n    {row}\n  sk: {{ framework: sk, requirements: [numpy] }}\n"
    assert said(tmp_path, images=text) == [expected]


PROFILES = [
    ("image: skk\n    flavor: small", 'profiles.yaml:3: profiles.a.image: there is no image "skk" in images.yaml; did you mean sk?'),
    ("image: sk\n    flavor: huge", 'profiles.yaml:4: profiles.a.flavor: there is no flavor "huge" in flavors.yaml; it can be small'),
    (
        "image: sk\n    flavor: small\n    flavors: [small, smal]",
        'profiles.yaml:5: profiles.a.flavors[1]: there is no flavor "smal" in flavors.yaml; did you mean small?',
    ),
    (
        "image: sk\n    flavor: small\n    max_seconds: 4h",
        'profiles.yaml:5: profiles.a.max_seconds: "4h" is no whole number; write seconds: max_seconds: 14400',
    ),
    ("image: sk\n    flavor: small\n    max_seconds: 5", "profiles.yaml:5: profiles.a.max_seconds: 5 is too small; it must be at least 10"),
    ("image: sk\n    flavor: small\n    picture: cat.svg", "profiles.yaml:5: profiles.a.picture: there is no file pictures/cat.svg"),
    (
        "image: sk\n    flavor: small\n    copy: [{ source: ../../etc, target: x }]",
        'profiles.yaml:5: profiles.a.copy[0].source: "../../etc" leaves its folder; write the path without ..',
    ),
    (
        "image: sk\n    flavor: small\n    copy: [{ source: x, target: /etc }]",
        'profiles.yaml:5: profiles.a.copy[0].target: "/etc" does not fit; for example target: digits',
    ),
    (
        "image: sk\n    flavor: small\n    mounts: [{ source: x, target: d }]\n    copy: [{ source: y, target: d/ }]",
        'profiles.yaml:6: profiles.a.copy[0].target: "d" is used twice; line 5 has it too; choose another',
    ),
    (
        "image: sk\n    flavor: small\n    mounts: [{ source: x, target: d, readonly: true }]",
        "profiles.yaml:5: profiles.a.mounts[0].readonly: is no key here; did you mean read_only?",
    ),
]


@pytest.mark.parametrize(("row", "expected"), PROFILES)
def test_a_mistake_in_a_profile_is_named(tmp_path: Path, row: str, expected: str) -> None:
    assert said(tmp_path, profiles=f"profiles:\n  a:\n    {row}\n") == [expected]


BROKEN = [
    ("flavors:\n  a: { cpu: 1", "flavors.yaml:"),
    ("flavors:\n\ta: 1\n", "flavors.yaml:2: is no YAML"),
    ("flavors:\n  a:\n    title: big: one\n", "flavors.yaml:3: is no YAML: mapping values are not allowed in this context; put text"),
    ("", "flavors.yaml:1: is empty; begin with flavors:"),
    ("# nothing\n", "flavors.yaml:1: is empty"),
    ("- 1\n", "flavors.yaml:1: [1] is not a mapping"),
    ("flavours:\n  a: { cpu: 1, memory: 1Gi }\n", "flavors.yaml:1: flavours: is no key here; did you mean flavors?"),
    ("flavors: {}\n", "flavors.yaml:1: flavors: is empty; give at least one entry"),
    ("flavors: &a\n  small: *a\n", "flavors.yaml:2: flavors.small: is an alias of something it lies in; write it out"),
    ("flavors:\n  small: !!python/object:os.system {}\n", "flavors.yaml:2: flavors.small: cpu is missing"),
    ("flavors:\n  [a, b]: 1\n", "flavors.yaml:2: flavors: a key here is a list or mapping; use a word"),
    (
        "flavors:\n  Big One: { cpu: 1, memory: 1Gi }\n",
        "flavors.yaml:2: flavors.Big One: names are made of a-z, 0-9 and '-', beginning with a letter; call it big-one",
    ),
    (f"flavors:\n  {'x' * 50}: {{ cpu: 1, memory: 1Gi }}\n", "at most 40 characters, this one 50"),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_a_broken_file_is_named_and_never_a_traceback(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in line for line in said(tmp_path, flavors=text))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    a_catalog(tmp_path)
    (tmp_path / "images.yaml").write_bytes(b"images:\n  a: \xff\xfe\n")
    assert str(check(tmp_path)[0]) == "images.yaml:2: is not UTF-8 text; save it as UTF-8"


def test_a_missing_file_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    a_catalog(tmp_path)
    (tmp_path / "images.yaml").rename(tmp_path / "image.yml")
    assert str(check(tmp_path)[0]) == f"images.yaml: there is no such file in {tmp_path}; rename image.yml to images.yaml"


def test_profiles_are_not_blamed_for_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert {m.file for m in check(a_catalog(tmp_path, images="images: {"))} == {"images.yaml"}


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_files(tmp_path: Path) -> None:
    folder = a_catalog(tmp_path, flavors="flavors:\n  small: { cpu: x, memory: 2, gpu: 1 }\n", profiles="profiles:\n  a: { image: nn }\n")
    with pytest.raises(ConfigProblem) as raised:
        load_catalog(folder)
    lines = raised.value.message.splitlines()
    assert lines[0] == f"the catalogue in {folder} has 5 mistakes:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["flavors.yaml"] * 3 + ["profiles.yaml"] * 2


def test_a_picture_is_suggested_when_a_near_one_is_there(tmp_path: Path) -> None:
    shutil.copytree(shipped("spawner_profiles") / "pictures", tmp_path / "pictures")
    text = "profiles:\n  a: { image: sk, flavor: small, picture: digit.svg }\n"
    assert said(tmp_path, profiles=text)[0].endswith("there is no file pictures/digit.svg; did you mean digits.svg?")
