"""Usage and bills: intervals of a month, rated by the price versions that were valid."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime

from ltai_hub.domain.usage import Charge, Interval, Price, Rated, rate_all
from ltai_hub.errors import BadInput, Conflict
from ltai_hub.metering import store
from ltai_hub.service import Platform
from ltai_hub.slugs import shown
from ltai_hub.tenancy import store as tenancy
from ltai_hub.tenancy.permit import permit, permitted_tenants
from ltai_hub.units import format_money
from ltai_hub.web.callers import Caller
from ltai_services.billing.models import Bill, BillLine, Group, IntervalOut, NewPrice, PriceOut, UsageOut

DANGEROUS_IN_SHEETS = ("=", "+", "-", "@", "\t", "\r")


class BillingService:
    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.database = platform.database
        self.currency = platform.settings.currency

    # ---- usage

    def usage(self, caller: Caller, start: datetime, end: datetime, tenant: str | None, user: str | None, group: Group) -> list[UsageOut]:
        rated = self._rated(caller, "usage:read", start, end, tenant, user)
        groups: dict[tuple[str | None, ...], list[Rated]] = {}
        for row in rated:
            groups.setdefault(_group_key(row.interval, group), []).append(row)
        return [
            UsageOut(
                user=key[0],
                tenant=key[1],
                kind=key[2],
                flavor=key[3],
                seconds=sum(r.seconds for r in rows),
                cost_micro=sum(r.cost_micro for r in rows),
                currency=self.currency,
            )
            for key, rows in sorted(groups.items(), key=lambda item: tuple(part or "" for part in item[0]))
        ]

    # ---- bills

    def bill(self, caller: Caller, month: str, tenant: str | None, user: str | None) -> Bill:
        start, end = month_bounds(month, self.platform.clock())
        rated = self._rated(caller, "bills:read", start, end, tenant, user)
        lines = make_lines(rated)
        return Bill(
            tenant=tenant,
            user=user,
            month=f"{start:%Y-%m}",
            started_at=start,
            ended_at=end,
            total_micro=sum(line.cost_micro for line in lines),
            currency=self.currency,
            lines=lines,
        )

    def line_intervals(self, caller: Caller, key: str, month: str) -> list[IntervalOut]:
        """What a line of the month's bill is made of: one row for each interval and price version."""
        start, end = month_bounds(month, self.platform.clock())
        kind, _, noun_id = key.partition(":")
        rated = self._rated(caller, "bills:read", start, end, None, None, (kind, noun_id))
        return [_interval_out(row.interval, charge, self.currency) for row in rated for charge in row.charges]

    def bill_csv(self, caller: Caller, month: str, tenant: str | None, user: str | None) -> str:
        """The bill as UTF-8 CSV with a header; text that a spreadsheet would run as a formula gets a quote in front."""
        bill = self.bill(caller, month, tenant, user)
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(["month", "kind", "id", "name", "user", "tenant", "flavor", "seconds", "cost", "currency"])
        for line in bill.lines:
            cost = format_money(line.cost_micro, bill.currency).split(" ")[0]
            words = [safe_cell(text) for text in (line.kind, line.noun_id, line.name, line.user, line.tenant, line.flavor)]
            writer.writerow([bill.month, *words, f"{line.seconds:.6f}", cost, bill.currency])
        return out.getvalue()

    def _rated(
        self,
        caller: Caller,
        action: str,
        start: datetime,
        end: datetime,
        tenant: str | None,
        user: str | None,
        noun: tuple[str, str] | None = None,
    ) -> list[Rated]:
        """What the caller may read of [start, min(end, now)), rated."""
        until = min(end, self.platform.clock())
        with self.database.reading() as tx:
            scope = None if caller.admin else store.Scope(permitted_tenants(tx, caller, action), caller.name)
            inside = None
            if tenant:
                permit(tx, caller, action, tenant)
                inside = tenancy.subtree(tx, [tenant])
            found = store.intervals(tx, start, until, scope, inside, user, noun)
            prices = store.price_versions(tx)
        return rate_all(found, prices, start, until)

    # ---- prices

    def list_prices(self) -> list[PriceOut]:
        """Every version, newest first within a flavor."""
        with self.database.reading() as tx:
            versions = store.price_versions(tx)
        versions.sort(key=lambda p: (p.flavor, -p.valid_from.timestamp()))
        return [self._price_out(price) for price in versions]

    def set_price(self, caller: Caller, new: NewPrice) -> PriceOut:
        """A new version; what was used before keeps its price."""
        self.platform.catalog.get_flavor(new.flavor)
        now = self.platform.clock()
        valid_from = new.valid_from or now
        if valid_from.tzinfo is None:
            raise BadInput("valid_from has no time zone; write for example 2026-12-01T00:00:00Z")
        if valid_from < now:
            raise BadInput("valid_from lies in the past; what was used keeps the price it had")
        price = Price(new.flavor, new.price_micro_per_hour, in_utc(valid_from))
        with self.database.transaction() as tx:
            if any(p.flavor == price.flavor and p.valid_from == price.valid_from for p in store.price_versions(tx)):
                raise Conflict(f"{new.flavor} has a price from that moment on already; choose a later one")
            store.insert_price(tx, price, caller.name)
        return self._price_out(price)

    def _price_out(self, price: Price) -> PriceOut:
        return PriceOut(flavor=price.flavor, price_micro_per_hour=price.micro_per_hour, currency=self.currency, valid_from=price.valid_from)


