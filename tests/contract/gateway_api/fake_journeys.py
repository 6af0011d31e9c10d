"""Journeys in memory: behind ModelService's own servicer."""

from collections.abc import AsyncGenerator, Sequence

import numpy as np

from attribution_svc.credit_report import JourneyScope, Summary
from attribution_svc.credit_reports import JourneyChunk
from attribution_svc.models.columns import Columns
from attribution_svc.models.paths import Path
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.mesh_token import Caller
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
        )
        yield JourneyChunk(VALUES, columns)
        yield self._summary()

    async def paths(self, caller: Caller, scope: JourneyScope) -> AsyncGenerator[Sequence[Path] | Summary, None]:
        """See ``Journeys.paths``."""
        yield [Path(VALUES, 1, 2, 149_990_000), Path(("email",), 1, 1, 50_000_000)]
        yield self._summary()

    @staticmethod
    def _summary() -> Summary:
        return Summary("USD", 1, 10_000_000, INFO.SerializeToString())
