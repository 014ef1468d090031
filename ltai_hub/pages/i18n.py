"""English → 简体中文 for what the hub's pages say. The English sentence is the key; ``zh-CN.json`` has the other one.

Language of a page: cookie ``ltai_lang``, else what the account says, else Accept-Language, else English.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context

COOKIE = "ltai_lang"
ENGLISH, CHINESE = "en", "zh-CN"
LANGUAGES = {ENGLISH: "English", CHINESE: "简体中文"}


def choose_language(cookie: str = "", saved: str = "", accept: str = "") -> str:
    """The first of the three that names a language we have; ``accept`` is an Accept-Language header."""
    for wanted in (cookie, saved):
        if wanted in LANGUAGES:
            return wanted
    return _accepted(accept)


def translate(language: str, text: str, **values: object) -> str:
    """``text`` in that language with ``{name}`` filled in; English where there is no translation."""
    sentence = _sentences().get(text, text) if language == CHINESE else text
    return sentence.format(**values) if values else sentence


@pass_context
def page_language(context: Context) -> str:
    """Template function: the language of the page that is being rendered."""
    known = context.get("language")
    if isinstance(known, str) and known in LANGUAGES:
        return known
    # JupyterHub hands its templates the user but not the request; static_url is a method of the request's handler
    handler = getattr(context.get("static_url"), "__self__", None)
    return handler_language(handler, context.get("user")) if handler is not None else ENGLISH


@pass_context
def page_translate(context: Context, text: str, **values: object) -> str:
    """Template function ``_``."""
    return translate(page_language(context), text, **values)


def handler_language(handler: Any, user: Any = None) -> str:
    """Language of a tornado request; ``user`` is JupyterHub's, its ``user_info`` has what the account says."""
    info = getattr(user, "user_info", None) or {}
    accept = handler.request.headers.get("Accept-Language", "")
    return choose_language(handler.get_cookie(COOKIE, ""), info.get("language", ""), accept)


def _accepted(header: str) -> str:
    wishes = []
    for position, part in enumerate(header.split(",")):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        wishes.append((-weight, position, name.lower()))
    for _, _, name in sorted(wishes):
        if name.startswith("zh"):
            return CHINESE
        if name.startswith("en"):
            return ENGLISH
    return ENGLISH


@cache
def _sentences() -> dict[str, str]:
    sentences: dict[str, str] = json.loads((Path(__file__).parent / "zh-CN.json").read_text("utf-8"))
    return sentences
