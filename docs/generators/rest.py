"""reference/rest.md from the services' routes and models."""

from __future__ import annotations

import importlib
import inspect
import tempfile
import tomllib
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generators.markdown import cell, code, sentence, table
from ltai_hub.domain.permissions import ACTIONS
from ltai_hub.service import Platform, ServiceSpec, make_platform
from ltai_hub.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# REST

Everything the pages, the SDK and the command line do is a request to one of the services, at
`HUB/services/SERVICE/api/v1/…`. OpenAPI 3.1 of each: `HUB/services/SERVICE/api/v1/openapi.json`.

- **Who:** `Authorization: Bearer TOKEN` (or `token TOKEN`) with a hub token: made by `ltai login`, on the page `/hub/token`, or given to
  an environment as `JUPYTERHUB_API_TOKEN`. Programs of a job have one of the platform's own as `LTAI_TOKEN`, for models and training,
  that ends with the job. A token that is revoked or has ended works for up to a minute more.
- **May:** the action a route names must be held in the tenant it is about ([Permissions](permissions.md)). "signed in" needs no role.
- **Lists** answer `{"items": […], "total": N}`. Where a list can be long it takes `limit` (1 to 1000, 100 unless told), `offset` and
  `q`, a text to search.
- **Times** are ISO-8601 in UTC, sizes bytes, durations seconds, money integer millionths of `currency`.
- **Refused** requests answer `application/problem+json` ([Errors](errors.md)). Every answer has the header `X-Request-ID`.

"""


def make_page() -> str:
    with tempfile.TemporaryDirectory() as folder:
        platform = make_platform(Settings(data=Path(folder), backend="fake", signing_key="none is needed to list routes"))
        parts = [HEAD, *(describe(spec, platform) for spec in specs())]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def specs() -> list[ServiceSpec]:
    """Of the source tree, installed or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"]["ltai.services"]
    return [getattr(importlib.import_module(target.split(":")[0]), target.split(":")[1]) for _, target in sorted(points.items())]


def describe(spec: ServiceSpec, platform: Platform) -> str:
    found = [route for route in spec.make(platform).router.routes if isinstance(route, APIRoute)]
    rows = [
        [code(f"{method} {route.path}"), may(route), *bodies(route, found)] for route in found for method in sorted(route.methods or ())
    ]
    text = f"## {spec.name}\n\n{table(['request', 'may', 'sends', 'gets'], rows)}\n"
    models = importlib.import_module(f"{spec.make.__module__.split('.')[0]}.{spec.name}.models")
    return text + "\n".join(describe_model(model) for model in own_models(models))


def may(route: APIRoute) -> str:
    actions = [action for call in calls(route.dependant) if (action := getattr(call, "action", None)) in ACTIONS]
    return ", ".join(code(action) for action in actions) or "signed in"


def calls(dependant: Any) -> Iterator[Any]:
    for below in dependant.dependencies:
        yield below.call
        yield from calls(below)


def bodies(route: APIRoute, all_routes: list[APIRoute]) -> tuple[str, str]:
    asked = [parameter.alias for parameter in query_of(route.dependant)]
    paged = {"limit", "offset", "q"} <= set(asked)
    query = [name for name in asked if name not in ("limit", "offset", "q") or not paged] + ["limit, offset, q"] * paged
    sent = link(route.body_field.field_info.annotation) if route.body_field else ""
    return " ".join(filter(None, [sent, code("?" + ", ".join(query)) if query else ""])), gets(route, all_routes)


def query_of(dependant: Any) -> Iterator[Any]:
    yield from dependant.query_params
    for below in dependant.dependencies:
        yield from query_of(below)


def gets(route: APIRoute, all_routes: list[APIRoute]) -> str:
    """The model; for a list the model of one of its items, as the neighbouring routes tell it."""
    if route.status_code == 204:
        return ""
    kind = route.response_model or typing.get_type_hints(route.endpoint).get("return")
    if is_model(kind):
        return link(kind)
    if getattr(kind, "__name__", "").endswith("Response"):
        return "text"
    model = _named_like(route) or _of_neighbour(route, all_routes)
    return f"list of {link(model)}" if model else "see OpenAPI"


def _named_like(route: APIRoute) -> Any:
    """GET /flavors of a service with a model FlavorOut."""
    service = importlib.import_module(f"{route.endpoint.__module__.rpartition('.')[0]}.models")
    noun = route.path.rstrip("/").rpartition("/")[2]
    names = {name.removesuffix("Out").lower(): kind for name, kind in vars(service).items() if is_model(kind)}
    # the table of permissions lists actions
    return names.get({"permissions": "action"}.get(noun, noun.removesuffix("s"))) or names.get(noun)


def _of_neighbour(route: APIRoute, all_routes: list[APIRoute]) -> Any:
    near = [r for r in all_routes if is_model(r.response_model) and (r.path == route.path or _is_item(r.path, route.path))]
    return near[0].response_model if near else None


def _is_item(path: str, collection: str) -> bool:
    return path.startswith(f"{collection}/{{") and path.count("/") == collection.count("/") + 1


def is_model(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def link(kind: Any) -> str:
    found = [k for k in (kind, *typing.get_args(kind)) if is_model(k)]
    return code(found[0].__name__) if found else ""


def own_models(module: types.ModuleType) -> list[type[BaseModel]]:
    kinds = [k for k in vars(module).values() if is_model(k) and k.__module__ == module.__name__]
    return [k for k in kinds if k.model_fields]


def describe_model(model: type[BaseModel]) -> str:
    doc = model.__doc__ or ""
    words = sentence(doc.split("\n\n")[0].replace("``", "`")) + "\n\n" if doc else ""
    fields = ", ".join(describe_field(name, field) for name, field in model.model_fields.items())
    return f"**{model.__name__}** {words}{fields}\n"


def describe_field(name: str, field: FieldInfo) -> str:
    optional = "" if field.is_required() else "?"
    help = f" – {cell(field.description)}" if field.description else ""
    return f"`{name}{optional}` {type_name(field.annotation)}{help}"


def type_name(kind: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", datetime: "time", type(None): "null", Any: "JSON"}
    if kind in names:
        return names[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return type_name(inner[0])
    if origin is typing.Literal:
        return " \\| ".join(f'"{value}"' for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(part) for part in inner)
    if origin in (list, tuple, set):
        return f"list of {type_name(inner[0])}"
    if origin is dict:
        return f"object of {type_name(inner[1])}"
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return " \\| ".join(f'"{member.value}"' for member in kind)
    return code(getattr(kind, "__name__", str(kind)))
