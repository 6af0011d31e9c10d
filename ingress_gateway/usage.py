"""Caps: what this worker counted, what all workers did, and whether a campaign has had enough.

A click is counted where it is routed, at once; workers tell each other through attribution_svc, once a second. So a cap
is overshot by what the others route within that second, and while attribution_svc is away each worker counts alone.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import grpc

from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.rpc_status import error_from_rpc
from trellis.attribution.v1 import attribution_service_pb2 as pb
from trellis.attribution.v1 import attribution_service_pb2_grpc as pb_grpc
from trellis.attribution.v1 import rule_pb2

INTERVAL_SECONDS = 1.0
MOST_USAGES = 5_000
MOST_VISITORS = 50_000
"""Of one exchange; the rest goes with the next."""
_FOREVER = 2**62
_log = get_logger(__name__)


class Cap(NamedTuple):
    """A most, ready to be asked."""

    kind: int
    period: int
    limit: int
    zone: ZoneInfo

    @classmethod
    def compile_all(cls, campaign: pb.Campaign) -> "tuple[Cap, ...]":
        """Compile a campaign's caps."""
        zone = ZoneInfo(campaign.schedule.time_zone or "UTC")
        return tuple(cls(cap.kind, cap.period, cap.limit, zone) for cap in campaign.caps)


class Key(NamedTuple):
    """A window of one cap."""

    organization_id: str
    campaign_id: str
    kind: int
    period: int
    start_ms: int
    """0 for a total."""


@dataclass(slots=True)
class Count:
    """What is known of a window."""

    end_ms: int
    total: int = 0
    """Of all workers, at the last exchange; this worker's own was in it."""
    untold: int = 0
    """Counted here since."""
    visitors: set[int] = field(default_factory=set)
    """With uniques: those that were counted here."""
    untold_visitors: set[int] = field(default_factory=set)
    is_touched: bool = True
    """Something was counted or asked since the last exchange."""

    @property
    def sum(self) -> int:
        """As far as this worker knows."""
        return self.total + self.untold


class Taken(NamedTuple):
    """What is told of a window."""

    key: Key
    known: Count
    clicks: int
    visitors: list[int]


class Usage:
    """This worker's counts. Used on the event loop only."""

    def __init__(self) -> None:
        self._counts: dict[Key, Count] = {}
        self._windows: dict[tuple[int, ZoneInfo], tuple[int, int]] = {}

    def is_over(self, organization_id: str, campaign_id: str, caps: tuple[Cap, ...], user_id: str, now_ms: int) -> bool:
        """Whether one of the caps has had enough. A visitor that a cap of uniques has counted may come again."""
        for cap in caps:
            count = self._count(organization_id, campaign_id, cap, now_ms)
            count.is_touched = True
            if _is_over(cap, count, user_id):
                return True
        return False

    def would_be_over(
        self, organization_id: str, campaign_id: str, caps: tuple[Cap, ...], user_id: str, now_ms: int
    ) -> bool:
        """The same, for a click that nobody makes: nothing is held of it, and nobody is asked."""
        return any(_is_over(cap, self._known(organization_id, campaign_id, cap, now_ms), user_id) for cap in caps)

    def count(self, organization_id: str, campaign_id: str, caps: tuple[Cap, ...], user_id: str, now_ms: int) -> None:
        """Count a click that was routed."""
        for cap in caps:
            count = self._count(organization_id, campaign_id, cap, now_ms)
            if cap.kind == rule_pb2.CAP_KIND_CLICKS:
                count.untold += 1
            elif cap.kind == rule_pb2.CAP_KIND_UNIQUES and (visitor := _hash(user_id)) not in count.visitors:
                count.visitors.add(visitor)
                count.untold_visitors.add(visitor)
                count.untold += 1

    def known(self, organization_id: str, campaign_id: str, cap: Cap, now_ms: int) -> int:
        """Return what a cap has counted, as far as this worker knows, and do not ask anybody for it."""
        return self._known(organization_id, campaign_id, cap, now_ms).sum

    def _known(self, organization_id: str, campaign_id: str, cap: Cap, now_ms: int) -> Count:
        start_ms, end_ms = _window_at(cap.period, cap.zone, now_ms)
        found = self._counts.get(Key(organization_id, campaign_id, cap.kind, cap.period, start_ms))
        return Count(end_ms) if found is None else found

    def _count(self, organization_id: str, campaign_id: str, cap: Cap, now_ms: int) -> Count:
        start_ms, end_ms = self._window(cap, now_ms)
        key = Key(organization_id, campaign_id, cap.kind, cap.period, start_ms)
        found = self._counts.get(key)
        if found is None:
            found = self._counts[key] = Count(end_ms)
        return found

    def _window(self, cap: Cap, now_ms: int) -> tuple[int, int]:
        known = self._windows.get((cap.period, cap.zone))
        if known is None or not known[0] <= now_ms < known[1]:
            known = self._windows[cap.period, cap.zone] = _window_at(cap.period, cap.zone, now_ms)
        return known

    def take(self, now_ms: int) -> list[Taken]:
        """Take what is to be told, each window with its clicks and visitors; forget windows that are over."""
        taken: list[Taken] = []
        room = MOST_VISITORS
        for key, count in list(self._counts.items()):
            if count.end_ms <= now_ms - 60_000 and not count.untold:
                del self._counts[key]
            elif count.is_touched and len(taken) < MOST_USAGES:
                visitors = list(count.untold_visitors)[:room]
                room -= len(visitors)
                clicks = count.untold if key.kind == rule_pb2.CAP_KIND_CLICKS else 0
                taken.append(Taken(key, count, clicks, visitors))
        return taken

    @staticmethod
    def settle(taken: list[Taken], totals: list[int]) -> None:
        """Take in what all workers counted, what was taken included."""
        for (_, count, clicks, visitors), total in zip(taken, totals, strict=True):
            count.untold -= clicks + len(visitors)
            count.untold_visitors.difference_update(visitors)
            count.total = total
            count.is_touched = count.untold > 0

    @property
    def window_count(self) -> int:
        """Windows that are held."""
        return len(self._counts)


