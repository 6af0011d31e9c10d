"""Parameter mappings, and the operations that apply them to history."""

from ingress_gateway.openapi.parts import (
    PAGING,
    Json,
    api,
    instant,
    json_answer,
    json_body,
    listing,
    number,
    page,
    path,
    record,
    ref,
    text,
    wish,
)

TAG = "Parameter mappings"
_FIELDS = [
    "click_id",
    "external_id",
    "placement",
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "cost",
    "payout",
    "currency",
    "transaction_id",
    "status",
    "source_campaign_id",
]
_MONTH = {"type": "string", "pattern": r"^\d{4}-\d{2}$"}
_VALUES: Json = {"type": "object", "additionalProperties": {"type": "string"}}
_MAPPING_ID = "map_7hGtR2mVbqk3NfLr8XzPaQ"
_OPERATION_ID = "op_01930f2e7c2b7d429f0a3a5b1c2d4e5f"
_RULE = wish(
    "Gives a parameter one of our names.",
    {
        "parameter": text("Its name, 1 to 256 bytes; compared without case (ASCII)."),
        "field": text("What it is.", enum=_FIELDS),
    },
    "parameter",
    "field",
)
_SOURCE = "Only events whose source, by our own names, is this one; empty: of any source."
_START, _END = "Only events received at or after this instant", "Only events received before this instant"

_RULES_EXAMPLE = [
    {"parameter": "zoneid", "field": "placement"},
    {"parameter": "p3", "field": "external_id"},
]
_WANTED_EXAMPLE: Json = {
    "name": "PropellerAds' zones",
    "source": "propellerads",
    "rules": _RULES_EXAMPLE,
    "start_time": "2026-03-03T00:00:00Z",
}
_EXAMPLE: Json = {
    "mapping_id": _MAPPING_ID,
    "version": 1,
    **_WANTED_EXAMPLE,
    "end_time": None,
    "is_active": True,
    "create_time": "2026-11-03T10:00:00Z",
    "actor": "key:7hGtR2mVbqk3NfLr8XzPaQ",
}
_OPERATION_EXAMPLE: Json = {
    "operation_id": _OPERATION_ID,
    "kind": "mapping",
    "state": "running",
    "done_event_count": 120000,
    "total_event_count": 480000,
    "done_months": ["2026-03"],
    "total_months": ["2026-03", "2026-04"],
    "create_time": "2026-11-03T10:00:00Z",
    "end_time": None,
    "error": "",
    "mapping_id": _MAPPING_ID,
    "mapping_version": 1,
    "campaign_id": "",
    "claim_version": 0,
}
_PREVIEW_EXAMPLE: Json = {
    "matched_count": 480000,
    "changed_count": 479200,
    "months": [{"month": "2026-03", "matched_count": 480000, "changed_count": 479200}],
    "samples": [
        {
            "event_id": "01930f2e-7c2b-7d42-9f0a-3a5b1c2d4e5f",
            "event_time": "2026-03-03T10:00:00.123Z",
            "before": {"placement": ""},
            "after": {"placement": "z-4417"},
        }
    ],
}
_WANTED: Json = {
    "name": text("For people, at most 200 characters."),
    "source": text(f"{_SOURCE} Upper case is folded."),
    "rules": listing(_RULE, "1 to 50; a field at most once.", maxItems=50),
    "start_time": instant(f"{_START}; left out: from the beginning."),
    "end_time": instant(f"{_END}; left out: without end."),
    "dry_run": {"type": "boolean", "description": "True: say what it would change, and change nothing."},
}

