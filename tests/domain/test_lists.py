from __future__ import annotations

import pytest

from ltai_hub.domain.lists import in_order, read_order
from ltai_hub.errors import BadInput

KEYS = {"size": lambda word: len(word) or None, "word": lambda word: word}


def test_a_minus_turns_the_order_and_what_has_no_value_is_last_either_way() -> None:
    words = ["bb", "", "aaa", "c"]
    assert in_order(words, "", KEYS) == words
    assert in_order(words, "size", KEYS) == ["c", "bb", "aaa", ""]
    assert in_order(words, "-size", KEYS) == ["aaa", "bb", "c", ""]


@pytest.mark.parametrize("sort", ["color", "-color", "--size", "size; drop table jobs", "名"])
def test_an_unknown_field_is_refused_with_those_there_are(sort: str) -> None:
    with pytest.raises(BadInput, match="choose one of size, word"):
        read_order(sort, KEYS)
