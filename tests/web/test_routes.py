"""The permission table is used by every route of every service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from ltai_hub.domain.permissions import ACTIONS
from ltai_hub.service import load_specs
from ltai_hub.web.dependencies import logged_in
from tests.services.platform import a_platform

# what everybody may know of themselves, and the table itself
ABOUT_ONESELF = {"/me", "/me/password", "/permissions"}
# jobs:read, endpoints:read or environments:read, as the noun says; the verb asks
BY_NOUN = {"/metrics/{noun}/{number}"}


def calls(dependant: Dependant) -> Iterator[object]:
    for part in dependant.dependencies:
        yield part.call
        yield from calls(part)


def routes(folder: Path) -> dict[str, APIRoute]:
    platform = a_platform(folder)
    found = {}
    for spec in load_specs():
        for route in spec.make(platform).router.routes:
            if isinstance(route, APIRoute):
                found[f"{sorted(route.methods)[0]} {spec.name} {route.path}"] = route
    return found


def test_every_route_names_an_action_of_the_table(tmp_path: Path) -> None:
    for name, route in routes(tmp_path).items():
        asked = {getattr(call, "action", None) for call in calls(route.dependant)} - {None}
        if route.path in ABOUT_ONESELF | BY_NOUN:
            assert logged_in in list(calls(route.dependant)), f"{name} lets anybody in"
        else:
            assert len(asked) == 1, f"{name} names {asked or 'no action'}"
            assert asked <= set(ACTIONS), name


def test_every_action_that_changes_something_is_asked_by_a_route(tmp_path: Path) -> None:
    asked = {getattr(call, "action", None) for route in routes(tmp_path).values() for call in calls(route.dependant)}
    through_mlflow = {"models:delete", "models:write"}
    assert {a for a in ACTIONS if not a.endswith(":read")} - asked - through_mlflow == set()


@pytest.mark.parametrize("action", ["jobs:creat", "", "*"])
def test_a_route_cannot_name_an_action_that_is_not_there(action: str) -> None:
    from ltai_hub.web.dependencies import require

    with pytest.raises(KeyError):
        require(action)
