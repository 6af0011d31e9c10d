from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrichment import macros
from enrichment.macros import is_macro
from enrichment.parameters import DEFAULT_ALIASES, Aliases, Found, decoded_again, from_pairs, parse_query

MACROS = [
    "{click_id}", "{{clickid}}", "{CLICK_ID}", "{$IMP_ID}", "{url(sid)}", "{p:sub}", "{sparrow-price}", " {target.bid}",
    "[CLICK_ID]", "[[x]]", "[[[subid]]]", "[+ID+]", "[=X=]", "%guid%", "%AUCTIONPRICE%", "__SID__", "##CLICK_ID##",
    "#s2#", "##SUB_ID_SHORT(action)##", "${SUBID}", "$SUBID", "#{click.publisher.clickId}", "(S_CLICK_ID)", "REPLACE",
    "[REPLACE]", "null", "undefined", "NaN", "clickid_placeholder", "##CPA_AMOUNT##,##RS_AMOUNT##",
    "TAPGAGE_VAR_CLICKID", "-source-", "clickid_placeholder ", "x_placeholder_{y}",
]  # fmt: skip
ORDINARY = [
    "", "$100", "50%", "#tag", "[1,2]", '{"a":1}', "a__b__c", "IwAR2x%20", "usd", "0", "replace", "nullable", "None",
    "user@example.com", "a{b}c", "-", "r", "%", "#", "(x)", "__", "D", "2024-06-01", "100%25", "placeholder",
]  # fmt: skip


@pytest.mark.parametrize("value", MACROS)
def test_a_macro_that_arrived_literally_is_found(value: str) -> None:
    assert is_macro(value.encode())
    assert from_pairs([(b"X", value.encode())]).macros == [b"X"]


@pytest.mark.parametrize("value", ORDINARY)
def test_an_ordinary_value_is_no_macro(value: str) -> None:
    assert not is_macro(value.encode())
    assert from_pairs([(b"X", value.encode())]).macros == []


@given(st.one_of(st.binary(max_size=40), st.from_regex(macros._MACRO, fullmatch=True)))
def test_the_quick_look_lets_every_macro_through(value: bytes) -> None:
    assert from_pairs([(b"x", value)]).macros == ([b"x"] if is_macro(value) else [])


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=12))))
def test_a_query_reads_as_the_pairs_that_were_encoded(pairs: list[tuple[bytes, bytes]]) -> None:
    query = b"&".join(f"{quote_from_bytes(n, safe='')}={quote_from_bytes(v, safe='')}".encode() for n, v in pairs)
    assert parse_query(query) == from_pairs(pairs)


@given(st.binary())
def test_no_bytes_are_too_odd_to_be_read(query: bytes) -> None:
    parameters = parse_query(query)
    found = DEFAULT_ALIASES.resolve(parameters)
    for name, value in parameters.first.values():
        decoded_again(value)
        assert parameters.first[name.lower()] == (name, value)
    assert all(item.value and item.name not in parameters.macros for item in found.values())


@given(st.text(alphabet="abc=&%+2 {}"))
def test_decoding_is_that_of_the_standard_library(query: str) -> None:
    from urllib.parse import unquote_to_bytes

    pieces = [piece.encode().replace(b"+", b" ").partition(b"=") for piece in query.split("&") if piece]
    assert parse_query(query.encode()) == from_pairs(
        [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pieces]
    )


def test_the_first_value_of_a_name_counts_whatever_its_case() -> None:
    parameters = parse_query(b"Sub1=first&sub1=second&SUB1=third&x=&x=2")
    assert parameters.first[b"sub1"] == (b"Sub1", b"first")
    assert parameters.first[b"x"] == (b"x", b"")
    assert parameters.get(b"x") == b""


def test_values_are_decoded_once_and_what_is_still_encoded_is_marked() -> None:
    parameters = parse_query(b"status=2%252C5&utm_campaign=summer+sale%21&pct=50%25")
    assert parameters.first[b"status"] == (b"status", b"2%2C5")
    assert parameters.double_encoded == [b"status"]
    assert decoded_again(b"2%2C5") == b"2,5"
    assert parameters.get(b"utm_campaign") == b"summer sale!"
    assert parameters.get(b"pct") == b"50%"


