"""Rules of conversions: policies and status vocabularies."""

from ingress_gateway.openapi.conversions import TAG
from ingress_gateway.openapi.parts import (
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    nullable,
    number,
    path,
    record,
    ref,
    text,
    wish,
)
from ingress_gateway.routes.conversion_rules import DEFAULT_LOOKBACK_DAYS, LONGEST_LOOKBACK_DAYS, POLICIES

_MEANINGS = ["lead", "sale", "rejected", "refunded"]
_TYPE = "The conversion type, in lower case; `*`: all others."
_LOOKBACK: Json = {"minimum": 1, "maximum": LONGEST_LOOKBACK_DAYS}
_POLICY_EXAMPLE: Json = {"conversion_type": "purchase", "policy": "sum", "lookback_days": 30}
_OPERATION_EXAMPLE: Json = {
    "operation_id": "op_0b6f4f5e8a7c4d1e9f2a3b4c5d6e7f80",
    "state": "running",
    "done_count": 500,
    "total_count": 12000,
    "changed_count": 41,
    "create_time": "2026-11-03T10:00:00Z",
    "end_time": None,
    "rules_version": 3,
}
_WORD_EXAMPLE: Json = {"word": "2", "status": "sale"}
_NETWORK_EXAMPLE: Json = {
    "network": "propellerads",
    "words": [_WORD_EXAMPLE, {"word": "3", "status": "rejected"}],
    "default_currency": "USD",
}
_NETWORK = "The label of the partner who sends, or the source that its postbacks name."
_HISTORY = (
    "Holds for history too: the operation makes all conversions anew from their events, and goes on after a restart. "
    "Nothing is lost: set back, it gives the same conversions as before. 200 where nothing changed."
)
_PATH = path("conversion_type", _TYPE, "purchase")

