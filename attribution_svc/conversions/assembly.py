"""What keeps conversions, wired: a part of ``server``."""

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import grpc

from attribution_svc.conversions.book import ConversionStore
from attribution_svc.conversions.conversions import Conversions
from attribution_svc.conversions.follow import ConversionFollower
from attribution_svc.conversions.matching import Matcher, MatchStore
from attribution_svc.conversions.orphans import Orphans, OrphanStore
from attribution_svc.conversions.rematch import Rematcher, RematchStore
from attribution_svc.conversions.remote import RemoteReading
from attribution_svc.conversions.ruling import RuleStore, Ruling
from attribution_svc.conversions.servicer import ConversionServicer
from attribution_svc.conversions.verdicts import VerdictOutbox, VerdictSender
from svc_runtime.clock import Clock
from svc_runtime.grpc_client import Credentials
from svc_runtime.logs import get_logger
from svc_runtime.paging import PageTokens
from svc_runtime.postgres import Database
from svc_runtime.tasks import keep_running, running

LEAD_LOCK = 7_305_104
"""Advisory lock of the replica that keeps conversions."""
_log = get_logger(__name__)


class _Matches(MatchStore, OrphanStore, RematchStore, Protocol):
    """All that is kept of clicks."""


class Stores(Protocol):
    """Where conversions are kept: parts of one database."""

    @property
    def database(self) -> Database:
        """The database."""
        ...

    @property
    def conversions(self) -> ConversionStore:
        """The conversions."""
        ...

    @property
    def conversion_matches(self) -> _Matches:
        """Their clicks."""
        ...

    @property
    def conversion_rules(self) -> RuleStore:
        """How they are read."""
        ...

    @property
    def verdicts(self) -> VerdictOutbox:
        """What the reading is to be told."""
        ...


@contextlib.asynccontextmanager
async def keeping_conversions(
    stores: Stores,
    *,
    capture: grpc.aio.Channel,
    analytics: grpc.aio.Channel,
    credentials: Credentials,
    page_tokens: PageTokens,
    clock: Clock,
) -> AsyncIterator[ConversionServicer]:
    """Keep conversions for the time of the block; gives what answers calls."""
    reading = RemoteReading(analytics, credentials)
    ruling = Ruling(stores.conversion_rules)
    matches = stores.conversion_matches

    async def work() -> None:
        # One replica does it. For seconds two may: the bookmark moves for one of them, and all else bears repeats.
        async with (
            stores.database.leading(LEAD_LOCK) as lead,
            running("conversion follower", ConversionFollower(capture, credentials, stores.conversions).run()),
            running("conversion rules", ruling.run()),
            running("verdicts", VerdictSender(stores.verdicts, reading).run()),
            running("conversion matcher", Matcher(matches, reading, clock=clock).run()),
            running("conversion rematcher", Rematcher(matches, reading).run()),
        ):
            _log.info("this replica keeps the conversions")
            await lead.lost()

    async with running("conversions", keep_running("conversions", work, longest_delay_seconds=2.0)):
        yield ConversionServicer(Conversions(stores.conversions, page_tokens), Orphans(matches, reading), ruling)
