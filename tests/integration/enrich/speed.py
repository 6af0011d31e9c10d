"""How long enrichment takes, in CPU time of one thread: ``python -m tests.integration.enrich.speed``."""

import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from enrichment.bots import bot_reasons
from enrichment.channel import read_traffic
from enrichment.geo import Geo
from enrichment.money import read_money
from enrichment.parameters import DEFAULT_ALIASES, parse_query
from enrichment.status import read_status
from enrichment.times import read_time
from enrichment.user_agent import UserAgents
from tests.integration.enrich.networks import CITIES, write

_ROUNDS = 5
_EVENT_COUNT = 20_000
_AGENT = (
    b"Mozilla/5.0 (Linux; Android %d; SM-G%d) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/%d.0.0.0 Mobile Safari/537.36"
)
_REFERRERS = (
    b"https://l.facebook.com/l.php?u=%d",
    b"https://www.google.com/search?q=%d",
    b"https://blog%d.example/",
    b"",
)
_HEADERS = {b"user-agent": b"x", b"accept": b"*/*", b"referer": b"x", b"accept-language": b"en", b"host": b"go.example"}


def _microseconds(function: Callable[[Any], object], values: Iterable[Any], rounds: int = _ROUNDS) -> float:
    """Return the CPU time of one call: of the best round, for others share the machine."""
    values = list(values)
    best = float("inf")
    for _ in range(rounds):
        started = time.thread_time()
        for value in values:
            function(value)
        best = min(best, time.thread_time() - started)
    return best / len(values) * 1e6


def _clicks(chance: random.Random) -> list[tuple[bytes, bytes, bytes, str]]:
    agents = [_AGENT % (chance.randint(8, 15), number, chance.randint(90, 140)) for number in range(2000)]
    addresses = [f"81.2.{chance.randint(0, 255)}.{chance.randint(1, 254)}" for _ in range(10_000)]
    return [
        (
            b"click_id=%x&source=facebook&medium=cpc&utm_campaign=summer%%20%d&zoneid=%d&cost=0.%d&sub2={SUB}&fbclid=IwAR%x"
            % (chance.getrandbits(64), number % 50, number % 300, number % 1000, chance.getrandbits(96)),
            chance.choice(_REFERRERS).replace(b"%d", b"%d" % (number % 500)),
            agents[min(int(chance.paretovariate(0.7)), len(agents)) - 1],
            addresses[min(int(chance.paretovariate(0.5)), len(addresses)) - 1],
        )
        for number in range(_EVENT_COUNT)
    ]


def main() -> None:
    """Measure and print."""
    chance = random.Random(1)
    clicks = _clicks(chance)
    agents, cold_agents = UserAgents(), UserAgents(cache_size=0)
    with tempfile.TemporaryDirectory() as directory:
        path = write(Path(directory) / "city", CITIES)
        geo, cold_geo = Geo([path]), Geo([path], cache_size=0)
        geo.refresh()
        cold_geo.refresh()

    def whole(click: tuple[bytes, bytes, bytes, str]) -> None:
        query, referrer, agent, ip = click
        parameters = parse_query(query)
        found = DEFAULT_ALIASES.resolve(parameters)
        read_traffic(found, parameters, referrer)
        bot_reasons(agents.read(agent).bot_reasons, _HEADERS)
        geo.look_up(ip)
        read_money(found["cost"].value, default_currency="USD")

    parsed = [parse_query(click[0]) for click in clicks]
    resolved = [(DEFAULT_ALIASES.resolve(one), one, click[1]) for one, click in zip(parsed, clicks, strict=True)]
    robots = [b"Mozilla/5.0 (compatible; Robot%d/1.0; +http://robot.example/)" % number for number in range(2000)]
    for name, microseconds in {
        "user agent, cold": _microseconds(cold_agents.read, {click[2] for click in clicks}),
        "user agent, cold, a robot": _microseconds(cold_agents.read, robots),
        "user agent, cached": _microseconds(agents.read, [click[2] for click in clicks]),
        "prefetch headers": _microseconds(lambda _: bot_reasons((), _HEADERS), clicks),
        "geo, cold": _microseconds(cold_geo.look_up, [click[3] for click in clicks]),
        "geo, cached": _microseconds(geo.look_up, [click[3] for click in clicks]),
        "parse query (8 parameters)": _microseconds(parse_query, [click[0] for click in clicks]),
        "resolve aliases": _microseconds(DEFAULT_ALIASES.resolve, parsed),
        "traffic": _microseconds(lambda case: read_traffic(*case), resolved),
        "money": _microseconds(read_money, [b"0.%d" % number for number in range(1000)]),
        "money, 1.234,56 EUR": _microseconds(read_money, [b"1.234,%d EUR" % number for number in range(1000)]),
        "time, milliseconds": _microseconds(
            lambda raw: read_time(raw, received_ms=0), [b"17776296001%02d" % n for n in range(99)]
        ),
        "time, ISO 8601": _microseconds(
            lambda raw: read_time(raw, received_ms=0), [b"2026-05-01T10:00:%02dZ" % n for n in range(60)]
        ),
        "status": _microseconds(read_status, [b"Approved"] * 1000),
        "a whole click, caches warm": _microseconds(whole, clicks),
    }.items():
        print(f"{name:30} {microseconds:7.2f} µs")


if __name__ == "__main__":
    main()
