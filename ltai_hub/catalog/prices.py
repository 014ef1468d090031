"""First prices of flavors, from the catalogue."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.engine import Connection

from ltai_hub.domain.catalog import Catalog
from ltai_hub.domain.usage import Price
from ltai_hub.metering import store


def seed_prices(tx: Connection, catalog: Catalog, now: datetime) -> list[str]:
    """Give every flavor that never had a price the one of its row; later changes are price versions. Returns the flavors."""
    priced = {price.flavor for price in store.price_versions(tx)}
    new = [flavor for flavor in catalog.flavors.values() if flavor.name not in priced]
    for flavor in new:
        store.insert_price(tx, Price(flavor.name, flavor.price_micro_per_hour, now), set_by="catalog")
    return [flavor.name for flavor in new]
