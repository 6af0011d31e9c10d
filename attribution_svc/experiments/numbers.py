"""``CampaignNumbers`` of analytics_svc, by its SQL for organisations, asked for in the name of a caller."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import grpc

from attribution_svc.experiments.experiment import RuleCount
from attribution_svc.experiments.reports import Period
from attribution_svc.models.experiment import Arm
from svc_runtime.errors import UnavailableError
from svc_runtime.grpc_client import Credentials
from svc_runtime.mesh_token import Caller
from svc_runtime.rpc_status import error_from_rpc
from trellis.analytics.v1 import analytics_service_pb2_grpc as pb_grpc
from trellis.analytics.v1 import sql_pb2 as pb

_SECONDS = 60.0
_WHERE = """campaign_id = {campaign:String} AND is_bot = 0
  AND event_time >= parseDateTime64BestEffort({start:String}, 3, 'UTC')
  AND event_time < parseDateTime64BestEffort({end:String}, 3, 'UTC')"""
# A visitor is in the arm of the first click, and counts once.
_ARMS = f"""
SELECT arm, count() AS visitors, countIf(conversions > 0) AS converted
FROM (
  SELECT user_id, argMinIf(destination_id, event_time, event_type = 'click') AS arm,
         countIf(event_type = 'click') AS clicks, countIf(is_conversion = 1) AS conversions
  FROM events WHERE {_WHERE} AND rule_id = {{rule:String}} AND user_id != ''
  GROUP BY user_id
)
WHERE clicks > 0 GROUP BY arm
"""  # noqa: S608 - text of ours; values are parameters
_RULES = f"""
SELECT rule_id, sum(clicks), countIf(clicks > 0 AND user_id != '') AS visitors, sum(conversions),
       countIf(clicks > 0 AND conversions > 0 AND user_id != '') AS converted, max(last_ms)
FROM (
  SELECT rule_id, user_id, countIf(event_type = 'click') AS clicks, countIf(is_conversion = 1) AS conversions,
         maxIf(toUnixTimestamp64Milli(event_time), event_type = 'click') AS last_ms
  FROM events WHERE {_WHERE}
  GROUP BY rule_id, user_id
)
GROUP BY rule_id
"""  # noqa: S608 - as above
_REVENUE = f"""
SELECT rule_id, currency, toInt64(sum(value) * 1000000) AS micros
FROM events WHERE {_WHERE} AND (is_conversion = 1 OR is_adjustment = 1) AND isNotNull(value)
  AND currency != ''
GROUP BY rule_id, currency
"""  # noqa: S608 - as above


class RemoteNumbers:
    """See ``CampaignNumbers``."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._stub: pb_grpc.AnalyticsServiceAsyncStub = pb_grpc.AnalyticsServiceStub(channel)
        self._credentials = credentials

    async def arms(
        self, caller: Caller, campaign_id: str, rule_id: str, period: Period
    ) -> tuple[Mapping[str, Arm], datetime | None]:
        """See ``CampaignNumbers.arms``."""
        rows, watermark = await self._rows(caller, _ARMS, campaign_id, period, rule=rule_id)
        return {arm: Arm(int(converted), int(visitors)) for arm, visitors, converted in rows}, watermark

    async def rules(
        self, caller: Caller, campaign_id: str, period: Period
    ) -> tuple[Mapping[str, RuleCount], datetime | None]:
        """See ``CampaignNumbers.rules``."""
        rows, watermark = await self._rows(caller, _RULES, campaign_id, period)
        money, _ = await self._rows(caller, _REVENUE, campaign_id, period)
        revenue: dict[str, dict[str, int]] = {}
        for rule_id, currency, micros in money:
            revenue.setdefault(rule_id, {})[currency] = int(micros)
        counts = {
            rule_id: RuleCount(
                click_count=int(clicks),
                visitor_count=int(visitors),
                conversion_count=int(conversions),
                converted_visitor_count=int(converted),
                last_click_time=datetime.fromtimestamp(int(last_ms) / 1000, UTC) if int(last_ms) else None,
                revenue_micros=revenue.get(rule_id, {}),
            )
            for rule_id, clicks, visitors, conversions, converted, last_ms in rows
        }
        return counts, watermark

    async def _rows(
        self, caller: Caller, sql: str, campaign_id: str, period: Period, **values: str
    ) -> tuple[list[list[Any]], datetime | None]:
        request = pb.RunSqlRequest(sql=sql, format=pb.SQL_FORMAT_JSON_ROWS)
        request.named.update(
            {
                "campaign": campaign_id,
                "start": period.start_time.isoformat(),
                "end": period.end_time.isoformat(),
                **values,
            }
        )
        body, watermark, is_whole = b"", None, False
        try:
            call = self._stub.RunSql(request, metadata=self._credentials.as_caller(caller), timeout=_SECONDS)
            async for message in call:
                if message.HasField("header") and message.header.HasField("watermark_time"):
                    watermark = message.header.watermark_time.ToDatetime(UTC)
                body += message.rows
                is_whole = is_whole or message.HasField("summary")
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        if not is_whole:
            raise UnavailableError("analytics_svc broke its answer off; try again")
        return [json.loads(line) for line in body.splitlines() if line], watermark