SCHEMAS: Json = {
    "Mapping": record(
        "A version of what the organisation says about its parameters.",
        {
            "mapping_id": text("Its id."),
            "version": number("Rises by one with every version, from 1.", minimum=1),
            "name": text("For people."),
            "source": text(_SOURCE),
            "rules": listing(_RULE, "Its rules."),
            "start_time": instant(f"{_START}; null: from the beginning.", is_nullable=True),
            "end_time": instant(f"{_END}; null: without end.", is_nullable=True),
            "is_active": {"type": "boolean", "description": "It is the version that holds."},
            "create_time": instant("When this version was made."),
            "actor": text("Who made it."),
        },
    ),
    "MappingPage": page("mappings", "Mapping", "A page of mappings, newest first, each in its current version."),
    "MappingVersions": record(
        "A mapping's history.",
        {"mapping_id": text("Its id."), "versions": listing(ref("Mapping"), "Newest first.")},
    ),
    "NewMapping": wish("What parameters mean.", _WANTED),
    "MappingPreview": record(
        "What a mapping would change.",
        {
            "matched_count": number("Events that it matches."),
            "changed_count": number("Events of which at least one value would change."),
            "months": listing(
                record(
                    "A month, in UTC.",
                    {
                        "month": {**_MONTH, "description": "The month."},
                        "matched_count": number("Events that it matches."),
                        "changed_count": number("Events that would change."),
                    },
                ),
                "The same by month; those that have neither are left out.",
            ),
            "samples": listing(
                record(
                    "What would become of one event.",
                    {
                        "event_id": text("The event."),
                        "event_time": instant("When it was received."),
                        "before": {**_VALUES, "description": "Values now, of the columns that would change."},
                        "after": {**_VALUES, "description": "Values then."},
                    },
                ),
                "Up to 20 events that would change.",
            ),
        },
    ),
    "Operation": record(
        "Work on history. It goes on after a restart.",
        {
            "operation_id": text("Its id."),
            "kind": text(
                "`mapping`: applies a mapping. `claim`: gives a campaign the traffic that it claims, or takes it away."
                " `rebuild`: the operator makes the reading again."
            ),
            "state": text("Where it stands.", enum=["running", "succeeded", "failed", "cancelled"]),
            "done_event_count": number("Events made again, or given to another campaign, so far."),
            "total_event_count": number("Events to make again, or that the claim may have, as far as known."),
            "done_months": listing(_MONTH, "Months that are done, in the order in which they became visible."),
            "total_months": listing(_MONTH, "Months to do."),
            "create_time": instant("When it began."),
            "end_time": instant("When it ended; null: it runs.", is_nullable=True),
            "error": text("Why it failed; empty otherwise."),
            "mapping_id": text("The mapping that it applies."),
            "mapping_version": number("That mapping's version; 0: none of them holds any more."),
            "campaign_id": text("The campaign whose claim is to hold."),
            "claim_version": number("That claim's version; 0: none of them holds any more."),
        },
    ),
    "OperationPage": page("operations", "Operation", "A page of operations, newest first."),
    "AppliedMapping": record(
        "A mapping that holds for what comes from now on, and the work on what is there.",
        {"mapping": ref("Mapping"), "operation": ref("Operation")},
    ),
    "ActivatedMapping": record("The work on what is there.", {"operation": ref("Operation")}),
}
_ID = path("mapping_id", "The mapping's id.", _MAPPING_ID)
_DRY_RUN = (
    "With `dry_run` nothing is made: the answer, 200, says how many events it would change, month by month, with up to "
    "20 of them before and after. That asks for the scope `analytics:read` too."
)
_ANSWERS: Json = {
    "200": json_answer("With `dry_run`: what it would change.", ref("MappingPreview"), _PREVIEW_EXAMPLE),
    "202": json_answer(
        "It holds for what comes from now on; the operation applies it to what is there.",
        ref("AppliedMapping"),
        {"mapping": _EXAMPLE, "operation": _OPERATION_EXAMPLE},
        "Location",
    ),
}

