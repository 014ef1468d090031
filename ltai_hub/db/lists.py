"""SQL that every list needs: whose rows, which text, in which order, which page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Float, RowMapping, Select, and_, func, or_, select
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from ltai_hub.db.tables import tenants
from ltai_hub.domain.lists import Part, Sight, read_order


def in_sight(sight: Sight, user: Column[Any]) -> ColumnElement[bool]:
    """``user`` is the column of the owner; the query has ``tenants`` joined."""
    found = or_(user == sight.own, tenants.c.slug.in_(list(sight.others_in)))
    if sight.inside is not None:
        found = and_(found, tenants.c.slug.in_(list(sight.inside)))
    return and_(found, user == sight.user) if sight.user else found


def has_text(text: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """In one of the columns, in upper or lower case."""
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def take_part(
    tx: Connection, query: Select[Any], part: Part, sorts: Mapping[str, ColumnElement[Any]], key: ColumnElement[Any], falling: bool = True
) -> tuple[Sequence[RowMapping], int]:
    """The page, and how many there are in all. ``key`` is unique: the usual order, and the order of rows that sort the same.

    Raises BadInput for a ``part.sort`` that is not in ``sorts``.
    """
    order = read_order(part.sort, sorts)
    total = tx.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
    usual = key.desc() if falling else key
    if order is not None:
        column = sorts[order.field]
        query = query.order_by((column.desc() if order.falling else column.asc()).nulls_last())
    return tx.execute(query.order_by(usual).limit(part.limit).offset(part.offset)).mappings().all(), total


class seconds_between(FunctionElement[float]):
    """``seconds_between(first, last)`` of two times, as a number."""

    type = Float()
    inherit_cache = True


@compiles(seconds_between, "sqlite")
def _on_sqlite(element: seconds_between, compiler: Any, **more: Any) -> str:
    first, last = (compiler.process(clause, **more) for clause in element.clauses)
    return f"((julianday({last}) - julianday({first})) * 86400.0)"


@compiles(seconds_between, "postgresql")
def _on_postgresql(element: seconds_between, compiler: Any, **more: Any) -> str:
    first, last = (compiler.process(clause, **more) for clause in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({last} - {first})) AS DOUBLE PRECISION)"
