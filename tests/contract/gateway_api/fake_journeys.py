"""Journeys in memory: behind ModelService's own servicer."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from attribution_svc.crediting.explanation import CandidateEvent, ConversionCandidates
from attribution_svc.crediting.report import JourneyScope, Summary
from attribution_svc.crediting.reports import JourneyChunk
from attribution_svc.models.columns import Columns
from attribution_svc.models.paths import Path
from svc_runtime.errors import InvalidArgumentError, NotFoundError, Violation
from svc_runtime.mesh_token import Caller
from tests.contract.gateway_api.fakes import ACME, NOON
from trellis.analytics.v1 import report_pb2

VALUES = ("facebook", "=google()", "email", "")
INFO = report_pb2.ResultInfo(currency="USD", time_zone="UTC", rows_read=7)


class FakeJourneys:
    """``Journeys``: facebook, google, email, direct → 149.99; email → 50; one conversion of nobody known, of 10."""

    def __init__(self) -> None:
        self.scopes: list[JourneyScope] = []
        self.callers: list[Caller] = []

    async def journeys(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[JourneyChunk | Summary, None]:
        """See ``Journeys.journeys``."""
        self.scopes.append(scope)
        self.callers.append(caller)
        if scope.dimension == "shoe_size":
            raise InvalidArgumentError.of([Violation("dimension", "'shoe_size' is no dimension")])
        # The example of specification 004: in minutes before the conversion.
        ages = [60_000 * minutes for minutes in (6340, 3213, 10, 3, 1440)]
        directs = [False, False, False, True, False]
        columns = Columns(
            np.array([149_990_000, 50_000_000], np.int64),
            np.array([4, 1], np.int64),
            np.array([0, 1, 2, 3, 2], np.int64),
            np.array(ages, np.int64),
            np.array(directs, np.bool_),
            np.ones(2, np.int64),
        )
        yield JourneyChunk(VALUES, columns)
        yield self._summary()

    async def paths(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[Sequence[Path] | Summary, None]:
        """See ``Journeys.paths``."""
        yield [Path(VALUES, 1, 2, 149_990_000), Path(("email",), 1, 1, 50_000_000)]
        yield self._summary()

    async def candidates(self, caller: Caller, event_id: str, dimension: str) -> ConversionCandidates:
        """See ``CandidateSource.candidates``: the example of specification 004."""
        if caller.organization_id != ACME or not event_id.startswith("0197e3f2"):
            raise NotFoundError(f"no conversion {event_id[:64]!r}")
        converted = _event(0, "", "purchase", is_conversion=True, conversion_type="purchase", value_micros=149_990_000)
        touches = [_event(minutes, source) for minutes, source in ((6340, "facebook"), (3213, "google"), (10, "email"))]
        others = [_event(60_000, "too old"), _event(20, "bot", is_bot=True)]
        events = sorted([*touches, *others, _event(3, "")], key=lambda each: each.event_time)
        return ConversionCandidates(converted, tuple(events), has_earlier=False, watermark_time=NOON)

    @staticmethod
    def _summary() -> Summary:
        return Summary("USD", 1, 10_000_000, INFO.SerializeToString())


def _event(minutes: int, source: str, event_type: str = "click", **more: Any) -> CandidateEvent:
    plain: dict[str, Any] = {
        "event_id": f"e{minutes}",
        "event_time": NOON - timedelta(minutes=minutes),
        "event_type": event_type,
        "user_id": "usr_customer123",
        "session_id": "",
        "source": source,
        "medium": "",
        "channel": source,
        "campaign_id": "",
        "campaign_version": 0,
        "dimension_value": source,
        "is_conversion": False,
        "conversion_type": "",
        "conversion_status": "",
        "value_micros": 0,
        "currency": "USD",
        "is_bot": False,
        "is_touch": event_type == "click",
        "touch_event_id": "e3" if event_type == "purchase" else "",
        "enrichment_version": 4,
        "mapping_versions": (),
    }
    return CandidateEvent(**plain | more)
