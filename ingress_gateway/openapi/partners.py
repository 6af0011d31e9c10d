"""Partners: who may send conversions."""

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
    query,
    record,
    ref,
    text,
    wish,
)
from ingress_gateway.openapi.postbacks import EXAMPLE_TOKEN

TAG = "Partners"
_TEXT: Json = {"type": "string"}
_FLAG: Json = {"type": "boolean"}
_ID = "ptr_9f2c4e81d05b7a36"
_PATH = path("partner_id", "The partner's id.", _ID)
_TOKEN = text("The token in full. It is shown this once and kept nowhere.")
_SIGNING_SECRET = text("`whsec_` and the secret in base64, shown this once; empty where nothing is signed.")
_NETWORK = text("A label of the network, 1 to 60 of `a-z 0-9 _ - .`: its statuses and its currency are known by it.")
_ADDRESSES = listing(_TEXT, "Addresses or networks that it may send from, at most 100; empty: from anywhere.")
_RETURN_TEXT = text("What it is answered in place of `OK`: at most 64 letters, digits, blanks and `_ - . : = | ,`.")
_FIELDS: Json = {
    "partner_id": text("Its id."),
    "name": text("For people."),
    "network": _NETWORK,
    "addresses": _ADDRESSES,
    "return_text": _RETURN_TEXT,
    "is_enabled": _FLAG | {"description": "Whether it is taken."},
    "is_signed": _FLAG | {"description": "Whether what it sends must be signed."},
    "token_last_four": text("The token's last four characters, to recognise it by."),
    "token_create_time": instant("When the token was made."),
    "old_token_expire_time": instant("When the token before stops; null: there is none.", is_nullable=True),
    "create_time": instant("When it was added."),
    "revoke_time": instant("When it was revoked; null: it was not.", is_nullable=True),
}
_EXAMPLE: Json = {
    "partner_id": _ID,
    "name": "CJ Affiliate",
    "network": "cj",
    "addresses": [],
    "return_text": "",
    "is_enabled": True,
    "is_signed": False,
    "token_last_four": EXAMPLE_TOKEN[-4:],
    "token_create_time": "2026-11-03T10:00:00Z",
    "old_token_expire_time": None,
    "create_time": "2026-11-03T10:00:00Z",
    "revoke_time": None,
}
_WISH_FIELDS: Json = {
    "name": text("For people, 1 to 200 characters."),
    "network": _NETWORK,
    "addresses": _ADDRESSES,
    "return_text": _RETURN_TEXT,
}

SCHEMAS: Json = {
    "Partner": record("A sender of conversions, without its secrets.", _FIELDS),
    "NewPartner": record(
        "A partner, its secrets in full this once.", _FIELDS | {"token": _TOKEN, "signing_secret": _SIGNING_SECRET}
    ),
    "RotatedPartner": record("A partner, its new token in full this once.", _FIELDS | {"token": _TOKEN}),
    "SigningPartner": record(
        "A partner, its new signing secret in full this once.", _FIELDS | {"signing_secret": _SIGNING_SECRET}
    ),
    "PartnerPage": page("partners", "Partner", "A page of partners, newest first."),
    "PartnerWish": wish(
        "A partner to be.",
        _WISH_FIELDS | {"is_signed": _FLAG | {"description": "Whether what it sends must be signed."}},
        "name",
        "network",
    ),
    "PartnerChange": wish(
        "What is to be changed of a partner; what is left out stays.",
        {
            **{name: _WISH_FIELDS[name] for name in ("name", "network", "return_text")},
            "is_enabled": _FLAG | {"description": "Whether it is taken."},
            "addresses": _ADDRESSES,
        },
    ),
    "TokenRotation": wish(
        "How to hand over.",
        {
            "overlap_seconds": number(
                "How long the token before lives on: 0 to 30 days, 24 hours where none is given.",
                minimum=0,
                maximum=2592000,
            )
        },
    ),
    "SignatureWish": wish(
        "Whether a partner signs.",
        {"is_signed": _FLAG | {"description": "`true`, the default: a new secret is made. `false`: none is needed."}},
    ),
}

