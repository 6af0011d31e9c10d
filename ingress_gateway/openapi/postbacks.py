"""Postbacks, under the paths that networks call."""

from typing import Any

from ingress_gateway.openapi.capture import (
    ANY_PARAMETER,
    CLICK_ID,
    EVENT_EXAMPLE,
    EVENT_ID,
    EVENTS,
    GIF,
    IDEMPOTENCY_HEADER,
    JSON_BODY,
    KEY,
    STORED,
    TEXT,
    capture,
)
from ingress_gateway.openapi.parts import CAPTURE_PROBLEMS, Json, answer, header, path, query, ref

EXAMPLE_TOKEN = "wdn_pt_7hGtR2mVbqk3NfLr8XzPaQExampleOfAPartnersTok13g1urk"  # noqa: S105 - an example that is nobody's
_PROBLEMS = (*(name for name in CAPTURE_PROBLEMS if name == "JournalFull"), "UnknownPartner", "PartnerRefused")
_TOKEN = query(
    "token",
    TEXT,
    "A partner's token, `wdn_pt_…`, in place of a key. It is found under any name (`security_token`, `secure`, `t`…), "
    "in the path, the body or `Authorization`, and never stored.",
)
_PATH_TOKEN = path("token", "A partner's token, or a key.", EXAMPLE_TOKEN)
_SIGNATURE = header(
    "webhook-signature",
    "With `webhook-id` and `webhook-timestamp`: the signature of a partner that signs, `v1,` and base64.",
)
_RETURN = query("return", TEXT, "What to answer in place of `OK`: at most 64 letters, digits and `_ - . : = | ,`.")
_WORDS = (
    "Stores a conversion as it came, from the query, a form or JSON. Networks read nothing but the status: it is 200 "
    "also when the click is unknown. What a known partner may not send is stored too, marked, and counts as no "
    "conversion."
)
_BODY: Json = JSON_BODY | {
    "content": {
        "application/json": {"schema": {"type": ["object", "array"]}, "example": EVENT_EXAMPLE},
        "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
    }
}
_TAKEN = answer(
    "On disk. JSON when the request is JSON, or accepts it; else `OK`, or what was wished for.",
    {
        "text/plain": {"schema": TEXT, "example": "OK"},
        "application/json": {"schema": ref("Recorded"), "example": {"event_id": EVENT_ID, "outcome": "stored"}},
    },
    *STORED,
)
SCHEMAS: Json = {}


def _item(name: str, summary: str, *parameters: Json, words: str = _WORDS, taken: Json = _TAKEN) -> Json:
    """Describe a path by GET and POST."""

    def one(operation_id: str, by: str, **more: Any) -> Json:
        return capture(
            operation_id,
            EVENTS,
            f"{summary}{by}",
            words,
            {"200": taken},
            (*_PROBLEMS, "TooLarge", "EncodingUnsupported", "BodyTooSlow"),
            parameters=[
                *parameters,
                query("event", TEXT, "What happened; also `et` or `type`. `conversion` without one."),
                *(() if any(each["name"] == "cnv_id" for each in parameters) else (CLICK_ID,)),
                KEY,
                *(() if _PATH_TOKEN in parameters else (_TOKEN,)),
                _RETURN,
                ANY_PARAMETER,
                IDEMPOTENCY_HEADER,
                _SIGNATURE,
            ],
            **more,
        )

    return {"get": one(name, " by parameters"), "post": one(f"{name}_by_post", "", body=_BODY)}


PATHS: Json = {
    "/postback": _item("postback", "Report a conversion"),
    "/postback/{token}": _item("postback_with_token", "Report a conversion, the token in the path", _PATH_TOKEN),
    "/{token}/postback": _item("postback_of_keitaro", "Report a conversion where Keitaro has it", _PATH_TOKEN),
    "/postback.php": _item("postback_of_orbitra", "Report a conversion where Orbitra has it"),
    "/click.php": _item(
        "postback_of_binom",
        "Report a conversion where Binom has it",
        query("cnv_id", TEXT, "The click's id; without it there is nothing at this path.", example="fb_123abc"),
    ),
    "/aff_lsr": _item("postback_of_tune", "Report a conversion where TUNE has it"),
    "/tracking202/static/gpb.php": _item("postback_of_prosper202", "Report a conversion where Prosper202 has it"),
    "/conversion.gif": _item(
        "postback_by_pixel",
        "Report a conversion by an image",
        words="The same from an image in a page. The answer is the image, whatever happens: `X-Trellis-Outcome` says "
        "whether it was stored.",
        taken=answer("The image.", GIF, "X-Trellis-Outcome"),
    ),
}
