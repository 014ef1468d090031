from __future__ import annotations

from pathlib import Path

import pytest

from ltai_hub.domain.permissions import ACTIONS, Role, may
from ltai_hub.errors import Denied, NotFound
from ltai_hub.tenancy import store
from ltai_hub.tenancy.permit import default_tenant, permit, permitted_tenants
from tests.factories import NOW, a_database, a_person, a_school


def test_a_role_holds_in_everything_below(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        assert store.roles_of(tx, "tina") == {"physics": Role.TEACHER, "ml": Role.TEACHER}
        permit(tx, a_person("tina"), "members:write", "ml")


def test_the_strongest_of_several_roles_counts(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        _, physics, _ = a_school(tx)
        store.put_member(tx, physics, "sam", Role.ASSISTANT, NOW)
        assert store.roles_of(tx, "sam")["ml"] is Role.ASSISTANT


def test_a_member_may_not_touch_what_is_anothers(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        permit(tx, a_person("sam"), "jobs:cancel", "ml", owner="sam")
        with pytest.raises(Denied, match="sam is member in ml and may not cancel a job of sue; it takes assistant, teacher, admin"):
            permit(tx, a_person("sam"), "jobs:cancel", "ml", owner="sue")
        permit(tx, a_person("tina"), "jobs:cancel", "ml", owner="sue")


def test_strangers_are_not_told_whether_a_tenant_exists(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        with pytest.raises(NotFound):
            permit(tx, a_person("sam"), "jobs:read", "school")
        with pytest.raises(NotFound):
            permit(tx, a_person("nobody"), "jobs:read", "ml")


def test_a_platform_administrator_may_all_in_what_exists(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        for action in ACTIONS:
            permit(tx, a_person("root", admin=True), action, "ml", owner="sam")
        with pytest.raises(NotFound):
            permit(tx, a_person("root", admin=True), "jobs:read", "nowhere")


def test_lists_show_others_things_only_where_the_role_allows(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        assert permitted_tenants(tx, a_person("sam"), "jobs:read") == set()
        assert permitted_tenants(tx, a_person("sam"), "jobs:read", own=True) == {"ml"}
        assert permitted_tenants(tx, a_person("ada"), "jobs:read") == {"school", "physics", "ml"}


def test_the_default_tenant_is_where_one_was_put_first(tmp_path: Path) -> None:
    with a_database(tmp_path).transaction() as tx:
        a_school(tx)
        assert default_tenant(tx, "sam") == "ml"


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_who_may_do_it_to_others_things_may_do_it_to_their_own(action: str) -> None:
    assert ACTIONS[action].others <= ACTIONS[action].own


def test_viewers_change_nothing() -> None:
    changing = [a for a in ACTIONS if not a.endswith(":read") and may(Role.VIEWER, a)]
    assert changing == []
