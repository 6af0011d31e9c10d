"""What keeps conversions, wired: a part of ``server``."""

import contextlib
from collections.abc import AsyncIterator

import grpc

from attribution_svc.conversion.book import ConversionStore
from attribution_svc.conversion.conversions import Conversions
from attribution_svc.conversion.follow import ConversionFollower
from attribution_svc.conversion.servicer import ConversionServicer
from svc_runtime.grpc_client import Credentials
from svc_runtime.paging import PageTokens
from svc_runtime.tasks import running


@contextlib.asynccontextmanager
async def keeping_conversions(
    store: ConversionStore, capture: grpc.aio.Channel, credentials: Credentials, page_tokens: PageTokens
) -> AsyncIterator[ConversionServicer]:
    """Follow the feed for the time of the block; gives what answers calls."""
    follower = ConversionFollower(capture, credentials, store)
    async with running("conversion follower", follower.run()):
        yield ConversionServicer(Conversions(store, page_tokens))
