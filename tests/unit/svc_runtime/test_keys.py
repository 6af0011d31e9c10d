"""The form of a key: a typo dies before any look-up."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svc_runtime.errors import UnauthenticatedError
from svc_runtime.keys import (
    KeyEnvironment,
    KeyKind,
    ParsedKey,
    fixed_key_id,
    hash_key,
    new_key,
    parse_key,
    present_key,
    same_hash,
)
from tests.contract.auth.things import with_check_digits

BASE62 = string.digits + string.ascii_letters
PREFIX_LENGTH = len("wdn_sk_live_")
KINDS = st.sampled_from(KeyKind)
ENVIRONMENTS = st.sampled_from(KeyEnvironment)
KEYS = st.builds(
    lambda kind, environment, body: with_check_digits(f"wdn_{kind.value}_{environment.value}_{body}"),
    KINDS,
    ENVIRONMENTS,
    st.text(BASE62, min_size=44, max_size=44),
)


def is_malformed(text: str) -> bool:
    """Say whether a text is refused as no key, with nothing of it in the error."""
    try:
        parse_key(text)
    except UnauthenticatedError as error:
        return error.reason == "KEY_MALFORMED" and (len(text) < 8 or text not in error.message)
    return False


@given(KEYS)
def test_the_check_digits_are_what_anybody_computes(key: str) -> None:
    assert parse_key(key).key_id == key[PREFIX_LENGTH:][:22]


@given(KINDS, ENVIRONMENTS)
def test_a_new_key_parses_to_what_it_was_made_for(kind: KeyKind, environment: KeyEnvironment) -> None:
    key = new_key(kind, environment)
    body = key.removeprefix(f"wdn_{kind.value}_{environment.value}_")
    assert len(body) == 22 + 22 + 6
    assert set(body) <= set(BASE62)
    assert parse_key(key) == ParsedKey(kind, environment, body[:22])
    assert not parse_key(key).is_fixed


@given(KEYS, st.data())
def test_every_wrong_character_is_caught(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(PREFIX_LENGTH, len(key) - 1))
    wrong = data.draw(st.sampled_from([letter for letter in BASE62 if letter != key[place]]))
    assert is_malformed(key[:place] + wrong + key[place + 1 :])


def test_every_wrong_character_at_every_place_of_one_key_is_caught() -> None:
    key = new_key(KeyKind.SECRET, KeyEnvironment.LIVE)
    for place in range(PREFIX_LENGTH, len(key)):
        for wrong in BASE62:
            if wrong != key[place]:
                assert is_malformed(key[:place] + wrong + key[place + 1 :])


@given(KEYS, st.data())
def test_every_pair_of_neighbours_that_changed_places_is_caught(key: str, data: st.DataObject) -> None:
    places = [place for place in range(PREFIX_LENGTH, len(key) - 1) if key[place] != key[place + 1]]
    place = data.draw(st.sampled_from(places))
    assert is_malformed(key[:place] + key[place + 1] + key[place] + key[place + 2 :])


@given(KEYS, st.data())
def test_a_lost_or_a_doubled_character_is_caught(key: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(PREFIX_LENGTH, len(key) - 1))
    assert is_malformed(key[:place] + key[place + 1 :])
    assert is_malformed(key[:place] + key[place] + key[place:])


@given(KEYS)
def test_a_key_of_one_kind_is_none_of_another(key: str) -> None:
    for wrong in ("wdn_sk_live_", "wdn_sk_test_", "wdn_pk_live_", "wdn_pk_test_"):
        if not key.startswith(wrong):
            assert is_malformed(wrong + key[PREFIX_LENGTH:])


@given(st.text(max_size=80))
def test_any_text_is_a_key_or_is_refused_as_none(text: str) -> None:
    assert is_malformed(text) or text.startswith("wdn_")
    assert is_malformed(text + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wdn_",
        "wdn_sk_live_",
        "wdn_xk_live_acme",
        "wdn_sk_prod_acme",
        "WDN_sk_live_acme",
        " wdn_sk_live_acme",
        "wdn_sk_live_acme ",
        "wdn_sk_live_acme\n",
        "wdn_sk_live_ac-me",
        "wdn_sk_live_äcme",
        "wdn_sk_live_\N{ARABIC-INDIC DIGIT ONE}",
        "wdn_sk_live_" + "a" * 41,
        "Bearer wdn_sk_live_acme",
    ],
)
def test_what_has_not_the_form_is_refused(text: str) -> None:
    assert is_malformed(text)


def test_a_fixed_key_is_told_from_a_generated_one_and_named_by_its_hash() -> None:
    pepper, text = b"p" * 32, "wdn_pk_live_acmecorp_key"
    parsed = parse_key(text)
    assert parsed.is_fixed
    assert (parsed.kind, parsed.environment) == (KeyKind.PUBLISHABLE, KeyEnvironment.LIVE)
    presented = present_key(pepper, text)
    assert presented.hash == hash_key(pepper, text)
    assert presented.key_id == fixed_key_id(presented.hash) == presented.hash.hex()[:32]


@given(KEYS)
def test_a_generated_key_is_named_by_its_own_id(key: str) -> None:
    assert present_key(b"p" * 32, key).key_id == parse_key(key).key_id


@given(KEYS, st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_hashes_are_32_bytes_and_depend_on_the_pepper(key: str, pepper: bytes, other: bytes) -> None:
    hashed = hash_key(pepper, key)
    assert len(hashed) == 32
    assert same_hash(hashed, hash_key(pepper, key))
    assert same_hash(hashed, hash_key(other, key)) == (pepper.rstrip(b"\0") == other.rstrip(b"\0"))


def test_the_hash_is_what_every_reader_of_the_contract_computes() -> None:
    # Made with `openssl dgst -sha256 -hmac pepper`.
    expected = "1f91d9882ac3c0f63a3d859feaaa600b6a0edf6cf7c88c92f74b04faa9bfbdc4"
    assert hash_key(b"pepper", "wdn_sk_live_acmecorp_key").hex() == expected


def test_a_thousand_new_keys_differ() -> None:
    keys = {new_key(KeyKind.SECRET, KeyEnvironment.LIVE) for _ in range(1000)}
    assert len(keys) == 1000
    assert len({parse_key(key).key_id for key in keys}) == 1000