def make_lines(rated: Iterable[Rated]) -> list[BillLine]:
    """One line for each thing that ran, the dearest first."""
    groups: dict[tuple[str, str], list[Rated]] = {}
    for row in rated:
        groups.setdefault((row.interval.kind, row.interval.noun_id), []).append(row)
    lines = []
    for (kind, noun_id), rows in groups.items():
        last = rows[-1].interval
        lines.append(
            BillLine(
                key=f"{kind}:{noun_id}",
                kind=kind,
                noun_id=noun_id,
                name=last.name,
                user=last.user,
                tenant=last.tenant,
                flavor=last.flavor,
                seconds=sum(r.seconds for r in rows),
                cost_micro=sum(r.cost_micro for r in rows),
                intervals=sum(len(r.charges) for r in rows),
                running=any(r.interval.ended_at is None for r in rows),
            )
        )
    return sorted(lines, key=lambda line: (-line.cost_micro, line.key))


def month_bounds(month: str, now: datetime) -> tuple[datetime, datetime]:
    """ "2026-11" → its first moment and the first of the next month, UTC; "" is the current month. Raises BadInput."""
    text = month or f"{now:%Y-%m}"
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text) or text.startswith("0000") or text == "9999-12":
        raise BadInput(f"{shown(month)} is no month; write for example 2026-11")
    year, number = int(text[:4]), int(text[5:])
    return datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def in_utc(moment: datetime) -> datetime:
    """Raises BadInput for the first and last hours of the calendar that UTC does not have."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise BadInput(f"{moment.isoformat()} lies outside the years 1 to 9999") from None


def safe_cell(text: str) -> str:
    return "'" + text if text.startswith(DANGEROUS_IN_SHEETS) else text


def _group_key(interval: Interval, group: Group) -> tuple[str | None, ...]:
    if group == "user":
        return (interval.user, None, None, None)
    if group == "tenant":
        return (None, interval.tenant, None, None)
    return (interval.user, interval.tenant, interval.kind, interval.flavor)


def _interval_out(interval: Interval, charge: Charge, currency: str) -> IntervalOut:
    free = charge.price.micro_per_hour == 0 and charge.price.valid_from.year == 1
    return IntervalOut(
        started_at=charge.started_at,
        ended_at=charge.ended_at,
        running=interval.ended_at is None,
        seconds=charge.seconds,
        replicas=charge.replicas,
        flavor=interval.flavor,
        price_micro_per_hour=charge.price.micro_per_hour,
        price_valid_from=None if free else charge.price.valid_from,
        cost_micro=charge.cost_micro,
        currency=currency,
    )