@pytest.mark.parametrize(
    ("query", "field", "value", "name"),
    [
        (b"click_id=a&clickid=b", "click_id", b"a", b"click_id"),
        (b"clickid=b&click_id=a", "click_id", b"a", b"click_id"),
        (b"click_id=&clickid=b", "click_id", b"b", b"clickid"),
        (b"click_id={click_id}&ClickID=B", "click_id", b"B", b"ClickID"),
        (b"click_id=%20&cid=+x+", "click_id", b"x", b"cid"),
        (b"gclid=Cj0KCQ_AbC", "external_id", b"Cj0KCQ_AbC", b"gclid"),
        (b"fbclid=IwAR2x&external_id=e1", "external_id", b"e1", b"external_id"),
        (b"ScCid=aB", "external_id", b"aB", b"ScCid"),
        (b"sum=9.99&PAYOUT={payout}", "payout", b"9.99", b"sum"),
        (b"payout=OPTIONAL&amount=3", "payout", b"3", b"amount"),
        (b"cnv_status=Hold&type=x", "status", b"Hold", b"cnv_status"),
        (b"cnv_currency=USD", "currency", b"USD", b"cnv_currency"),
        (b"t202b=0.05", "cost", b"0.05", b"t202b"),
        (b"ZoneID=77&site_id=3", "placement", b"77", b"ZoneID"),
        (b"POSTBACK_ID=p-1", "transaction_id", b"p-1", b"POSTBACK_ID"),
        (b"source=plain&utm_source=tagged", "source", b"tagged", b"utm_source"),
        (b"mtm_campaign=Summer&pk_campaign=Old", "campaign", b"Summer", b"mtm_campaign"),
        (b"piwik_kwd=shoes", "term", b"shoes", b"piwik_kwd"),
        (b"~channel=fb", "source", b"fb", b"~channel"),
    ],
)
def test_the_first_usable_alias_wins_and_is_named(query: bytes, field: str, value: bytes, name: bytes) -> None:
    found = DEFAULT_ALIASES.resolve(parse_query(query))[field]
    assert (found.value, found.name) == (value, name)


def test_a_field_that_nothing_names_is_not_there() -> None:
    assert DEFAULT_ALIASES.resolve(parse_query(b"x=1&payout=&status={status}")) == {}


def test_what_means_other_things_to_other_senders_is_ambiguous() -> None:
    found = DEFAULT_ALIASES.resolve(parse_query(b"transaction_id=ORD-1&payout=5"))
    assert found["click_id"] == found["transaction_id"] == Found(b"ORD-1", b"transaction_id", True)
    assert not found["payout"].is_ambiguous
    assert DEFAULT_ALIASES.resolve(parse_query(b"sub1=a"))["click_id"].is_ambiguous
    assert not DEFAULT_ALIASES.resolve(parse_query(b"aff_click_id=a"))["click_id"].is_ambiguous


def test_candidates_come_best_first_for_a_look_up_by_value() -> None:
    parameters = parse_query(b"sub1=c&tid=b&clickid={clickid}&subid=a")
    assert [item.value for item in DEFAULT_ALIASES.candidates(parameters, "click_id")] == [b"a", b"b", b"c"]
    assert DEFAULT_ALIASES.candidates(parameters, "nothing") == ()


def test_an_organisations_own_names_come_first_and_ours_stay() -> None:
    own = DEFAULT_ALIASES.preferring({"external_id": ["P3"], "colour": ["c1"]})
    found = own.resolve(parse_query(b"gclid=g&p3=mine&c1=red&payout=1"))
    assert {field: item.value for field, item in found.items()} == {
        "external_id": b"mine", "colour": b"red", "payout": b"1",
    }  # fmt: skip
    assert own.resolve(parse_query(b"gclid=g"))["external_id"].value == b"g"
    assert DEFAULT_ALIASES.resolve(parse_query(b"p3=mine")) == {}


@given(st.lists(st.tuples(st.sampled_from([b"a", b"B", b"c", b"C"]), st.sampled_from([b"", b"1", b"2", b"{m}"]))))
def test_resolving_is_reading_the_aliases_from_left_to_right(pairs: list[tuple[bytes, bytes]]) -> None:
    parameters = from_pairs(pairs)
    aliases = Aliases({"x": ["c", "a"], "y": ["a", "b"]})
    for field, names in (("x", [b"c", b"a"]), ("y", [b"a", b"b"])):
        usable = [parameters.get(name) for name in names if parameters.get(name)]
        found = aliases.resolve(parameters).get(field)
        assert (found.value if found else None) == (usable[0] if usable else None)
        assert [item.value for item in aliases.candidates(parameters, field)] == usable
