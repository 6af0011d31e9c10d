"""The last hour and the day, between the contract and ours."""

from collections.abc import Sequence
from decimal import Decimal

from analytics_svc.convert.behavior_answers import micros
from analytics_svc.realtime import Line, Realtime, RealtimeQuery, Top
from rule_language.check import time_zone_violations
from svc_runtime.errors import InvalidArgumentError, Violation
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import realtime_pb2 as pb
from trellis.analytics.v1 import report_pb2
from trellis.type.v1 import money_pb2, time_range_pb2

_LINES = 10
_MOST_LINES = 100
_LONGEST_CAMPAIGN_ID = 256


def query_from_pb(message: pb.GetRealtimeRequest, *, organization_id: str, path: str = "") -> RealtimeQuery:
    """Read a question. Raise InvalidArgumentError; ``path`` begins the names of its fields."""
    time_zone = message.time_zone or "UTC"
    violations = time_zone_violations(time_zone, f"{path}time_zone")
    if message.top_limit > _MOST_LINES:
        violations.append(Violation(f"{path}top_limit", f"is {message.top_limit}, must be 1 to {_MOST_LINES}"))
    if len(message.campaign_id) > _LONGEST_CAMPAIGN_ID:
        size = len(message.campaign_id)
        violations.append(
            Violation(f"{path}campaign_id", f"has {size} characters; the limit is {_LONGEST_CAMPAIGN_ID}")
        )
    if violations:
        raise InvalidArgumentError.of(violations)
    return RealtimeQuery(
        organization_id, time_zone, message.campaign_id, message.includes_bots, message.top_limit or _LINES
    )


def realtime_to_pb(state: Realtime) -> pb.Realtime:
    """Write the last hour and the day."""
    traffic = state.traffic
    return pb.Realtime(
        clicks_last_hour=state.clicks_last_hour,
        clicks_change=state.clicks_change,
        active_users=state.active_users,
        clicks_today=traffic.today.clicks,
        conversions_today=traffic.today.conversions,
        revenue_today_micros=micros(traffic.today.revenue),
        currency=traffic.currency,
        traffic_timeline=[
            pb.RealtimeMinute(
                minute=timestamp_of(minute),
                clicks=line.clicks,
                conversions=line.conversions,
                revenue_micros=micros(line.revenue),
            )
            for minute, line in traffic.timeline
        ],
        top_last_hour=_tops_to_pb(state.top_last_hour),
        top_today=_tops_to_pb(state.top_today),
        update_time=timestamp_of(state.window.now),
        info=_info_to_pb(state),
    )


def _tops_to_pb(tops: Sequence[Top]) -> list[pb.RealtimeTop]:
    return [
        pb.RealtimeTop(dimension=top.dimension, items=[_item_to_pb(value, line) for value, line in top.items])
        for top in tops
    ]


def _item_to_pb(value: str, line: Line) -> pb.RealtimeTopItem:
    return pb.RealtimeTopItem(
        value=value, clicks=line.clicks, conversions=line.conversions, revenue_micros=micros(line.revenue)
    )


def _info_to_pb(state: Realtime) -> report_pb2.ResultInfo:
    window = state.window
    return report_pb2.ResultInfo(
        watermark_time=timestamp_of(state.watermark_time),
        time_range=time_range_pb2.TimeRange(
            start_time=timestamp_of(min(window.midnight, window.hour_start)), end_time=timestamp_of(window.now)
        ),
        time_zone=state.query.time_zone,
        currency=state.traffic.currency,
        other_revenue=[_money(code, amount) for code, amount in state.traffic.other_revenue.items()],
        sources=["minute", "events"],
        rows_read=state.rows_read,
        elapsed_seconds=state.elapsed_seconds,
    )


def _money(code: str, amount: Decimal) -> money_pb2.Money:
    return money_pb2.Money(amount_micros=micros(amount), currency=code)
