"""Behaviour: funnels, retention and cohorts, journeys and paths."""

from typing import Any

from ingress_gateway.instants import timestamp_text
from ingress_gateway.routes.analytics.asking import Report
from ingress_gateway.routes.analytics.numbers import Json, amount, info_of, instant_of, percent, value_of
from ingress_gateway.routes.analytics.question import Question, is_json
from ingress_gateway.routes.analytics.slices import slice_of
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import behavior_pb2 as pb
from trellis.analytics.v1 import report_pb2

ACTORS = {"user": pb.ACTOR_USER, "session": pb.ACTOR_SESSION}
PERIODS = {
    "day": report_pb2.GRANULARITY_DAY,
    "week": report_pb2.GRANULARITY_WEEK,
    "month": report_pb2.GRANULARITY_MONTH,
}
KINDS = {
    "n_day": pb.RETENTION_KIND_N_DAY,
    "unbounded": pb.RETENTION_KIND_UNBOUNDED,
    "bracket": pb.RETENTION_KIND_BRACKET,
}
MOST_STEPS = 32
IDENTITIES = {"visitor": pb.IDENTITY_VISITOR, "person": pb.IDENTITY_PERSON}
_MOST_PERIODS = 366
_MOST_JOURNEYS = 500
_MOST_PATHS = 10_000
_STEP_FORMS = 'an event type, a rule, or {"name": …, "filter": …} with one of both as its filter'


def _funnel_request(asked: Question) -> pb.QueryFunnelRequest:
    return pb.QueryFunnelRequest(
        slice=slice_of(asked),
        steps=_steps(asked),
        window=asked.duration("window"),
        actor=asked.choice("actor", ACTORS) or pb.ACTOR_UNSPECIFIED,
        is_strict_order=asked.flag("strict_order") or False,
        is_strict_deduplication=asked.flag("strict_deduplication") or False,
        is_strict_increase=asked.flag("strict_increase") or False,
        is_strict_once=asked.flag("strict_once") or False,
        allows_reentry=asked.flag("allow_reentry") or False,
        dimension=asked.text("dimension") or "",
    )


def _steps(asked: Question) -> list[pb.FunnelStep]:
    """Return the steps: ``step`` again and again in a query, or ``steps``, a JSON list."""
    repeated = [(value, f"step[{at}]") for at, value in enumerate(asked.many("step"))] if asked.is_query else []
    listed = asked.json("steps")
    if listed is not None and not isinstance(listed, list):
        asked.refuse("steps", f"must be a list, each {_STEP_FORMS}")
        return []
    given = [*repeated, *((value, f"steps[{at}]") for at, value in enumerate(listed or ()))]
    if not 1 <= len(given) <= MOST_STEPS:
        how = "give `step` or `steps`" if asked.is_query else "give `steps`"
        asked.refuse("steps", f"has {len(given)}, must have 1 to {MOST_STEPS}: {how}")
        return []
    return [_step(asked, value, path) for value, path in given]


def _step(asked: Question, value: Any, path: str) -> pb.FunnelStep:
    name = value if isinstance(value, str) and not is_json(value) else ""
    if isinstance(value, dict) and set(value) == {"name", "filter"}:
        name, value = value["name"], value["filter"]
    if value in (None, "") or not isinstance(name, str):
        asked.refuse(path, f"must be {_STEP_FORMS}")
        return pb.FunnelStep()
    predicate = asked.events_of(value, path)
    return pb.FunnelStep(name=name if predicate else "", predicate=predicate)


def _funnel(_request: pb.QueryFunnelRequest, answer: pb.QueryFunnelResponse) -> Json:
    return {
        "funnels": [
            {"value": funnel.value, "steps": [_step_view(step) for step in funnel.steps]} for funnel in answer.funnels
        ],
        "info": info_of(answer.info),
    }


def _step_view(step: pb.FunnelStepResult) -> Json:
    return {
        "name": step.name,
        "count": step.count,
        "percent_of_first": percent(step.percent_of_first) if step.HasField("percent_of_first") else None,
        "percent_of_previous": percent(step.percent_of_previous) if step.HasField("percent_of_previous") else None,
    }


def _retention_request(asked: Question) -> pb.QueryRetentionRequest:
    return pb.QueryRetentionRequest(
        slice=slice_of(asked),
        start_predicate=asked.events("start_events"),
        return_predicate=asked.events("return_events"),
        period=asked.choice("period", PERIODS) or report_pb2.GRANULARITY_UNSPECIFIED,
        period_count=asked.number("periods", 1, _MOST_PERIODS) or 0,
        kind=asked.choice("kind", KINDS) or pb.RETENTION_KIND_UNSPECIFIED,
        brackets=asked.numbers("brackets", 1, _MOST_PERIODS),
        metric=asked.text("metric") or "",
    )


