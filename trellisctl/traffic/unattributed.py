"""Traffic that no campaign has: people who come from TikTok without a link of ours, some of whom buy. Pure.

It is of now: an event's time is the gateway's clock, and made-up history would be a lie in the raw events.
"""

import json
import random
from dataclasses import asdict, dataclass
from decimal import Decimal

from trellisctl.traffic.population import DEVICES, Country
from trellisctl.traffic.visits import Request, Site, Visitor, headers_of, pick, target_of, token

RULE = {"field": "referer", "operator": "contains", "value": "tiktok.com"}
"""What tells it from the rest."""
_REFERERS = ("https://www.tiktok.com/", "https://vm.tiktok.com/ZM8/")
_OTHERS = ("https://www.instagram.com/", "https://example.com/?next=https://tiktok.org/", "")
_COUNTRIES = (
    Country("US", "en-US,en;q=0.9", "192.0.2.", 60),
    Country("CA", "en-CA,en;q=0.9,fr-CA;q=0.4", "198.51.100.", 20),
    Country("UK", "en-GB,en;q=0.9", "203.0.113.", 20),
)
_PHONES = tuple(device for device in DEVICES if "Mobile" in device.user_agent and "iPad" not in device.user_agent)
_OTHER_SHARE = 0.25
_CONVERSION_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class Truth:
    """What a campaign over this traffic has to find: a rule that is right finds neither more nor less."""

    rule: dict[str, str]
    click_count: int
    user_count: int
    """Pairs of address and browser: who has no cookie is told by them."""
    conversion_count: int
    event_count: int
    """Clicks, and conversions, which follow their click."""
    revenue: dict[str, str]
    """By currency."""
    other_unattributed_click_count: int
    """Sent too, and not to be found."""

    def text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


def make_unattributed(click_count: int, site: Site, *, seed: int) -> tuple[list[Visitor], Truth]:
    """Return visitors with ``click_count`` clicks from TikTok, and others besides. The same seed makes the same."""
    rng = random.Random(seed)  # noqa: S311 - made-up traffic, repeatable on purpose
    visitors: list[Visitor] = []
    people: set[tuple[str, ...]] = set()
    values: list[int] = []
    others = 0
    left = click_count
    while left:
        is_other = rng.random() < _OTHER_SHARE
        device, country = pick(rng, _PHONES), pick(rng, _COUNTRIES)
        headers = headers_of(device, country, rng)
        visitor = Visitor(is_bot=False, is_returning=False)
        click_id = f"E.C.P.{token(rng, 24)}"
        visitor.requests.append(_click(rng, headers, click_id, is_other=is_other))
        if is_other:
            others += 1
        else:
            left -= 1
            people.add(tuple(value for name, value in headers if name in ("User-Agent", "X-Forwarded-For")))
            if rng.random() < _CONVERSION_SHARE:
                values.append(rng.randint(900, 19_900))
                visitor.requests.append(_purchase(rng, site, click_id, values[-1]))
        visitors.append(visitor)
    revenue = {"USD": str(Decimal(sum(values)) / 100)} if values else {}
    count = len(values)
    return visitors, Truth(RULE, click_count, len(people), count, click_count + count, revenue, others)


def _click(rng: random.Random, headers: tuple[tuple[str, str], ...], click_id: str, *, is_other: bool) -> Request:
    referer = rng.choice(_OTHERS if is_other else _REFERERS)
    sent = (*headers, ("Referer", referer)) if referer else headers
    # No link of ours: the visitor gets a page that says so, and the click is kept.
    return Request(
        "click", "GET", target_of("/in", [("ttclid", click_id)]), sent, source="unattributed", leads_nowhere=True
    )


def _purchase(rng: random.Random, site: Site, click_id: str, cents: int) -> Request:
    parameters = [
        ("k", site.publishable_key),
        ("click_id", click_id),
        ("event", "purchase"),
        ("value", f"{cents // 100}.{cents % 100:02d}"),
        ("currency", "USD"),
        ("order_id", f"TT-{token(rng, 12)}"),
    ]
    return Request(
        "postback", "GET", target_of("/postback", parameters), (("User-Agent", "Java/17.0.11"), ("Accept", "*/*"))
    )
