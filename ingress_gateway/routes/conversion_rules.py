"""``/api/v1/conversions/policies`` and ``/statuses``: how an organisation wants its conversions read."""

from typing import Any

from aiohttp import web

from ingress_gateway.calls import ApiCall
from ingress_gateway.gateway import Call
from ingress_gateway.instants import timestamp_text
from ingress_gateway.responses import respond_json
from trellis.attribution.v1 import conversion_service_pb2 as pb

POLICIES = {
    "first": pb.POLICY_CHOICE_FIRST,
    "last": pb.POLICY_CHOICE_LAST,
    "sum": pb.POLICY_CHOICE_SUM,
    "max": pb.POLICY_CHOICE_MAX,
    "per_event": pb.POLICY_CHOICE_PER_EVENT,
}
LONGEST_LOOKBACK_DAYS = 3_650
DEFAULT_LOOKBACK_DAYS = 30
_POLICY_WORDS = {number: word for word, number in POLICIES.items()}


async def list_policies(call: Call) -> web.StreamResponse:
    """Return the policies, and how far changes are applied to history."""
    api = ApiCall(call, "conversions:read")
    with api.query():
        request = pb.GetConversionPoliciesRequest()
    found = await api.ask(api.conversions.GetConversionPolicies, request)
    return respond_json(
        {
            "policies": list(map(_policy, found.policies)),
            "operations": list(map(_operation, found.operations)),
            "rules_version": found.rules_version,
        }
    )


async def put_policy(call: Call) -> web.StreamResponse:
    """Set the policy of a conversion type, over history too."""
    api = ApiCall(call, "conversions:write")
    with await api.body() as given:
        conversion_type = given.text("conversion_type", is_required=True) or ""
        policy = pb.ConversionPolicy(
            choice=given.choice("policy", POLICIES, is_required=True) or pb.POLICY_CHOICE_UNSPECIFIED,
            lookback_days=given.number("lookback_days", 1, LONGEST_LOOKBACK_DAYS) or DEFAULT_LOOKBACK_DAYS,
        )
    return await _set(api, pb.SetConversionPolicyRequest(conversion_type=conversion_type, policy=policy))


async def delete_policy(call: Call) -> web.StreamResponse:
    """Take the policy of a conversion type away, over history too."""
    api = ApiCall(call, "conversions:write")
    with api.query():
        request = pb.SetConversionPolicyRequest(conversion_type=api.path("conversion_type"))
    return await _set(api, request)


async def list_statuses(call: Call) -> web.StreamResponse:
    """Return what the networks' words for a status mean, and those that nobody mapped."""
    api = ApiCall(call, "conversions:read")
    with api.query():
        request = pb.GetStatusVocabularyRequest()
    found = await api.ask(api.conversions.GetStatusVocabulary, request)
    return respond_json(
        {
            "networks": list(map(_network, found.networks)),
            "defaults": list(map(_word, found.defaults)),
            "unmapped": [
                {"network": word.network, "word": word.word, "event_count": word.event_count} for word in found.unmapped
            ],
        }
    )


async def put_statuses(call: Call) -> web.StreamResponse:
    """Set what a network's words for a status mean, over history too."""
    api = ApiCall(call, "conversions:write")
    with await api.body() as given:
        vocabulary = pb.NetworkVocabulary(
            network=given.text("network") or "",
            default_currency=given.text("default_currency") or "",
            words=[pb.StatusWord(**word) for word in given.records("words", ("word", "status"))],
        )
        if not given.has("words"):
            given.refuse("words", "is required")
    made = await api.ask(api.conversions.SetStatusVocabulary, pb.SetStatusVocabularyRequest(vocabulary=vocabulary))
    operation = _operation(made.operation) if made.HasField("operation") else None
    return _respond({"networks": list(map(_network, made.networks)), "operation": operation})


async def _set(api: ApiCall, request: pb.SetConversionPolicyRequest) -> web.Response:
    made = await api.ask(api.conversions.SetConversionPolicy, request)
    operation = _operation(made.operation) if made.HasField("operation") else None
    return _respond({"policies": list(map(_policy, made.policies)), "operation": operation})


def _respond(body: dict[str, Any]) -> web.Response:
    """Answer 202 where history is being made anew, 200 where nothing changed."""
    return respond_json(body, status=200 if body["operation"] is None else 202)


def _policy(policy: pb.ConversionPolicy) -> dict[str, Any]:
    return {
        "conversion_type": policy.conversion_type,
        "policy": _POLICY_WORDS.get(policy.choice, "unknown"),
        "lookback_days": policy.lookback_days,
    }


def _network(vocabulary: pb.NetworkVocabulary) -> dict[str, Any]:
    return {
        "network": vocabulary.network,
        "words": list(map(_word, vocabulary.words)),
        "default_currency": vocabulary.default_currency,
    }


def _word(word: pb.StatusWord) -> dict[str, str]:
    return {"word": word.word, "status": word.status}


def _operation(operation: pb.RuleOperation) -> dict[str, Any]:
    return {
        "operation_id": operation.operation_id,
        "state": operation.state,
        "done_count": operation.done_count,
        "total_count": operation.total_count,
        "changed_count": operation.changed_count,
        "create_time": timestamp_text(operation.create_time),
        "end_time": timestamp_text(operation.end_time) if operation.HasField("end_time") else None,
        "rules_version": operation.rules_version,
    }