def _cohorts_request(asked: Question) -> pb.QueryRetentionRequest:
    """Read the question about cohorts: by the week, unless asked otherwise."""
    request = _retention_request(asked)
    request.period = request.period or report_pb2.GRANULARITY_WEEK
    request.period_count = request.period_count or 8
    return request


def _retention(request: pb.QueryRetentionRequest, answer: pb.QueryRetentionResponse) -> Json:
    return {
        "cohorts": [_cohort(request, cohort) for cohort in answer.cohorts],
        "overall": _cohort(request, answer.overall),
        "info": info_of(answer.info),
    }


def _cohort(request: pb.QueryRetentionRequest, cohort: pb.Cohort) -> Json:
    return {
        "start": instant_of(cohort, "start_time"),
        "size": cohort.size,
        "cells": [
            {
                "value": value_of(request.metric, cell.value),
                "percent": percent(cell.percent) if cell.HasField("percent") else None,
                "is_complete": cell.is_complete,
            }
            for cell in cohort.cells
        ],
    }


def _journeys_request(asked: Question) -> pb.ListJourneysRequest:
    return pb.ListJourneysRequest(
        slice=slice_of(asked),
        user_id=asked.text("user_id") or "",
        click_id=asked.text("click_id") or "",
        is_converted_only=asked.flag("converted_only") or False,
        page_size=asked.number("limit", 1, _MOST_JOURNEYS) or 0,
        page_token=asked.page_token(),
        identity=asked.choice("identity", IDENTITIES) or pb.IDENTITY_UNSPECIFIED,
        as_of_time=timestamp_of(asked.instant("as_of")),
    )


def _journeys(_request: pb.ListJourneysRequest, answer: pb.ListJourneysResponse) -> Json:
    return {
        "journeys": [_journey(journey) for journey in answer.journeys],
        "next_page_token": answer.next_page_token,
        "info": info_of(answer.info),
    }


def _journey(journey: pb.Journey) -> Json:
    return {
        "user_id": journey.user_id,
        "person_id": journey.person_id or None,
        "user_ids": list(journey.user_ids) or [journey.user_id],
        "touches": [_touch(touch) for touch in journey.touches],
        "event_count": journey.event_count,
        "session_count": journey.session_count,
        "conversion_count": journey.conversion_count,
        "revenue": [{"currency": money.currency, "amount": amount(money.amount_micros)} for money in journey.revenue],
    }


def _touch(touch: pb.Touch) -> Json:
    has_value = touch.HasField("value")
    return {
        "event_id": touch.event_id,
        "event_time": timestamp_text(touch.event_time),
        "event_type": touch.event_type,
        "source": touch.source,
        "medium": touch.medium,
        "channel": touch.channel,
        "campaign_id": touch.campaign_id,
        "session_id": touch.session_id,
        "click_id": touch.click_id,
        "user_id": touch.user_id,
        "is_conversion": touch.is_conversion,
        "value": amount(touch.value.amount_micros) if has_value else None,
        "currency": touch.value.currency if has_value else None,
    }


def _paths_request(asked: Question) -> pb.QueryPathsRequest:
    return pb.QueryPathsRequest(
        slice=slice_of(asked),
        dimension=asked.text("dimension") or "",
        lookback=asked.duration("lookback"),
        collapses_repeats=asked.flag("collapse_repeats") or False,
        includes_unconverted=asked.flag("include_unconverted") or False,
        limit=asked.number("limit", 1, _MOST_PATHS) or 0,
    )


def _paths(_request: pb.QueryPathsRequest, answer: pb.QueryPathsResponse) -> Json:
    return {
        "paths": [
            {
                "values": list(path.values),
                "conversion_count": path.conversion_count,
                "unconverted_count": path.unconverted_count,
                "revenue": amount(path.revenue_micros),
            }
            for path in answer.paths
        ],
        "path_count": answer.path_count,
        "info": info_of(answer.info),
    }


_RETENTION_NAMES = {
    "start_predicate": "start_events",
    "return_predicate": "return_events",
    "period_count": "periods",
}
_JOURNEY_NAMES = {"is_converted_only": "converted_only", "as_of_time": "as_of"}
funnel = Report(_funnel_request, lambda stub, _request: stub.QueryFunnel, _funnel)
retention = Report(_retention_request, lambda stub, _request: stub.QueryRetention, _retention, _RETENTION_NAMES)
cohorts = Report(_cohorts_request, lambda stub, _request: stub.QueryRetention, _retention, _RETENTION_NAMES)
journeys = Report(_journeys_request, lambda stub, _request: stub.ListJourneys, _journeys, _JOURNEY_NAMES)
paths = Report(_paths_request, lambda stub, _request: stub.QueryPaths, _paths)
