"""What they do: from a seed to a fixed list of visitors, each with the requests that they send in order. Pure."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

from trellisctl.traffic.population import BOTS, COUNTRIES, DEVICES, SOURCES, Country, Device, Source

CLICK_ID = "{click_id}"
"""Stands in a target for the click id of the visitor's last redirect, which is known only when it was answered."""
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BOT_SHARE = 0.07
_RETURN_SHARE = 0.3
_PRODUCTS = ("sandals", "sunscreen", "beach-towel", "sunglasses", "hat")
Weighted = TypeVar("Weighted", Source, Device, Country)


@dataclass(frozen=True, slots=True)
class Site:
    """Whom the traffic is for."""

    slug: str
    """Of the campaign."""
    publishable_key: str
    """Of the organisation; it is public by nature."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; every one is one event."""

    kind: str
    """``click``, ``pixel``, ``event`` or ``postback``."""
    method: str
    target: str
    """Path and query; may hold ``CLICK_ID``."""
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    source: str = ""
    """Name of the source, of a click."""
    leads_nowhere: bool = False
    """A page of 404 is the right answer."""


@dataclass(slots=True)
class Visitor:
    """A browser or a bot, and what it sends."""

    is_bot: bool
    is_returning: bool
    requests: list[Request] = field(default_factory=list)


def make_visitors(event_count: int, site: Site, *, seed: int) -> list[Visitor]:
    """Return visitors whose requests are ``event_count`` in all. The same arguments give the same requests."""
    rng = random.Random(seed)  # noqa: S311 - made-up traffic, repeatable on purpose
    visitors: list[Visitor] = []
    left = event_count
    while left:
        visitor = _make_visitor(rng, site)
        del visitor.requests[left:]
        left -= len(visitor.requests)
        visitors.append(visitor)
    return visitors


def _make_visitor(rng: random.Random, site: Site) -> Visitor:
    if rng.random() < _BOT_SHARE:
        bot = Visitor(is_bot=True, is_returning=False)
        headers = headers_of(pick(rng, BOTS), pick(rng, COUNTRIES), rng)
        bot.requests += [_click(rng, site, pick(rng, SOURCES), headers) for _ in range(rng.randint(1, 3))]
        return bot
    visitor = Visitor(is_bot=False, is_returning=rng.random() < _RETURN_SHARE)
    headers = headers_of(pick(rng, DEVICES), pick(rng, COUNTRIES), rng)
    for _ in range(rng.randint(2, 4) if visitor.is_returning else 1):
        visitor.requests += _session(rng, site, headers)
    return visitor


def _session(rng: random.Random, site: Site, headers: tuple[tuple[str, str], ...]) -> Iterator[Request]:
    yield _click(rng, site, pick(rng, SOURCES), headers)
    if rng.random() < 0.7:
        yield _pixel(rng, site, headers)
    if rng.random() < 0.3:
        yield _event(rng, site, headers, "add_to_cart")
        if rng.random() < 0.4:
            yield _event(rng, site, headers, "purchase")
    if rng.random() < 0.08:
        yield _postback(rng, site)


def _click(rng: random.Random, site: Site, source: Source, headers: tuple[tuple[str, str], ...]) -> Request:
    parameters = []
    if source.medium:
        parameters += [("source", source.name), ("medium", source.medium), ("utm_source", source.name)]
    parameters += source.extra
    if source.click_id_parameter:
        parameters.append((source.click_id_parameter, source.click_id_prefix + token(rng, 24)))
    if source.referer:
        headers = (*headers, ("Referer", source.referer))
    return Request("click", "GET", target_of(f"/in/{site.slug}", parameters), headers, source=source.name)


def _pixel(rng: random.Random, site: Site, headers: tuple[tuple[str, str], ...]) -> Request:
    page = f"https://shop.acmecorp.com/{rng.choice(_PRODUCTS)}"
    parameters = [("k", site.publishable_key), ("event", "pageview"), ("url", page)]
    return Request("pixel", "GET", target_of("/pixel", parameters), (*headers, ("Referer", page)))


def _event(rng: random.Random, site: Site, headers: tuple[tuple[str, str], ...], name: str) -> Request:
    item = {"event": name, "product": rng.choice(_PRODUCTS), "value": rng.randint(900, 19900) / 100, "currency": "USD"}
    if name == "purchase":
        item["order_id"] = f"ORD-{rng.randint(100000, 999999)}"
    content = (("Content-Type", "application/json"), ("Origin", "https://shop.acmecorp.com"))
    target = target_of("/events", [("k", site.publishable_key)])
    return Request("event", "POST", target, (*headers, *content), json.dumps(item).encode())


def _postback(rng: random.Random, site: Site) -> Request:
    # A partner's server, not the visitor: its own address and agent, and no cookie.
    parameters = [
        ("k", site.publishable_key),
        *(("status", rng.choice(("lead", "sale"))), ("payout", f"{rng.randint(50, 4000) / 100:.2f}")),
        *(("currency", "USD"), ("txid", f"tx-{token(rng, 12)}")),
    ]
    target = f"{target_of('/postback', parameters)}&click_id={CLICK_ID}"
    return Request("postback", "GET", target, (("User-Agent", "Java/17.0.11"), ("Accept", "*/*")))


def headers_of(device: Device, country: Country, rng: random.Random) -> tuple[tuple[str, str], ...]:
    """Return the headers of a browser, somewhere in a country."""
    return (
        ("User-Agent", device.user_agent),
        ("Accept", "text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8"),
        ("Accept-Language", country.accept_language),
        ("X-Forwarded-For", f"{country.address_prefix}{rng.randint(1, 99)}"),
    )


def target_of(path: str, parameters: Sequence[tuple[str, str]]) -> str:
    """Return path and query."""
    return f"{path}?{urlencode(parameters)}" if parameters else path


def token(rng: random.Random, length: int) -> str:
    """Return an id such as networks make."""
    return "".join(rng.choices(_ALPHABET, k=length))


def pick(rng: random.Random, choices: Sequence[Weighted]) -> Weighted:
    """Choose one by its weight."""
    return rng.choices(choices, weights=[choice.weight for choice in choices])[0]
