"""What keeps conversions, wired: a part of ``server``."""

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import grpc

from attribution_svc.conversion.book import ConversionStore
from attribution_svc.conversion.conversions import Conversions
from attribution_svc.conversion.follow import ConversionFollower
from attribution_svc.conversion.matching import Matcher, MatchStore
from attribution_svc.conversion.orphans import Orphans, OrphanStore
from attribution_svc.conversion.rematch import Rematcher, RematchStore
from attribution_svc.conversion.remote import RemoteReading
from attribution_svc.conversion.ruling import RuleStore, Ruling
from attribution_svc.conversion.servicer import ConversionServicer
from attribution_svc.conversion.verdicts import VerdictOutbox, VerdictSender
from svc_runtime.clock import Clock
from svc_runtime.grpc_client import Credentials
from svc_runtime.paging import PageTokens
from svc_runtime.tasks import running


class _Matches(MatchStore, OrphanStore, RematchStore, Protocol):
    """All that is kept of clicks."""


class Stores(Protocol):
    """Where conversions are kept: parts of one database."""

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
    async with (
        running("conversion follower", ConversionFollower(capture, credentials, stores.conversions).run()),
        running("conversion rules", ruling.run()),
        running("verdicts", VerdictSender(stores.verdicts, reading).run()),
        running("conversion matcher", Matcher(matches, reading, clock=clock).run()),
        running("conversion rematcher", Rematcher(matches, reading).run()),
    ):
        yield ConversionServicer(Conversions(stores.conversions, page_tokens), Orphans(matches, reading), ruling)