PATHS: Json = {
    "/api/v1/mappings": {
        "get": api(
            "analytics:read",
            "list_mappings",
            TAG,
            "List mappings",
            "Newest first, each in the version that holds; where none does, in the newest.",
            parameters=PAGING,
            answers={
                "200": json_answer("A page.", ref("MappingPage"), {"mappings": [_EXAMPLE], "next_page_token": ""})
            },
        ),
        "post": api(
            "analytics:write",
            "create_mapping",
            TAG,
            "Make a mapping",
            "Says what parameters of your senders mean. Events that it matches, past and to come, are read by its "
            f"names first, then by ours; the raw events stay as they are. {_DRY_RUN}\n\nOf two mappings that name the "
            "same field for an event, the one made later wins. An organisation has at most 1,000.",
            body=json_body(ref("NewMapping"), _WANTED_EXAMPLE),
            answers=_ANSWERS,
            problems=("Conflict",),
        ),
    },
    "/api/v1/mappings/{mapping_id}": {
        "get": api(
            "analytics:read",
            "get_mapping",
            TAG,
            "Read a mapping's versions",
            "Newest first. No version is ever changed.",
            parameters=[_ID],
            answers={
                "200": json_answer(
                    "Its history.", ref("MappingVersions"), {"mapping_id": _MAPPING_ID, "versions": [_EXAMPLE]}
                )
            },
            problems=("NotFound",),
        ),
        "post": api(
            "analytics:write",
            "change_mapping",
            TAG,
            "Make another version of a mapping",
            "The new version takes the place of the one that holds, over history too. What is left out is left out of "
            f"it: give the whole mapping. {_DRY_RUN}",
            parameters=[_ID],
            body=json_body(ref("NewMapping"), _WANTED_EXAMPLE),
            answers=_ANSWERS,
            problems=("NotFound", "Conflict"),
        ),
    },
    "/api/v1/mappings/{mapping_id}/versions/{version}:activate": {
        "post": api(
            "analytics:write",
            "activate_mapping_version",
            TAG,
            "Undo or redo a mapping",
            "Lets an earlier version hold, over history too; version 0 is none of them: every event is as if the "
            "mapping had never been made.",
            parameters=[_ID, path("version", "The version to hold; 0: none.", "0")],
            body=json_body(ref("Nothing"), {}, is_required=False),
            answers={
                "202": json_answer(
                    "It holds for what comes from now on; the operation applies it to what is there.",
                    ref("ActivatedMapping"),
                    {"operation": {**_OPERATION_EXAMPLE, "mapping_version": 0}},
                    "Location",
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/operations": {
        "get": api(
            "analytics:read",
            "list_operations",
            TAG,
            "List operations",
            "Newest first.",
            parameters=PAGING,
            answers={
                "200": json_answer(
                    "A page.", ref("OperationPage"), {"operations": [_OPERATION_EXAMPLE], "next_page_token": ""}
                )
            },
        )
    },
    "/api/v1/operations/{operation_id}": {
        "get": api(
            "analytics:read",
            "get_operation",
            TAG,
            "Read an operation",
            "As it stands.",
            parameters=[path("operation_id", "The operation's id.", _OPERATION_ID)],
            answers={"200": json_answer("The operation.", ref("Operation"), _OPERATION_EXAMPLE)},
            problems=("NotFound",),
        )
    },
    "/api/v1/operations/{operation_id}:cancel": {
        "post": api(
            "campaigns:write",
            "cancel_operation",
            TAG,
            "Stop the operation of a claim",
            "What it changed is taken back: the version of the claim that held before holds again. Operations of other "
            "kinds cannot be stopped here.",
            parameters=[path("operation_id", "The operation's id.", _OPERATION_ID)],
            body=json_body(ref("Nothing"), {}, is_required=False),
            answers={
                "200": json_answer(
                    "The operation, which goes on until everything is taken back.",
                    ref("Operation"),
                    {
                        **_OPERATION_EXAMPLE,
                        "kind": "claim",
                        "mapping_id": "",
                        "mapping_version": 0,
                        "campaign_id": "cmp_9f2c81d04b7e4f6a",
                        "claim_version": 1,
                    },
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
}
