"""What the hub's own pages show of the platform: the cards of the spawn page."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import unquote

from jinja2 import pass_context
from jinja2.runtime import Context

from ltai_hub.catalog.images import image_state
from ltai_hub.catalog.load import picture_uri
from ltai_hub.domain.catalog import Catalog, Flavor, Profile, Text
from ltai_hub.domain.quotas import amounts_of
from ltai_hub.domain.tenants import Person
from ltai_hub.hub.core import HubCore, hub_core, in_thread
from ltai_hub.hub.mixin import PlatformSpawner
from ltai_hub.hub.records import Records
from ltai_hub.pages.i18n import CHINESE, page_language, translate
from ltai_hub.tenancy import store as tenancy
from ltai_hub.tenancy.admission import limits_for
from ltai_hub.units import format_bytes, format_money

# an image that was never built: uv downloads and unpacks a framework
BUILD_MINUTES = 2


@dataclass(frozen=True)
class Option:
    """``off``: it is shown and cannot be chosen."""

    value: str
    title: str
    off: bool = False


@dataclass(frozen=True)
class Card:
    """One profile as the spawn page shows it; ``state`` ready, absent, building, failed, full or never; ``reason`` says why never."""

    profile: str
    title: str
    description: str
    picture: str
    framework: str
    spec: str
    price: str
    state: str
    state_text: str
    reason: str
    tenants: Sequence[Option]
    images: Sequence[Option]
    flavors: Sequence[Option]

    def as_data(self) -> dict[str, Any]:
        """What the page's script needs of it."""
        return {key: value for key, value in asdict(self).items() if key in ("profile", "tenants", "images", "flavors")}


@dataclass(frozen=True)
class SpawnPage:
    cards: Sequence[Card]
    chosen: Mapping[str, str]
    server: str

    @property
    def chosen_profile(self) -> str:
        """What was started last when it is still offered, else the first."""
        names = [card.profile for card in self.cards]
        last = self.chosen.get("profile", "")
        return last if last in names else (names[0] if names else "")


def hub_template_vars() -> dict[str, Any]:
    """For ``JupyterHub.template_vars``, which calls what is callable with the user: hence the lambda."""
    return {"spawn_page": lambda user: spawn_page}


@pass_context
async def spawn_page(context: Context, for_user: Any) -> SpawnPage:
    server = _server_name(context)
    spawner = for_user.orm_user.orm_spawners.get(server)
    chosen = dict(spawner.user_options or {}) if spawner is not None else {}
    person = Person(for_user.name, admin=bool(for_user.admin))
    where = await _where(context["spawner"])
    cards = await in_thread(make_cards, hub_core(), person, page_language(context), where)
    return SpawnPage(cards, chosen, server)


@dataclass(frozen=True)
class Where:
    """What this machine or cluster is like: ``never`` flavor → why it cannot run here; ``builds_images`` before their first use."""

    never: Mapping[str, str]
    builds_images: bool


async def _where(spawner: PlatformSpawner) -> Where:
    flavors = hub_core().catalog.flavors
    reasons = await asyncio.gather(*(spawner.fits(flavor.resources) for flavor in flavors.values()))
    return Where({name: reason for name, reason in zip(flavors, reasons, strict=True) if reason}, spawner.builds_images)


def _server_name(context: Context) -> str:
    """/hub/spawn/USER/SERVER; JupyterHub hands the template the default server's spawner whatever the address says."""
    handler = getattr(context.get("static_url"), "__self__", None)
    path = handler.request.path if handler is not None else ""
    parts = path.partition("/spawn/")[2].split("/")
    return unquote(parts[1]) if len(parts) > 1 else ""


def make_cards(core: HubCore, person: Person, language: str, where: Where) -> list[Card]:
    """One card a profile, in the order of the person's tenants."""
    offer = Records(core.database, core.catalog).offer(person)
    offered: dict[str, list[str]] = {}
    for tenant, profiles in offer.profiles.items():
        for name in profiles:
            offered.setdefault(name, []).append(tenant)
    titles = _tenant_titles(core)
    return [
        _card(core, person, core.catalog.profiles[name], [Option(t, titles[t]) for t in tenants], language, where)
        for name, tenants in offered.items()
        if name in core.catalog.profiles
    ]


