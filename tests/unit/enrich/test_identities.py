"""Who an event names."""

import hashlib
import random

import pytest

from enrichment.identities import Identifiers, names_somebody, read_email, read_identifiers

BOB = hashlib.sha256(b"bob@shop.de").hexdigest()


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"login_id": "C-42"}, Identifiers("C-42")),
        ({"Customer_ID": " C-42 "}, Identifiers("C-42")),
        ({"user_id": "c", "login_id": "L"}, Identifiers("L")),
        ({"user_id": "guest", "customer_id": "7"}, Identifiers("7")),
        ({"email": " Bob@Shop.DE\t"}, Identifiers(email_hash=BOB)),
        ({"em": BOB.upper()}, Identifiers(email_hash=BOB)),
        ({"email_sha256": BOB, "login_id": "9"}, Identifiers("9", BOB)),
        ({"login_id": "bob@shop.de"}, Identifiers(email_hash=BOB)),
        ({"user_id": "usr_7012345678901234567"}, Identifiers(visitor_id="usr_7012345678901234567")),
        ({"visitor_id": "usr_h0123456789ab"}, Identifiers()),
        ({"email": "{{email}}", "login_id": "%user%"}, Identifiers()),
        ({"email": "bob"}, Identifiers()),
        ({"email": "test@shop.de"}, Identifiers()),
        ({"email": "bob@example.com"}, Identifiers()),
        ({"email_sha256": hashlib.sha256(b"").hexdigest()}, Identifiers()),
        ({"login_id": "x" * 513, "em": "a@" + "b" * 511}, Identifiers()),
        ({"name": "Bob", "id": "7"}, Identifiers()),
    ],
)
def test_parameters_name_somebody_or_nobody(sent: dict[str, str], named: Identifiers) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    assert read_identifiers(pairs) == named
    assert bool(named) == any((named.login, named.email_hash, named.visitor_id))


@pytest.mark.parametrize("value", ["", "0", "null", "NULL", "Guest", "test", "-", "--", "0000", "xxxx", "[sub]", "n/a"])
def test_placeholders_name_nobody(value: str) -> None:
    assert not names_somebody(value)


@pytest.mark.parametrize("value", ["7", "c-0", "Bob", "10", "guest42", "o'neill"])
def test_ids_name_somebody(value: str) -> None:
    assert names_somebody(value)


def test_two_spellings_of_a_name_are_read_alike_in_any_order() -> None:
    pairs = [(b"Email", b"a@shop.de"), (b"email", b"b@shop.de"), (b"EMAIL", b"test@shop.de")]
    found = set()
    for seed in range(10):
        random.Random(seed).shuffle(pairs)
        found.add(read_identifiers(pairs))
    assert found == {Identifiers(email_hash=read_email("a@shop.de"))}


def test_what_is_no_text_names_nobody() -> None:
    assert not read_identifiers([(b"login_id", b"\xff\xfe"), (b"email", b"a\0@shop.de")])


def test_an_addresss_dots_and_tags_count() -> None:
    assert len({read_email(address) for address in ("ab@shop.de", "a.b@shop.de", "ab+x@shop.de")}) == 3
