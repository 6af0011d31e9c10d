"""``/api/v1/analytics:explain``: what a number of a report rests on."""

import asyncio
from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.given import shown_value, text_problem
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from ingress_gateway.routes.analytics.asking import LONGEST_BODY_BYTES, SCOPE, in_their_names
from ingress_gateway.routes.analytics.numbers import Json, amount, info_of, value_of
from ingress_gateway.routes.analytics.question import Question
from ingress_gateway.routes.analytics.slices import GRANULARITIES, slice_of
from svc_runtime.errors import TrellisError
from svc_runtime.timestamps import timestamp_of
from trellis.analytics.v1 import explain_service_pb2 as pb
from trellis.analytics.v1 import report_pb2

_NAMES = {"values": "cell", "step_time": "time"}


async def explain_cell(call: Call) -> web.StreamResponse:
    """Explain a cell of a report: the body is its question, and the cell."""
    api = ApiCall(call, SCOPE)
    body = await api.body_bytes(LONGEST_BODY_BYTES)
    request = await asyncio.to_thread(_read, body)
    try:
        seconds = call.gateway.settings.query_seconds
        answer = await api.ask(api.explanations.ExplainCell, request, seconds=seconds)
    except TrellisError as error:
        raise in_their_names(error, _NAMES) from None
    return respond_json(_view(answer))


def _read(body: bytes) -> pb.ExplainCellRequest:
    with Question.of_json(body) as asked:
        moment = asked.moment("time", asked.zone())
        return pb.ExplainCellRequest(
            slice=slice_of(asked),
            metric=asked.text("metric", is_required=True) or "",
            values=_cell(asked),
            granularity=asked.choice("granularity", GRANULARITIES) or report_pb2.GRANULARITY_UNSPECIFIED,
            step_time=timestamp_of(moment),
        )


def _cell(asked: Question) -> list[pb.CellValue]:
    """Return ``cell``: an object with the row's value of each dimension."""
    value = asked.json("cell")
    if value is None:
        return []
    if not isinstance(value, dict):
        asked.refuse("cell", 'must be an object of dimensions and their values, for example {"source": "facebook"}')
        return []
    cell = []
    for name, of in value.items():
        problem = f"is {shown_value(of)}, must be a text" if not isinstance(of, str) else text_problem(of)
        if problem or text_problem(name):
            asked.refuse(f"cell.{name[:60]}", problem or "must be UTF-8")
            continue
        cell.append(pb.CellValue(dimension=name, value=of))
    return cell


def _view(answer: pb.ExplainCellResponse) -> Json:
    metric = answer.metric
    return {
        "metric": {
            "name": metric.name,
            "description": metric.description,
            "unit": metric.unit,
            "expression": answer.expression,
            "measures": [
                {
                    "name": measure.name,
                    "function": measure.function,
                    "of_events": measure.of_events,
                    "where_event": measure.where_event,
                }
                for measure in answer.measures
            ],
        },
        "value": value_of(metric.name, answer.value),
        "value_of_events": value_of(metric.name, answer.value_of_events),
        "event_count": answer.event_count,
        "samples": [_sample(event) for event in answer.samples],
        "pending": [
            {"operation_id": each.operation_id or None, "kind": each.kind, "state": each.state}
            for each in answer.pending
        ],
        "info": info_of(answer.info),
    }


def _sample(event: pb.CellEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "timestamp": timestamp_text(event.event_time),
        "event_type": event.event_type,
        "source": event.source,
        "campaign_id": event.campaign_id,
        "value": amount(event.value_micros) if event.HasField("value_micros") else None,
        "currency": event.currency,
        "is_conversion": event.is_conversion,
    }