PATHS: Json = {
    "/api/v1/partners": {
        "get": api(
            "partners:read",
            "list_partners",
            TAG,
            "List partners",
            "Newest first, 100 a page where no size is given. Without their secrets.",
            parameters=[*PAGING, query("include_revoked", _FLAG, "`true` to see revoked ones too.")],
            answers={
                "200": json_answer("A page.", ref("PartnerPage"), {"partners": [_EXAMPLE], "next_page_token": ""})
            },
        ),
        "post": api(
            "partners:write",
            "create_partner",
            TAG,
            "Add a partner",
            "The answer holds its token in full, this once: give the network a postback URL with it, for example "
            "`https://<your host>/postback/<token>?click_id={click_id}&payout={payout}&status={status}`. It is known "
            "to every gateway within 5 seconds. 409 where the organisation has 10,000 partners.",
            body=json_body(ref("PartnerWish"), {"name": "CJ Affiliate", "network": "cj"}),
            answers={
                "201": json_answer(
                    "Added.", ref("NewPartner"), {**_EXAMPLE, "token": EXAMPLE_TOKEN, "signing_secret": ""}
                )
            },
            problems=("Conflict",),
        ),
    },
    "/api/v1/partners/{partner_id}": {
        "get": api(
            "partners:read",
            "get_partner",
            TAG,
            "Get a partner",
            "Without its secrets.",
            parameters=[_PATH],
            answers={"200": json_answer("The partner.", ref("Partner"), _EXAMPLE)},
            problems=("NotFound",),
        ),
        "patch": api(
            "partners:write",
            "update_partner",
            TAG,
            "Change a partner",
            "In force everywhere within 5 seconds. Events that came before keep the label of the network that they "
            "came with.",
            parameters=[_PATH],
            body=json_body(ref("PartnerChange"), {"addresses": ["198.51.100.0/24"]}),
            answers={
                "200": json_answer("As it is now.", ref("Partner"), {**_EXAMPLE, "addresses": ["198.51.100.0/24"]})
            },
            problems=("NotFound", "Conflict"),
        ),
    },
    "/api/v1/partners/{partner_id}:rotate": {
        "post": api(
            "partners:write",
            "rotate_partner_token",
            TAG,
            "Give a partner another token",
            "Both work for the overlap; a token older than these ends at once. With an overlap of 0 only the new one "
            "works.",
            parameters=[_PATH],
            body=json_body(ref("TokenRotation"), {"overlap_seconds": 3600}, is_required=False),
            answers={
                "200": json_answer(
                    "The new token.",
                    ref("RotatedPartner"),
                    {**_EXAMPLE, "old_token_expire_time": "2026-11-03T11:00:00Z", "token": EXAMPLE_TOKEN},
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/partners/{partner_id}:signature": {
        "post": api(
            "partners:write",
            "set_partner_signature",
            TAG,
            "Want a partner's signature, or no more",
            "A new secret takes the place of the one before at once.",
            parameters=[_PATH],
            body=json_body(ref("SignatureWish"), {"is_signed": True}, is_required=False),
            answers={
                "200": json_answer(
                    "The new secret.",
                    ref("SigningPartner"),
                    {**_EXAMPLE, "is_signed": True, "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
                )
            },
            problems=("NotFound", "Conflict"),
        )
    },
    "/api/v1/partners/{partner_id}:revoke": {
        "post": api(
            "partners:write",
            "revoke_partner",
            TAG,
            "Revoke a partner",
            "For ever; refused everywhere within 5 seconds. To do it again changes nothing.",
            parameters=[_PATH],
            body=json_body(ref("Nothing"), {}, is_required=False),
            answers={
                "200": json_answer(
                    "The partner after it.", ref("Partner"), {**_EXAMPLE, "revoke_time": "2026-11-03T11:00:00Z"}
                )
            },
            problems=("NotFound",),
        )
    },
}