def _is_over(cap: Cap, count: Count, user_id: str) -> bool:
    if count.sum < cap.limit:
        return False
    return cap.kind != rule_pb2.CAP_KIND_UNIQUES or _hash(user_id) not in count.visitors


def _window_at(period: int, zone: ZoneInfo, now_ms: int) -> tuple[int, int]:
    """Return the first instant of the window and the one after its last, in Unix milliseconds."""
    if period == rule_pb2.CAP_PERIOD_TOTAL:
        return 0, _FOREVER
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    if period == rule_pb2.CAP_PERIOD_HOUR:
        start = local.astimezone(UTC) - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
        start_ms = round(start.timestamp() * 1000)
        return start_ms, start_ms + 3_600_000
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (day + timedelta(days=1)).replace(fold=0)
    return int(day.timestamp() * 1000), int(following.timestamp() * 1000)


def _hash(user_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(user_id.encode(), digest_size=8).digest(), "big")


class UsageExchange:
    """Tells attribution_svc what this worker counted, and hears what all did."""

    def __init__(self, usage: Usage, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._usage = usage
        self._stub: pb_grpc.AttributionServiceAsyncStub = pb_grpc.AttributionServiceStub(channel)
        self._credentials = credentials
        self._gateway_id = secrets.token_hex(16)
        self._number = 0

    async def run(self, now_ms: Callable[[], int]) -> None:
        """Exchange once a second, for ever."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            taken = self._usage.take(now_ms())
            if not taken:
                continue
            self._number += 1
            await self._tell(taken)

    async def _tell(self, taken: list[Taken]) -> None:
        """Tell, again and again under the same number until it is heard: what was told counts once."""
        request = pb.ExchangeUsageRequest(
            gateway_id=self._gateway_id, number=self._number, usages=list(_messages(taken))
        )
        is_known = False
        answer = None
        while answer is None:
            try:
                answer = await self._stub.ExchangeUsage(request, metadata=self._credentials.as_service(), timeout=5)
            except grpc.aio.AioRpcError as error:
                if not is_known:
                    _log.warning("caps count this worker alone", error=error_from_rpc(error).message)
                is_known = True
                await asyncio.sleep(INTERVAL_SECONDS)
        self._usage.settle(taken, list(answer.totals))


def _messages(taken: list[Taken]) -> Iterator[pb.Usage]:
    for key, _, clicks, visitors in taken:
        usage = pb.Usage(click_count=clicks, visitors=visitors)
        window = usage.window
        window.organization_id, window.campaign_id = key.organization_id, key.campaign_id
        window.kind, window.period = key.kind, key.period  # type: ignore[assignment]  # numbers of theirs
        if key.start_ms:
            window.start_time.FromMilliseconds(key.start_ms)
        yield usage