SCHEMAS: Json = {
    "ConversionPolicy": record(
        "What holds for a conversion type.",
        {
            "conversion_type": text(_TYPE),
            "policy": text("Which events of an order make its value.", enum=list(POLICIES)),
            "lookback_days": number("A conversion whose click is older is marked.", **_LOOKBACK),
        },
    ),
    "NewConversionPolicy": wish(
        "What is to hold.",
        {
            "conversion_type": text(f"{_TYPE} 1 to 128 bytes."),
            "policy": text(
                "`first`: the first amount of the stage that the order has reached; `last`, `max`: that one; `sum`: "
                "all of them together; `per_event`: each event is a conversion of its own.",
                enum=list(POLICIES),
            ),
            "lookback_days": number(
                f"A conversion whose click is older is marked; left out: {DEFAULT_LOOKBACK_DAYS}.", **_LOOKBACK
            ),
        },
        "conversion_type",
        "policy",
    ),
    "RuleOperation": record(
        "Making conversions anew.",
        {
            "operation_id": text("Its id."),
            "state": text("`superseded`: a later change does it.", enum=["running", "done", "superseded"]),
            "done_count": number("Orders gone through; an event without one is one of its own."),
            "total_count": number("As far as known when it began; counted up to 1,000,000."),
            "changed_count": number("Conversions that became another."),
            "create_time": instant("When it began."),
            "end_time": instant("When it ended; null while it runs.", is_nullable=True),
            "rules_version": number("The version of the rules that it applies."),
        },
    ),
    "ConversionPolicies": record(
        "All policies.",
        {
            "policies": listing(ref("ConversionPolicy"), "What has none, and no `*`, is `first` with 30 days."),
            "operations": listing(ref("RuleOperation"), "The last ones, the newest first."),
            "rules_version": number("Rises with every change of policies or statuses, from 0."),
        },
    ),
    "SetPolicies": record(
        "What holds now.",
        {
            "policies": listing(ref("ConversionPolicy"), "All of them."),
            "operation": nullable("RuleOperation", "The work; null where nothing changed."),
        },
    ),
    "StatusWord": record(
        "What a word means.",
        {"word": text("As senders write it, without case."), "status": text("What it means.", enum=_MEANINGS)},
    ),
    "NetworkVocabulary": record(
        "The words of a network.",
        {
            "network": text(f"{_NETWORK} In lower case; empty: all others."),
            "words": listing(ref("StatusWord"), "Its words."),
            "default_currency": text("ISO 4217: what its amounts without a currency are in; empty: nobody knows."),
        },
    ),
    "NewVocabulary": wish(
        "All words of a network.",
        {
            "network": text(_NETWORK),
            "default_currency": text("ISO 4217: what its amounts without a currency are in."),
            "words": listing(
                wish(
                    "What a word means.",
                    {
                        "word": text("As senders write it, 1 to 256 bytes without a comma."),
                        "status": text("What it means.", enum=_MEANINGS),
                    },
                    "word",
                    "status",
                ),
                "At most 1,000; an empty list takes all away.",
                maxItems=1000,
            ),
        },
        "words",
    ),
    "StatusVocabulary": record(
        "What words for a status mean.",
        {
            "networks": listing(ref("NetworkVocabulary"), "The organisation's own."),
            "defaults": listing(ref("StatusWord"), "What holds where a network has no word of its own."),
            "unmapped": listing(
                record(
                    "A word that nobody mapped; its conversions count.",
                    {
                        "network": text("Who sent it; empty where nobody is named."),
                        "word": text("As it was sent."),
                        "event_count": number("How often."),
                    },
                ),
                "The most frequent first; at most 1,000.",
            ),
        },
    ),
    "SetVocabulary": record(
        "What holds now.",
        {
            "networks": listing(ref("NetworkVocabulary"), "The organisation's own."),
            "operation": nullable("RuleOperation", "The work; null where nothing changed."),
        },
    ),
}
_SET_POLICIES: Json = {"policies": [_POLICY_EXAMPLE], "operation": _OPERATION_EXAMPLE}
_POLICY_ANSWERS: Json = {
    "200": json_answer("It held already.", ref("SetPolicies"), {"policies": [_POLICY_EXAMPLE], "operation": None}),
    "202": json_answer("It holds.", ref("SetPolicies"), _SET_POLICIES),
}
PATHS: Json = {
    "/api/v1/conversions/policies": {
        "get": api(
            "conversions:read",
            "list_conversion_policies",
            TAG,
            "Read the policies",
            "Which events of an order make its value, by conversion type, and how far changes are applied to history.",
            answers={
                "200": json_answer(
                    "All of them.",
                    ref("ConversionPolicies"),
                    {"policies": [_POLICY_EXAMPLE], "operations": [_OPERATION_EXAMPLE], "rules_version": 3},
                )
            },
        ),
        "put": api(
            "conversions:write",
            "set_conversion_policy",
            TAG,
            "Set a policy",
            _HISTORY,
            body=json_body(ref("NewConversionPolicy"), _POLICY_EXAMPLE),
            answers=_POLICY_ANSWERS,
        ),
    },
    "/api/v1/conversions/policies/{conversion_type}": {
        "delete": api(
            "conversions:write",
            "delete_conversion_policy",
            TAG,
            "Take a policy away",
            f"What holds for all others holds for it then. {_HISTORY}",
            parameters=[_PATH],
            answers=_POLICY_ANSWERS,
            problems=("NotFound",),
        ),
    },
    "/api/v1/conversions/statuses": {
        "get": api(
            "conversions:read",
            "list_conversion_statuses",
            TAG,
            "Read the status vocabulary",
            "What the networks' words for a status mean, and the words that nobody mapped. Numbers mean something else "
            "at every network: there is no default for them.",
            answers={
                "200": json_answer(
                    "All of it.",
                    ref("StatusVocabulary"),
                    {
                        "networks": [_NETWORK_EXAMPLE],
                        "defaults": [{"word": "approved", "status": "sale"}],
                        "unmapped": [{"network": "adnet", "word": "5", "event_count": 17}],
                    },
                )
            },
        ),
        "put": api(
            "conversions:write",
            "set_conversion_statuses",
            TAG,
            "Say what a network's words mean",
            "All words of one network, and the currency of its amounts without one, in the place of what was said "
            f"before. {_HISTORY}",
            body=json_body(ref("NewVocabulary"), _NETWORK_EXAMPLE),
            answers={
                "200": json_answer(
                    "It held already.", ref("SetVocabulary"), {"networks": [_NETWORK_EXAMPLE], "operation": None}
                ),
                "202": json_answer(
                    "It holds.",
                    ref("SetVocabulary"),
                    {"networks": [_NETWORK_EXAMPLE], "operation": _OPERATION_EXAMPLE},
                ),
            },
        ),
    },
}
