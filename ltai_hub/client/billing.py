"""``client.usage``, ``bills``, ``prices``: what was used and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from ltai_hub.client.transport import Transport, dropped, part, whose
from ltai_hub.client.types import Bill, Interval, Page, Price, Usage

SERVICE = "billing"


@dataclass(frozen=True)
class UsageReport:
    transport: Transport

    def list(
        self,
        *,
        tenant: str | None = None,
        user: str | None = None,
        since: str | None = None,
        until: str | None = None,
        group: str | None = None,
    ) -> Page[Usage]:
        """``user``: a name, or everybody's the caller may see. ``group``: "user", "tenant" or "none".

        ``since`` and ``until`` are ISO-8601 times; the running month unless told.
        """
        params = {"tenant": tenant, "user": whose(user), "from": since, "to": until, "group": group}
        return self.transport.page(SERVICE, "/usage", params)


@dataclass(frozen=True)
class Bills:
    transport: Transport

    def get(self, *, tenant: str | None = None, user: str | None = None, month: str | None = None) -> Bill:
        """``month`` as 2026-11; the running one unless told."""
        params = dropped({"tenant": tenant, "user": whose(user), "month": month})
        bill: Bill = self.transport.call("GET", SERVICE, "/bills", params=params)
        return bill

    def csv(self, *, tenant: str | None = None, user: str | None = None, month: str | None = None) -> str:
        return self.transport.text(SERVICE, "/bills.csv", {"tenant": tenant, "user": whose(user), "month": month})

    def intervals(self, key: str, *, month: str | None = None) -> Page[Interval]:
        """The metered intervals and price versions behind one line of a bill."""
        return self.transport.page(SERVICE, f"/bills/lines/{part(key)}/intervals", {"month": month})


@dataclass(frozen=True)
class Prices:
    transport: Transport

    def list(self) -> Page[Price]:
        return self.transport.page(SERVICE, "/prices", {})

    def set(self, flavor: str, price_micro_per_hour: int, *, valid_from: str | None = None) -> Price:
        """A new price version; what was metered before ``valid_from`` (now, unless told) keeps its price."""
        body = {"flavor": flavor, "price_micro_per_hour": price_micro_per_hour, "valid_from": valid_from}
        made: Price = self.transport.call("POST", SERVICE, "/prices", json=dropped(body))
        return made