def _tenant_titles(core: HubCore) -> dict[str, str]:
    with core.database.reading() as tx:
        return {tenant.slug: " / ".join(tenant.path) for tenant in tenancy.all_tenants(tx)}


def _card(core: HubCore, person: Person, profile: Profile, tenants: Sequence[Option], language: str, where: Where) -> Card:
    catalog, currency = core.catalog, core.settings.currency
    image, flavor = catalog.get_image(profile.image), catalog.get_flavor(profile.flavor)
    state = "never" if profile.flavor in where.never else _state(core, person, profile, tenants[0].value, where.builds_images)
    return Card(
        profile=profile.name,
        title=say(profile.title, language),
        description=say(profile.description, language),
        picture=picture_uri(core.settings.catalog, profile),
        framework=f"{say(image.title, language)} {image.version}".strip(),
        spec=spec_of(flavor, language),
        price=price_of(flavor, currency, language),
        state=state,
        state_text=_state_text(state, language),
        reason=where.never.get(profile.flavor, ""),
        tenants=tenants,
        images=_image_options(catalog, profile, language),
        flavors=_flavor_options(catalog, profile, currency, language, where.never),
    )


def _state(core: HubCore, person: Person, profile: Profile, tenant: str, builds_images: bool) -> str:
    image = image_state(core.settings.folder, core.catalog.get_image(profile.image)).state if builds_images else "ready"
    return "full" if image == "ready" and is_full(core, person, profile.flavor, tenant) else image


def is_full(core: HubCore, person: Person, flavor: str, tenant: str) -> bool:
    """Whether a start would have to wait for somebody to give something back."""
    amounts = amounts_of(core.catalog.get_flavor(flavor).resources, 1)
    with core.database.reading() as tx:
        limits = limits_for(tx, tenancy.get_tenant(tx, tenant).id, person.name)
    return any(limit.used + amounts.get(limit.resource, 0) > limit.limit for limit in limits)


def _state_text(state: str, language: str) -> str:
    sentences = {
        "ready": "ready now",
        "full": "waits for a free place",
        "building": "being built",
        "absent": "about {minutes} min (first use)",
        "failed": "its last build failed",
        "never": "cannot run here",
    }
    return translate(language, sentences.get(state, state), minutes=BUILD_MINUTES)


def spec_of(flavor: Flavor, language: str) -> str:
    """For example "2 CPU · 4 GiB · 1 × A100"."""
    r = flavor.resources
    parts = [f"{r.cpu:g} CPU", format_bytes(r.memory)]
    if r.accelerator_count:
        title = translate(language, "simulated GPU") if flavor.simulated else flavor.accelerator_title or r.accelerator
        parts.append(f"{r.accelerator_count} × {title}")
    return " · ".join(parts)


def price_of(flavor: Flavor, currency: str, language: str) -> str:
    if not flavor.price_micro_per_hour:
        return translate(language, "free of charge")
    return translate(language, "{price} an hour", price=format_money(flavor.price_micro_per_hour, currency))


def _image_options(catalog: Catalog, profile: Profile, language: str) -> list[Option]:
    names = dict.fromkeys([profile.image, *profile.images])
    return [Option(name, f"{say(catalog.images[name].title, language)} {catalog.images[name].version}".strip()) for name in names]


def _flavor_options(catalog: Catalog, profile: Profile, currency: str, language: str, never: Mapping[str, str]) -> list[Option]:
    options = []
    for name in dict.fromkeys([profile.flavor, *profile.flavors]):
        flavor = catalog.flavors[name]
        facts = [spec_of(flavor, language), price_of(flavor, currency, language)]
        facts += [_state_text("never", language)] if name in never else []
        options.append(Option(name, f"{say(flavor.title, language)}: {', '.join(facts)}", off=name in never))
    return options


def say(text: Text, language: str) -> str:
    return text.zh_cn if language == CHINESE else text.en
