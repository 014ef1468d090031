"""SQL of what the cluster says of the tenants: the last event of that kind. One is written only when the sentence changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from ltai_hub.db.tables import events, tenants
from ltai_hub.metering.store import insert_event

NOUN, CLUSTER, ACTOR = "tenant", "cluster", "platform"
# in the place of a slug: what concerns the cluster as a whole
ALL = ""
READY = "the cluster's queue is as the quotas say"


def cluster_sentences(tx: Connection) -> dict[str, str]:
    """Slug (or ``ALL``) → what is in the way, "" when nothing is; a tenant the cluster never heard of is left out."""
    newest = select(func.max(events.c.id)).where((events.c.noun == NOUN) & (events.c.to_phase == CLUSTER)).group_by(events.c.noun_id)
    # a tenant of the same name that was deleted is another one
    known = (tenants.c.id == events.c.tenant_id) | (events.c.noun_id == ALL)
    query = select(events.c.noun_id, events.c.reason).outerjoin(tenants, tenants.c.id == events.c.tenant_id)
    rows = tx.execute(query.where(events.c.id.in_(newest), known))
    return {slug: "" if reason == READY else reason for slug, reason in rows}


def note_cluster(tx: Connection, sentences: Mapping[str, str], at: datetime) -> None:
    """``sentences``: slug (or ``ALL``) → what is in the way, or ""."""
    before = cluster_sentences(tx)
    names = {ALL: ""} | {slug: name for slug, name in tx.execute(select(tenants.c.slug, tenants.c.name))}
    for slug, sentence in sentences.items():
        if slug in names and before.get(slug, None if slug else "") != sentence:
            insert_event(tx, at, NOUN, slug, names[slug], ACTOR, slug or None, ACTOR, None, CLUSTER, sentence or READY)
