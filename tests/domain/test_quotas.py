from __future__ import annotations

from ltai_hub.domain.quotas import guaranteed_inside, resource_names


def test_a_guarantee_covers_those_below_and_theirs_add_up() -> None:
    parents = {"school": None, "physics": "school", "ml": "physics", "optics": "physics", "biology": "school"}
    own = {"physics": 3.0, "ml": 1.0, "optics": 1.0, "biology": 2.0}
    assert guaranteed_inside(parents, own) == {"school": 5, "physics": 3, "ml": 1, "optics": 1, "biology": 2}
    assert guaranteed_inside(parents, own | {"optics": 4.0})["school"] == 7


def test_a_parent_that_is_not_among_them_is_no_parent() -> None:
    assert guaranteed_inside({"ml": "gone"}, {"ml": 2}) == {"ml": 2}


def test_a_tree_of_any_depth_is_added_up() -> None:
    parents = {f"t{n}": f"t{n - 1}" if n else None for n in range(5000)}
    assert guaranteed_inside(parents, {"t4999": 1})["t0"] == 1


def test_quotas_may_name_these() -> None:
    assert resource_names(["b", "a"]) == ["cpu", "memory", "storage", "accelerators", "accelerator:a", "accelerator:b"]
