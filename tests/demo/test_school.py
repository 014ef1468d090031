from __future__ import annotations

import csv
import json
import struct
import zlib
from pathlib import Path

import pytest

from ltai_hub.accounts.service import Accounts
from ltai_hub.catalog import load_catalog
from ltai_hub.catalog.prices import seed_prices
from ltai_hub.db.engine import Database
from ltai_hub.demo import make_demo_school, school
from ltai_hub.demo.courses import make_courses
from ltai_hub.demo.digits import find_scans, load_scans, make_png
from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.permissions import Role
from ltai_hub.metering import store as metering
from ltai_hub.paths import DataFolder, shipped
from ltai_hub.tenancy import store
from tests.factories import NOW, a_database, at


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return a_database(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path / "data")
    folder.root.mkdir()
    return folder


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(shipped("spawner_profiles"))


def test_a_demo_school_has_people_who_can_sign_in_and_places_with_profiles(database: Database, data: DataFolder, catalog: Catalog) -> None:
    people = make_demo_school(database, data, catalog)
    assert [p.role for p in people] == ["admin", "teacher", "assistant", *["student"] * 5]
    accounts = Accounts(database)
    for person in people:
        assert accounts.check(person.name, person.password).admin is (person.role == "admin")
    assert len({p.password for p in people}) == len(people)
    with database.reading() as tx:
        assert [t.path for t in store.all_tenants(tx) if t.slug == "ml-101"] == [("Demo school", "Computer Science", "ML 101")]
        assert store.roles_of(tx, "teacher") == {"ml-101": Role.TEACHER, "gpu-lab": Role.TEACHER}
        assert store.roles_of(tx, "student3") == {"ml-101": Role.MEMBER}
        assert store.direct_tenants(tx, "student1")[0] == "ml-101"
        assert store.roles_of(tx, "admin")["gpu-lab"] is Role.ADMIN
        assert store.profiles_of(tx, ["ml-101", "gpu-lab"]) == {"ml-101": ["digits", "plain"], "gpu-lab": ["gpu-intro", "plain"]}
        assert {price.flavor for price in metering.price_versions(tx)} == set(catalog.flavors)


def test_making_it_again_finds_everything_and_changes_nothing(database: Database, data: DataFolder, catalog: Catalog) -> None:
    first = make_demo_school(database, data, catalog)
    accounts = Accounts(database)
    accounts.set_password("student1", "my own new password")
    with database.transaction() as tx:
        store.delete_member(tx, store.get_tenant(tx, "ml-101"), "student5")
    (data.courses / "digits" / "digits.ipynb").write_text("the teacher's")
    assert make_demo_school(database, data, catalog) == first
    assert accounts.check("student1", "my own new password")
    with database.reading() as tx:
        assert "student5" not in [m.user for m in store.members_of(tx, store.get_tenant(tx, "ml-101"))]
    assert (data.courses / "digits" / "digits.ipynb").read_text() == "the teacher's"


def test_passwords_are_kept_for_the_owner_alone(database: Database, data: DataFolder, catalog: Catalog) -> None:
    people = make_demo_school(database, data, catalog)
    path = data.root / "demo.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [a["password"] for a in json.loads(path.read_text())["accounts"]] == [p.password for p in people]
    assert people[0].password not in repr(people)


def test_a_start_that_was_cut_short_is_finished_by_the_next(
    database: Database, data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(school, "seed_prices", dies)
        with pytest.raises(KeyboardInterrupt):
            make_demo_school(database, data, catalog)
    people = make_demo_school(database, data, catalog)
    assert len(people) == 8
    assert Accounts(database).check("student2", next(p.password for p in people if p.name == "student2"))


def test_lost_passwords_are_made_anew(database: Database, data: DataFolder, catalog: Catalog) -> None:
    make_demo_school(database, data, catalog)
    (data.root / "demo.json").unlink()
    people = make_demo_school(database, data, catalog)
    assert Accounts(database).check(people[1].name, people[1].password)


def test_first_prices_come_from_the_catalogue_and_later_ones_stay(database: Database, catalog: Catalog) -> None:
    with database.transaction() as tx:
        assert seed_prices(tx, catalog, NOW) == list(catalog.flavors)
        assert seed_prices(tx, catalog, at(60)) == []
        prices = {p.flavor: p.micro_per_hour for p in metering.price_versions(tx)}
    assert prices["cpu-small"] == 200_000


def test_the_digits_course_has_notebook_script_table_and_pictures(data: DataFolder) -> None:
    make_courses(data)
    course = data.courses / "digits"
    assert {p.name for p in course.iterdir()} == {"digits.ipynb", "train.py", "data"}
    with (course / "data" / "digits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1797
    assert {int(row["digit"]) for row in rows} == set(range(10))
    assert max(int(row[f"p{n}"]) for row in rows for n in range(64)) == 255
    pictures = sorted((course / "data" / "png").rglob("*.png"))
    assert len(pictures) == 200
    first = next(p for p in pictures if p.name == "0000.png")
    assert first.parent.name == rows[0]["digit"]
    assert read_png(first) == [int(rows[0][f"p{n}"]) for n in range(64)]
    assert {p.name for p in (data.courses / "gpu-intro").iterdir()} == {"gpu-intro.ipynb", "matmul.py"}


def read_png(path: Path) -> list[int]:
    """Grey values of an unfiltered 8-bit picture, read independently of the writer."""
    content, at_byte, packed = path.read_bytes(), 8, b""
    while at_byte < len(content):
        size, kind = struct.unpack(">I4s", content[at_byte : at_byte + 8])
        packed += content[at_byte + 8 : at_byte + 8 + size] if kind == b"IDAT" else b""
        at_byte += size + 12
    rows = zlib.decompress(packed)
    return [value for n in range(8) for value in rows[n * 9 + 1 : n * 9 + 9]]


def test_the_pictures_are_what_an_image_library_reads() -> None:
    image = pytest.importorskip("PIL.Image")
    import io

    pixels, _ = load_scans(find_scans())[0]
    opened = image.open(io.BytesIO(make_png(pixels, 8)))
    assert (opened.size, opened.mode, opened.tobytes()) == ((8, 8), "L", pixels)


@pytest.mark.parametrize("course", ["digits", "gpu-intro"])
def test_notebooks_are_shipped_without_outputs(course: str) -> None:
    path = Path(school.__file__).parent / "courses" / course / f"{course}.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in cells)
