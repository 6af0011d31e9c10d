"""Rules in the gateway: what 20 rules of 5 conditions cost a click, and what is left of bare aiohttp with them."""

import asyncio
import gc
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from enrichment.geo import Geo
from ingress_gateway.facts import Click, ClickReader
from ingress_gateway.routing import Route, Routing
from tests.bench.figure import Figure, against
from tests.bench.redirects import copied_headers
from tests.bench.run import SERVER_CORE, BenchError, Pace, Server, answering, free_port, in_turn, module, running
from tests.mesh.gateway_alone import gateway_alone
from tests.mesh.process import Launch, Process
from tests.unit.gateway.arrivals import arrival
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import rule_pb2
from trellis.type.v1 import predicate_pb2
from trellisctl import demo

RULE_COUNT = 20
_MOST_US = 10.0
_CLICKS = 2_000
_ROUNDS = 9
_START_MS = 1_772_452_800_000
_OPERATOR = {
    "equals": predicate_pb2.OPERATOR_EQUALS,
    "contains": predicate_pb2.OPERATOR_CONTAINS,
    "in": predicate_pb2.OPERATOR_IN,
    "matches": predicate_pb2.OPERATOR_MATCHES,
    "between": predicate_pb2.OPERATOR_BETWEEN,
    "not_equals": predicate_pb2.OPERATOR_NOT_EQUALS,
}
_KIT = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
_AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_KIT} Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {_KIT} Mobile Safari/537.36",
)


def campaign(*, is_usual: bool = True) -> pb.Campaign:
    """Return a campaign whose rules no click of ``clicks`` matches, so that every one is asked.

    ``is_usual``: as people write them, with a source and a zone that must equal something. Otherwise no condition is an
    equality, and four of each five hold: the worst that 100 conditions can be.
    """
    return pb.Campaign(
        campaign_id=demo.CAMPAIGN_ID,
        organization_id=demo.ORGANIZATION_ID,
        slug=demo.CAMPAIGN_ID,
        status=pb.CAMPAIGN_STATUS_ACTIVE,
        destination_url=demo.DESTINATION_URL,
        version=1,
        rules=[_rule(number, is_usual=is_usual) for number in range(RULE_COUNT)],
    )


def _rule(number: int, *, is_usual: bool) -> rule_pb2.Rule:
    usual = (
        ("source", "equals", [f"network{number}"]),
        ("device_type", "in", ["mobile", "tablet"]),
        ("referer", "contains", ["tiktok.com"]),
        ("param.zone", "equals", [str(number)]),
        ("hour", "between", ["9", "17"]),
    )
    worst = (
        ("device_type", "not_equals", [f"fridge{number}"]),
        ("referer", "contains", ["example"]),
        ("user_agent", "contains", ["Mozilla"]),
        ("hour", "between", ["0", "23"]),
        ("source", "matches", [f"^network{number}$"]),
    )
    predicate = predicate_pb2.Predicate()
    for field, operator, values in usual if is_usual else worst:
        condition = predicate.all_of.predicates.add().condition
        condition.field, condition.operator = field, _OPERATOR[operator]
        condition.values.extend(values)
    destination = rule_pb2.Destination(destination_id="d1", url=f"https://shop.example/{number}", weight=100)
    action = rule_pb2.Action(destinations=[destination])
    return rule_pb2.Rule(rule_id=f"r{number}", predicate=predicate, action=action)


def clicks(reader: ClickReader, count: int) -> list[Click]:
    """Return clicks that nobody has looked at yet: facts are worked out once for a click."""
    agents = itertools.cycle(_AGENTS)
    return [
        Click(
            arrival(
                f"/in/{demo.CAMPAIGN_ID}?click_id=c{number}&source=facebook&utm_campaign=summer&zone={number % 50}",
                ("Host", demo.HOST),
                ("User-Agent", next(agents)),
                ("Referer", "https://www.example.com/page"),
                ("Accept-Language", "en-US,en;q=0.9"),
            ),
            _START_MS + number,
            reader,
        )
        for number in range(count)
    ]


def decide_us(reader: ClickReader, made: pb.Campaign) -> list[float]:
    """Return what a decision costs, in microseconds of CPU time, round by round."""
    routing = Routing()
    routing.apply(pb.WatchRoutingResponse(is_snapshot=True, campaigns=[made]))
    route = routing.find(demo.ORGANIZATION_ID, demo.CAMPAIGN_ID)
    if route is None or len(route.rules) != RULE_COUNT:
        raise BenchError("the campaign cannot be routed by")
    return [_round_us(_decide(routing, route), clicks(reader, _CLICKS)) for _ in range(_ROUNDS)]


def _decide(routing: Routing, route: Route) -> Callable[[Click], object]:
    return lambda click: routing.decide(route, click, "usr_1")


def _round_us(work: Callable[[Click], object], made: Sequence[Click]) -> float:
    began = time.process_time()
    for click in made:
        work(click)
    return (time.process_time() - began) / len(made) * 1e6


async def measure(directory: Path, pace: Pace) -> list[Figure]:
    """Decide clicks in this process, then redirect them in another."""
    return [*await asyncio.to_thread(_decisions), *await _redirects(directory, pace)]


def _decisions() -> list[Figure]:
    reader = ClickReader(Geo([]))
    # As in a worker: what lives for ever is not looked at again.
    gc.collect()
    gc.freeze()
    usual, worst = (decide_us(reader, campaign(is_usual=is_usual)) for is_usual in (True, False))
    source = [_round_us(lambda click: click.facts.fields["source"], clicks(reader, _CLICKS)) for _ in range(_ROUNDS)]
    gc.unfreeze()
    return [
        Figure(
            name=f"{RULE_COUNT} rules of 5 conditions, none of which matches",
            measured=f"{median(usual):.1f} us of CPU a click",
            comparison=f"{median(source):.1f} us to read a click's source",
            result=f"{median(usual):.1f} us ({min(usual):.1f}-{max(usual):.1f})",
            wanted=f"< {_MOST_US:g} us",
            is_met=median(usual) < _MOST_US,
            details={"rounds_us": usual, "source_us": source},
        ),
        Figure(
            name="the same without an equality, four of whose conditions hold each",
            measured=f"{median(worst):.1f} us of CPU a click",
            result=f"{median(worst):.1f} us ({min(worst):.1f}-{max(worst):.1f})",
            details={"rounds_us": worst},
        ),
    ]


async def _redirects(directory: Path, pace: Pace) -> list[Figure]:
    ruled_port, plain_port, bare_port = (free_port() for _ in range(3))
    ruled = Server(
        gateway_alone(directory / "ruled", ruled_port, core=SERVER_CORE, campaign=campaign()),
        ruled_port,
    )
    plain = Server(gateway_alone(directory / "plain", plain_port, core=SERVER_CORE), plain_port)
    async with running(ruled.process, plain.process):
        headers = copied_headers(await answering(ruled_port))
        await answering(plain_port)
        launch = Launch(*module("tests.bench.bare", str(bare_port), json.dumps(headers)), core=SERVER_CORE)
        bare = Server(Process("bare", launch, directory / "bare.log"), bare_port)
        async with running(bare.process):
            await answering(bare_port)
            rounds = await in_turn([ruled, bare, plain], pace)
    return [
        against("/in durable with these rules, one core", rounds[0], rounds[1], their_name="bare", least=0.50),
        against("the same against a campaign without rules", rounds[0], rounds[2], their_name="plain"),
    ]
