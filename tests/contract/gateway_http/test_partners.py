"""Who may send conversions: partners by their token, their signature and their address."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.contract.gateway_http.wire import Response, request
from tests.contract.gateway_http.worker import (
    DISABLED_TOKEN,
    HOST,
    NEAR_TOKEN,
    OLD_TOKEN,
    OTHER_TOKEN,
    PARTNER_TOKEN,
    PUBLISHABLE_KEY,
    REVOKED_TOKEN,
    SIGNING_SECRET,
    SIGNING_TOKEN,
    Worker,
)

pytestmark = [pytest.mark.loopback, pytest.mark.asyncio(loop_scope="module")]
FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
ELSEWHERE = "localhost"


async def send(worker: Worker, target: str, *headers: str, body: bytes = b"", host: str = ELSEWHERE) -> Response:
    method = "POST" if body else "GET"
    return await worker.ask(request(target, *headers, method=method, body=body, host=host))


def signed(content: bytes, *, secret: bytes = SIGNING_SECRET, age_seconds: float = 0, name: str = "msg_1") -> list[str]:
    timestamp = str(int(time.time() - age_seconds))
    digest = hmac.digest(secret, f"{name}.{timestamp}.".encode() + content, "sha256")
    return [
        f"webhook-id: {name}",
        f"webhook-timestamp: {timestamp}",
        f"webhook-signature: v1,{base64.b64encode(digest).decode()}",
    ]


def reason(response: Response) -> str:
    return str(json.loads(response.body)["reason"])


@pytest.mark.parametrize(
    ("target", "headers", "body"),
    [
        (f"/postback/{PARTNER_TOKEN}?click_id=fb_1", (), b""),
        (f"/{PARTNER_TOKEN}/postback?subid=fb_1", (), b""),
        *(
            (f"/postback?click_id=fb_1&{name}={PARTNER_TOKEN}", (), b"")
            for name in ("security_token", "verification_token", "adv_sectkn", "secure", "token", "t", "k", "anything")
        ),
        ("/postback", (FORM,), b"click_id=fb_1&token=" + PARTNER_TOKEN.encode()),
        ("/postback", (JSON,), b'{"click_id":"fb_1","security_token":"%b"}' % PARTNER_TOKEN.encode()),
        ("/postback?click_id=fb_1", (f"Authorization: Bearer {PARTNER_TOKEN}",), b""),
        ("/postback?click_id=fb_1", (f"X-Write-Key: {PARTNER_TOKEN}",), b""),
        (f"/postback?click_id=fb_1&token={quote(PARTNER_TOKEN).replace('_', '%5f')}", (), b""),
        (f"/postback.php?subid=fb_1&token={PARTNER_TOKEN}", (), b""),
        (f"/click.php?cnv_id=fb_1&token={PARTNER_TOKEN}", (), b""),
        (f"/aff_lsr?transaction_id=fb_1&security_token={PARTNER_TOKEN}", (), b""),
        (f"/tracking202/static/gpb.php?subid=fb_1&token={PARTNER_TOKEN}", (), b""),
        (f"/conversion.gif?cid=fb_1&token={PARTNER_TOKEN}", (), b""),
    ],
    ids=range(20),
)
async def test_a_token_is_found_wherever_a_partner_can_put_it(
    worker: Worker, target: str, headers: tuple[str, ...], body: bytes
) -> None:
    response = await send(worker, target, *headers, body=body)
    assert (response.status, response.outcome) == (200, "stored")
    event = await worker.event()
    assert (event.organization_id, event.partner_id, event.network) == ("org_acmecorp", "ptr_cj", "cj")
    assert (event.route, event.external_click_id, event.key_id) == ("postback", b"fb_1", "")
    assert response.event_id == event.event_id


@pytest.mark.parametrize("name", ["wdn_{}%5F", "wdn%5f{}_", "wdn%5F{}%5f", "wdn_{}_"])
async def test_no_secret_is_kept_however_it_is_encoded(worker: Worker, name: str) -> None:
    secret = PARTNER_TOKEN.removeprefix("wdn_pt_")
    response = await send(
        worker, f"/postback?click_id=1&token={name.format('pt')}{secret}&other={name.format('sk')}a1b2"
    )
    assert response.status == 200
    event = await worker.event()
    assert event.target == b"/postback?click_id=1&token=wdn_pt_[redacted]&other=wdn_sk_[redacted]"


async def test_no_token_is_kept_wherever_it_comes(worker: Worker) -> None:
    secret = PARTNER_TOKEN.removeprefix("wdn_pt_")
    encoded = PARTNER_TOKEN.replace("_", "%5F")
    await send(
        worker,
        f"/postback/{PARTNER_TOKEN}?token={encoded}&click_id=1",
        f"X-Write-Key: {PARTNER_TOKEN}",
        f"Referer: https://a.example/?t={PARTNER_TOKEN}",
        FORM,
        body=f"token={PARTNER_TOKEN}".encode(),
    )
    event = await worker.event()
    assert secret.encode() not in event.SerializeToString()
    assert event.target == b"/postback/wdn_pt_[redacted]?token=wdn_pt_[redacted]&click_id=1"
    assert event.body == b"token=wdn_pt_[redacted]"
    assert not any(secret.encode() in path.read_bytes() for path in worker.directory.rglob("*.segment"))


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (PARTNER_TOKEN[:-1] + ("a" if PARTNER_TOKEN[-1] != "a" else "b"), "KEY_MALFORMED"),
        (PARTNER_TOKEN[:30], "KEY_MALFORMED"),
        (OLD_TOKEN, "KEY_EXPIRED"),
        (REVOKED_TOKEN, "KEY_REVOKED"),
    ],
)
async def test_a_token_of_nobody_is_refused_and_the_request_is_kept_for_the_operator(
    worker: Worker, token: str, expected: str
) -> None:
    response = await send(worker, f"/postback?click_id=fb_1&token={token}")
    assert (response.status, reason(response)) == (401, expected)
    event = await worker.event()
    assert (event.organization_id, list(event.marks), event.status) == ("", ["unclaimed_key"], 401)
    assert token.encode() not in event.SerializeToString() + response.body


async def test_a_token_on_another_organisations_host_is_nobodys(worker: Worker) -> None:
    response = await send(worker, f"/postback?click_id=1&token={OTHER_TOKEN}", host=HOST)
    assert (response.status, reason(response)) == (401, "KEY_UNKNOWN")
    assert (await worker.event()).organization_id == ""
    own = await send(worker, f"/postback?click_id=1&token={OTHER_TOKEN}", host="go.other.example")
    assert own.status == 200
    assert (await worker.event()).organization_id == "org_other"


async def test_a_token_opens_nothing_but_postbacks(worker: Worker) -> None:
    for target in ("/events", "/batch"):
        response = await send(worker, target, f"Authorization: Bearer {PARTNER_TOKEN}", body=b"{}")
        assert response.status == 401
        await worker.event()
    response = await send(worker, "/api/v1/campaigns", f"Authorization: Bearer {PARTNER_TOKEN}")
    assert response.status == 401


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"success=true"),
        ("&return=OK", b"OK"),
        ("&return=%3Cscript%3E", b"success=true"),
        ("&return=", b"success=true"),
    ],
)
async def test_a_partner_is_answered_as_it_wishes(worker: Worker, query: str, body: bytes) -> None:
    response = await send(worker, f"/postback?click_id=1&token={PARTNER_TOKEN}{query}")
    assert (response.body, response.header("Content-Type")) == (body, "text/plain; charset=utf-8")


async def test_anybody_may_wish_for_an_answer(worker: Worker) -> None:
    response = await send(worker, f"/postback?click_id=1&k={PUBLISHABLE_KEY}&return=1")
    assert response.body == b"1"


# -- addresses and being disabled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["198.51.100.42", "2001:db8::1", "203.0.113.9, 198.51.100.7"])
async def test_a_partner_sends_from_its_own_addresses(worker: Worker, address: str) -> None:
    target = f"/postback?click_id=1&token={NEAR_TOKEN}"
    assert (await send(worker, target, f"X-Forwarded-For: {address}")).status == 200
    assert not (await worker.event()).marks


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (f"/postback?click_id=1&token={NEAR_TOKEN}", ()),
        (f"/postback?click_id=1&token={NEAR_TOKEN}", ("X-Forwarded-For: 198.51.101.42",)),
        (f"/postback?click_id=1&token={NEAR_TOKEN}", ("X-Forwarded-For: 198.51.100.7, 203.0.113.9",)),
        (f"/postback?click_id=1&token={DISABLED_TOKEN}", ()),
    ],
)
async def test_a_partner_that_may_not_send_is_refused_and_its_request_is_stored_and_marked(
    worker: Worker, target: str, headers: tuple[str, ...]
) -> None:
    response = await send(worker, target, *headers)
    assert (response.status, reason(response)) == (403, "SENDER_REFUSED")
    event = await worker.event()
    assert (event.organization_id, list(event.marks), event.status) == ("org_acmecorp", ["refused_sender"], 403)
    assert json.loads(response.body)["event_id"] == event.event_id
    assert event.partner_id in ("ptr_near", "ptr_disabled")


# -- signatures -------------------------------------------------------------------------------------------------------

TARGET = f"/postback/{SIGNING_TOKEN}"
SALE = b'{"click_id":"fb_1","payout":12.5}'


async def test_a_signed_body_is_taken(worker: Worker) -> None:
    response = await send(worker, TARGET, JSON, *signed(SALE), body=SALE)
    assert response.status == 200
    event = await worker.event()
    assert (event.partner_id, event.network, event.idempotency_key) == ("ptr_signing", "awin", b"msg_1")


async def test_a_signed_query_is_taken(worker: Worker) -> None:
    query = "click_id=fb_1&payout=1%2e5"
    response = await send(worker, f"{TARGET}?{query}", *signed(query.encode()))
    assert response.status == 200
    assert (await worker.event()).external_click_id == b"fb_1"


async def test_a_token_may_stand_in_the_query_beside_a_signed_body(worker: Worker) -> None:
    response = await send(worker, f"/postback?token={SIGNING_TOKEN}", JSON, *signed(SALE, name="beside"), body=SALE)
    assert response.status == 200
    assert (await worker.event()).partner_id == "ptr_signing"


async def test_one_of_several_signatures_is_enough(worker: Worker) -> None:
    headers = signed(SALE)
    headers[2] = headers[2].replace("v1,", "v1a,xyz v1,AAAA v1,")
    assert (await send(worker, TARGET, JSON, *headers, body=SALE)).status == 200


async def test_a_signed_request_that_is_sent_again_is_the_same_event(worker: Worker) -> None:
    headers = signed(SALE, name="again")
    first = await send(worker, TARGET, JSON, *headers, body=SALE)
    again = await send(worker, TARGET, JSON, *headers, "Idempotency-Key: another", body=SALE)
    assert first.event_id == again.event_id
    other = await send(worker, TARGET, JSON, *signed(SALE, name="other"), body=SALE)
    assert other.event_id != first.event_id


async def test_nobody_takes_the_id_of_a_partners_request_before_it(worker: Worker) -> None:
    public = [
        await send(worker, "/postback?click_id=fb_1", f"Idempotency-Key: {key}", host=HOST)
        for key in ("ptr_signing/msg_2", "msg_2", "ptr_signing\tmsg_2")
    ]
    partners = [await send(worker, TARGET, JSON, *signed(SALE, name="msg_2"), body=SALE) for _ in range(2)]
    another = await send(worker, f"/postback/{PARTNER_TOKEN}?click_id=fb_1", "Idempotency-Key: msg_2")
    ids = [response.event_id for response in (*public, *partners, another)]
    assert all(ids)
    assert ids[3] == ids[4]
    assert len(set(ids)) == 5


# Made when they are sent: the suite runs for longer than a signature is good.
WRONG: dict[str, tuple[str, Callable[[], list[str]], bytes, str]] = {
    "unsigned": ("", list, SALE, "are signed"),
    "another secret": ("", lambda: signed(SALE, secret=b"another" * 5), SALE, "no webhook-signature is that"),
    "too old": ("", lambda: signed(SALE, age_seconds=310), SALE, "300 s"),
    "too new": ("", lambda: signed(SALE, age_seconds=-310), SALE, "300 s"),
    "another body": ("", lambda: signed(SALE), SALE.replace(b"12.5", b"99.5"), "no webhook-signature is that"),
    "no signature": ("", lambda: [*signed(SALE)[:2], "webhook-signature: x"], SALE, "no webhook-signature is that"),
    "no base64": ("", lambda: [*signed(SALE)[:2], "webhook-signature: v1,*"], SALE, "no webhook-signature is that"),
    "no ASCII": ("", lambda: [*signed(SALE)[:2], "webhook-signature: v1,é"], SALE, "no webhook-signature is that"),
    "another id": ("", lambda: ["webhook-id: msg_2", *signed(SALE)[1:]], SALE, "no webhook-signature is that"),
    "no id": ("", lambda: ["webhook-id: a b", *signed(SALE)[1:]], SALE, "webhook-id"),
    "no time": ("", lambda: ["webhook-timestamp: now", *signed(SALE)[::2]], SALE, "Unix seconds"),
    "a query beside the body": ("?payout=99", lambda: signed(SALE), SALE, "only the body is signed"),
    "a token in the place of a click": (f"?click_id={SIGNING_TOKEN}", lambda: signed(SALE), SALE, "only the body is"),
    "another query": ("?click_id=2", lambda: signed(b"click_id=1"), b"", "no webhook-signature is that"),
}


@pytest.mark.parametrize(("query", "headers", "body", "detail"), WRONG.values(), ids=WRONG)
async def test_what_is_not_signed_is_refused_stored_and_no_conversion(
    worker: Worker, query: str, headers: Callable[[], list[str]], body: bytes, detail: str
) -> None:
    response = await send(worker, TARGET + query, JSON, *headers(), body=body)
    assert (response.status, reason(response)) == (401, "SIGNATURE_INVALID")
    assert detail in json.loads(response.body)["detail"]
    event = await worker.event()
    assert (event.organization_id, list(event.marks), event.status) == ("org_acmecorp", ["refused_signature"], 401)
    assert (event.partner_id, event.idempotency_key, event.body) == ("ptr_signing", b"", body)


async def test_a_pixel_answers_its_picture_to_whom_it_refuses(worker: Worker) -> None:
    for target in (f"/conversion.gif?cid=1&token={SIGNING_TOKEN}", f"/conversion.gif?cid=1&token={REVOKED_TOKEN}"):
        response = await send(worker, target)
        assert (response.status, response.body[:6], response.outcome) == (200, b"GIF89a", "refused")
        await worker.event()


async def test_a_path_without_a_token_is_none_of_ours(worker: Worker) -> None:
    for target in ("/postback/nothing", "/nothing/postback", "/click.php?key=1&cost=2"):
        assert (await send(worker, target, host=HOST)).status == 404
